/**
 * The public API: everything a pipeline's author imports.
 */
export { definePipeline } from './pipeline/define-pipeline.ts'
export { bytes, json } from './pipeline/decode.ts'
export { postgresTable } from './pipeline/postgres-table.ts'
export { webSocket } from './pipeline/web-socket.ts'
export { ForebayError } from './errors.ts'
export type { ErrorCode } from './errors.ts'
export type { At, Decoder, Pipeline } from './pipeline/pipeline.ts'
export type { PipelineOptions } from './pipeline/define-pipeline.ts'
export type { PostgresTableOptions, RowOf } from './pipeline/postgres-table.ts'
export type { WebSocketOptions } from './pipeline/web-socket.ts'
export type { Sink } from './pipeline/typed-sink.ts'
export type { Duration, Size } from './pipeline/units.ts'
