/**
 * The interface of a sink: where the jobs of one task go. The built-in sinks use it as anybody may.
 *
 * A `Sink` is what a pipeline declares: facts that commands and nodes need before anything is open. `open` gives what acts, once on each
 * node and epoch. A node calls it for one batch at a time.
 */
import type { Database } from '../database/database.ts'
import type { Sql } from '../database/sql.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { PostgresTransaction } from '../ledger/postgres-transaction.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'
import type { Batch } from './batch.ts'
import type { PostgresTableDefinition } from './postgres-table/postgres-table-definition.ts'
import type { Channel } from './web-socket/channel.ts'

/**
 * `exactly-once`: `write` runs in the transaction that moves the task's watermark. `at-least-once`: `deliver` comes first, then the
 * watermark moves, so jobs may come again after a failure, with the same ids. `ephemeral`: `deliver` without a watermark; what is lost is
 * not made again, and the task never holds events back.
 */
export type Delivery = 'exactly-once' | 'at-least-once' | 'ephemeral'

/** `Row` is what `convert` of a task with this sink must give. */
export interface Sink<in Row = never> {
  /** What it is, such as `ndjson-file`. */
  readonly kind: string
  /** How messages name it, such as `file orders.ndjson`. */
  readonly label: string
  readonly delivery: Delivery
  readonly traits?: SinkTraits<Row>
  /** What is wrong with the way it is declared, a clause each; `definePipeline` throws FB_PIPELINE with all of them. Default: nothing. */
  problems?(): readonly string[]
  /**
   * A job as one line of text without a newline and without any character below U+0009. What it throws makes the job a dead letter. Pure.
   * Default: its JSON, with bigints as strings.
   */
  readonly encode?: (row: Row) => string
  /** Throws (or rejects) when the node must not start with it. */
  open(context: SinkContext): Promise<OpenSink> | OpenSink
}

/** What forebay needs to know of a sink beside its delivery. */
export interface SinkTraits<in Row = never> {
  /** Jobs are values of which only the latest by this key counts: an earlier one in the same batch may be left out. Pure. */
  readonly latestBy?: (row: Row) => string
  /** Jobs are rows of this table of the ledger's database, which can be compared with the events, repaired and reset. */
  readonly table?: PostgresTableDefinition
  /** Two tasks of a pipeline may not have it in common; it is known by its label. Default false. */
  readonly isExclusive?: boolean
  /** What it keeps in memory on each node at most, in bytes; part of the node's memory bound. Default 0. */
  readonly memoryBytesMax?: number
  /** Nothing of it leaves the nodes and their grid, so that a trial may open it beside the live one. Default false. */
  readonly isWithinNodes?: boolean
}

/** What a sink is given when it is opened. */
export interface SinkContext {
  readonly pipeline: string
  readonly task: string
  /** Unique for this life of the process. */
  readonly node: string
  /** Writes a sentence to the node's log. */
  log(level: 'debug' | 'info' | 'warn' | 'error', sentence: string, fields?: Readonly<Record<string, unknown>>): void
  /** The ledger's database, one of the node's connections at a time, outside of any flush. */
  readonly database: Pick<Database, 'use'>
  readonly clock: Clock
  readonly observer: Observer
  readonly grid: JobGrid
  /** Names deployment, pipeline, topic and epoch: the prefix of names in the grid. */
  readonly scope: string
  /** Key of the HMAC on what goes through the grid. */
  readonly secret: string
}

/** The transaction of a flush, open until `write` ends. */
export type SqlTransaction = Pick<PostgresTransaction, 'query' | 'copyFrom'> & {
  /** One statement: sql`insert into t values (${value})`. Data that it refuses makes the batch be tried in halves, until the bad job is found. */
  readonly sql: Sql
}

interface Opened {
  /** Works beside the deliveries until `signal` aborts; started again after a failure. */
  follow?(signal: AbortSignal): Promise<void>
  /** Values that clients may look at, under `/ws/<its name>`. */
  readonly channel?: Channel
  /** Called once, when the node leaves the epoch. */
  close?(): Promise<void> | void
}

/** Of a sink whose delivery is `exactly-once`. */
export interface WritingSink extends Opened {
  /**
   * Writes the jobs by statements of `transaction` alone: they commit with the watermark or not at all. It may be called again with fewer
   * jobs when one of them is refused. What it throws beside the database's own errors is tried again, all of it.
   */
  write(transaction: SqlTransaction, batch: Batch): Promise<void>
  /**
   * The jobs that would be refused if each came alone, in order: found at once, and written nowhere. It may overlook some. Default:
   * bisection finds them.
   */
  screen?(transaction: SqlTransaction, batch: Batch): Promise<readonly RefusedJob[]>
  /** Writes each job by itself, in order; resolves to those that were refused, ascending. Default: bisection. */
  writeEach?(transaction: SqlTransaction, batch: Batch): Promise<readonly RefusedJob[]>
}

/** Of a sink whose delivery is `at-least-once` or `ephemeral`. */
export interface DeliveringSink extends Opened {
  /**
   * Resolves when the jobs are safe where they went. What it throws is tried again with all of them, after a pause that grows to
   * seconds. `signal` aborts when the node stops: what is thrown then counts as not delivered.
   */
  deliver(batch: Batch, signal: AbortSignal): Promise<BatchOutcome | void>
}

export interface RefusedJob {
  /** Among all jobs of the batch, from 0. */
  readonly index: number
  /** A sentence: why. */
  readonly error: string
}

/** What became of a batch beside its delivery. */
export interface BatchOutcome {
  /** Jobs that no repetition will deliver, by index: they become dead letters. */
  readonly dead?: readonly RefusedJob[]
}

export type OpenSink = WritingSink | DeliveringSink
