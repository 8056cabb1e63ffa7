/**
 * A pipeline at run time: what `definePipeline` returns once everything in it has been checked, without the user's types.
 */
import type { EventHeaders } from './event-headers.ts'
import type { Sql } from '../database/sql.ts'
import type { MissedPolicy } from '../schedule/cron-due.ts'
import type { Sink } from '../sinks/sink.ts'

/** Where an event stands in the log and what its record says beside the value; handed to `decode` and `convert`. */
export interface At {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  /**
   * When the event was written to the log, in wall-clock milliseconds: the time its producer gave, or the broker's where the topic
   * says so. Always from 0 (1970) to 253402300799999 (the end of the year 9999): a time outside is moved to the nearer end and counted.
   */
  readonly timestampMs: number
  /**
   * The record's key as text, null when it has none. Reading it throws FB_BAD_EVENT (the event becomes a dead letter) when the key's bytes
   * are no UTF-8, since two such keys could give one text: use `keyBytes`.
   */
  readonly key: string | null
  /** The record's key as it is, null when it has none. Not to be written to. */
  readonly keyBytes: Buffer | null
  /** The record's headers; decoded when they are first asked for. `at.headers.text('traceparent')` */
  readonly headers: EventHeaders
}

/** What is done with an event without a value; a compacted topic says so that its key is gone. */
export type Tombstones = 'skip' | 'dead-letter' | 'decode'

/** One kind of job: how an event becomes jobs, how often they are flushed, and where they go. */
export interface TaskDefinition {
  readonly name: string
  /** The longest a job waits for its flush, in milliseconds. */
  readonly everyMs: number
  /** Flush early at this many jobs; absent: no limit of its own. */
  readonly rowsMax?: number
  /** Flush early at this many bytes of jobs; absent: no limit of its own. */
  readonly bytesMax?: number
  readonly sink: Sink<unknown>
  /** One job, an array of jobs, or undefined for none. Pure; what it throws becomes a dead letter. */
  readonly convert: (event: unknown, at: At) => unknown
}

/**
 * Turns the value of a record into an event. Pure; what it throws becomes a dead letter. `Value` is `Buffer`, or `Buffer | null` for
 * a pipeline whose `source.tombstones` is `decode`.
 */
export interface Decoder<out Event, in Value extends Buffer | null = Buffer> {
  readonly decode: (bytes: Value, at: At) => Event
  /**
   * Fetches what `decode` needs to know beside the values of the next events, such as their schemas; absent: nothing. Asked once a
   * batch, before it is converted, and as often as the batch is tried. A ForebayError that may pass by itself holds the partition where it
   * stands, as does one that `decode` throws for what was not fetched; neither makes a dead letter.
   */
  readonly prepare?: (values: readonly Buffer[]) => Promise<void>
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
  readonly source: { readonly topic: string; readonly tombstones: Tombstones; readonly decode: Decoder<unknown, Buffer | null> }
  /** The key whose jobs stay in order; absent: the record's own key. */
  readonly key?: (event: unknown) => string
  readonly tasks: readonly TaskDefinition[]
  /** Empty: nothing is scheduled. */
  readonly cron: readonly CronDefinition[]
}
