/**
 * A sink as forebay sees it: where the jobs of one task go, a batch at a time.
 */
import type { JobLines } from '../grid/segment.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'

/**
 * `exactly-once`: writes in the ledger's transaction. `at-least-once`: delivered first, then the watermark moves.
 * `ephemeral`: keeps no watermark and never holds the floor (unless no task of the pipeline is durable).
 */
type Delivery = 'exactly-once' | 'at-least-once' | 'ephemeral'

interface SinkBase<Job> {
  readonly delivery: Delivery
  /** How messages name it, such as `table trades`. */
  readonly label: string
  /** The job as one line of text without a newline (and without any character below U+0009). Throws FB_BAD_JOB naming the field. Pure. */
  encode(job: Job): string
}

/** Writes inside the flush's transaction. `write` may be called again with fewer jobs when one of them is bad. */
export interface TransactionalSink<Job = unknown, Tx extends LedgerTransaction = LedgerTransaction> extends SinkBase<Job> {
  readonly delivery: 'exactly-once'
  /** `jobs` in the order of their queues; sections of kind `job` only. Throws FB_BAD_JOB, FB_SCHEMA or FB_DATABASE_UNREACHABLE. */
  write(transaction: Tx, jobs: readonly JobLines[]): Promise<void>
  /**
   * The jobs that are refused by their values alone, whatever else is in the table: found at once, and written nowhere. It may
   * overlook some. Left out: none are found.
   */
  screen?(transaction: Tx, jobs: readonly JobLines[]): Promise<readonly RefusedJob[]>
  /**
   * Writes each job by itself, in order, so that one that is refused for its data leaves nothing; resolves to those, ascending.
   * For batches with many bad jobs: one statement instead of a savepoint a job. Throws
   * FB_SCHEMA and FB_DATABASE_UNREACHABLE. Left out: bad jobs are found by bisection alone.
   */
  writeEach?(transaction: Tx, jobs: readonly JobLines[]): Promise<readonly RefusedJob[]>
}

export interface RefusedJob {
  /** Among all jobs of the batch. */
  readonly index: number
  /** The sentence of its FB_BAD_JOB. */
  readonly error: string
}

/** Takes jobs outside any transaction. */
export interface DeliveringSink<Job = unknown> extends SinkBase<Job> {
  readonly delivery: 'at-least-once' | 'ephemeral'
  deliver(jobs: readonly JobLines[]): Promise<void>
}

export type RunningSink<Job = unknown> = TransactionalSink<Job> | DeliveringSink<Job>
