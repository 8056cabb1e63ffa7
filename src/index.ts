/**
 * The public API: everything a pipeline's author imports.
 */
export { cron } from './pipeline/cron.ts'
export { definePipeline } from './pipeline/define-pipeline.ts'
export { bytes, json } from './pipeline/decode.ts'
export type { JsonDecoder } from './pipeline/decode.ts'
export { EventHeaders } from './pipeline/event-headers.ts'
export { postgresTable } from './sinks/postgres-table/define-postgres-table.ts'
export { webSocket } from './sinks/web-socket/define-web-socket.ts'
export { ForebayError } from './errors.ts'
export type { ErrorCode } from './errors.ts'
export type { CronOptions, CronTask } from './pipeline/cron.ts'
export type { Sql } from './database/sql.ts'
export type { At, CronContext, Decoder, Pipeline } from './pipeline/pipeline.ts'
export type { EventHeader } from './pipeline/event-headers.ts'
export type { PipelineOptions, Source } from './pipeline/define-pipeline.ts'
export type { OutputOf, StandardSchema } from './pipeline/standard-schema.ts'
export type { PostgresTableOptions, RowOf } from './sinks/postgres-table/define-postgres-table.ts'
export type { WebSocketOptions } from './sinks/web-socket/define-web-socket.ts'
export type { ChannelRequest, ChannelVerdict } from './sinks/web-socket/web-socket-definition.ts'
export { Batch } from './sinks/batch.ts'
export type { Job } from './sinks/batch.ts'
export type {
  BatchOutcome,
  Delivery,
  DeliveringSink,
  OpenSink,
  RefusedJob,
  Sink,
  SinkContext,
  SinkTraits,
  SqlTransaction,
  WritingSink,
} from './sinks/sink.ts'
export type { Duration, Size } from './text/units.ts'
