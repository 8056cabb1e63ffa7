/**
 * The public API: everything a pipeline's author imports.
 */
export { cron } from './pipeline/cron.ts'
export { definePipeline } from './pipeline/define-pipeline.ts'
export { bytes, json } from './pipeline/decode.ts'
export { postgresTable } from './pipeline/postgres-table.ts'
export { webSocket } from './pipeline/web-socket.ts'
export { ForebayError } from './errors.ts'
export type { ErrorCode } from './errors.ts'
export type { CronOptions, CronTask } from './pipeline/cron.ts'
export type { At, CronContext, Decoder, Pipeline, Sql } from './pipeline/pipeline.ts'
export type { PipelineOptions } from './pipeline/define-pipeline.ts'
export type { PostgresTableOptions, RowOf } from './pipeline/postgres-table.ts'
export type { WebSocketOptions } from './pipeline/web-socket.ts'
export type { Sink } from './pipeline/typed-sink.ts'
export type { Duration, Size } from './pipeline/units.ts'
