/**
 * A pipeline at run time: what `definePipeline` returns once everything in it has been checked, without the user's types.
 */
import type { MissedPolicy } from '../schedule/cron-due.ts'
import type { PostgresTableDefinition } from '../sinks/postgres-table-definition.ts'
import type { WebSocketDefinition } from '../sinks/web-socket-definition.ts'

/** Where an event stands in the log; handed to `convert` beside the event. */
export interface At {
  readonly partition: number
  readonly offset: bigint
  /** When the event was written to the log, in wall-clock milliseconds. */
  readonly timestampMs: number
  /** The record's key, null when it has none. */
  readonly key: string | null
}

export type SinkDefinition = PostgresTableDefinition | WebSocketDefinition

/** One kind of job: how an event becomes jobs, how often they are flushed, and where they go. */
export interface TaskDefinition {
  readonly name: string
  /** The longest a job waits for its flush, in milliseconds. */
  readonly everyMs: number
  /** Flush early at this many jobs; absent: no limit of its own. */
  readonly rowsMax?: number
  /** Flush early at this many bytes of jobs; absent: no limit of its own. */
  readonly bytesMax?: number
  readonly sink: SinkDefinition
  /** One job, an array of jobs, or undefined for none. Pure; what it throws becomes a dead letter. */
  readonly convert: (event: unknown, at: At) => unknown
}

/** Turns the value of a record into an event. Pure; what it throws becomes a dead letter. */
export interface Decoder<out Event> {
  decode(bytes: Buffer): Event
}

/**
 * One statement in the transaction of a cron run; resolves to its rows. As a template (sql`… ${value}`) or as a text with `$1`, values are
 * sent beside the text, never in it. Throws when the statement fails or would end the transaction.
 */
export interface Sql {
  <Row extends object = Record<string, unknown>>(text: TemplateStringsArray, ...values: readonly unknown[]): Promise<Row[]>
  <Row extends object = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

/** What a run of a cron task is given. */
export interface CronContext {
  readonly sql: Sql
  /** The time this run is for; the present may be later. */
  readonly scheduledAt: Date
  /** 1 for the first run of this scheduled time. */
  readonly attempt: number
  /** Aborts when the run has taken too long: what is written after that is lost. */
  readonly signal: AbortSignal
}

/** Work at times of the calendar. */
export interface CronDefinition {
  readonly name: string
  readonly expression: string
  readonly timezone: string
  readonly missed: MissedPolicy
  readonly missedAfterMs: number
  readonly timeoutMs: number
  readonly attemptsMax: number
  readonly run: (context: CronContext) => Promise<void> | void
}

export interface Pipeline {
  readonly name: string
  /** Version of the converters; another one opens an epoch. */
  readonly version: string
  readonly source: { readonly topic: string; readonly decode: Decoder<unknown> }
  /** The key whose jobs stay in order; absent: the record's own key. */
  readonly key?: (event: unknown) => string
  readonly tasks: readonly TaskDefinition[]
  /** Empty: nothing is scheduled. */
  readonly cron: readonly CronDefinition[]
}
