/**
 * A sink that is open, as the flushes of a node use it.
 */
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { JobLines } from '../grid/segment.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import { Batch } from './batch.ts'
import { encodeOf } from './job-encoder.ts'
import type {
  BatchOutcome,
  Delivery,
  DeliveringSink as OpenDeliveringSink,
  OpenSink,
  RefusedJob,
  Sink,
  SqlTransaction,
  WritingSink,
} from './sink.ts'

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

/** Takes jobs outside any transaction. */
export interface DeliveringSink<Job = unknown> extends SinkBase<Job> {
  readonly delivery: 'at-least-once' | 'ephemeral'
  /** Jobs that no repetition will deliver, by index. `signal` aborts when the node stops. */
  deliver(jobs: readonly JobLines[], signal: AbortSignal): Promise<BatchOutcome | void>
}

export type RunningSink<Job = unknown> = TransactionalSink<Job> | DeliveringSink<Job>

/** `sink` and what `open` gave, as flushes use them. Throws FB_PIPELINE when the two do not fit. */
export function runningSink(sink: Sink<unknown>, open: OpenSink): RunningSink {
  const base = { label: sink.label, encode: encodeOf(sink) }
  const needs = sink.delivery === 'exactly-once' ? 'write' : 'deliver'
  if (typeof (open as Partial<WritingSink & OpenDeliveringSink>)[needs] !== 'function')
    throw new ForebayError('FB_PIPELINE', `${sink.label}: its delivery is ${sink.delivery}, so what \`open\` gives must have ${needs}(…).`)
  if (sink.delivery !== 'exactly-once') {
    const { delivery } = sink
    const deliver = (jobs: readonly JobLines[], signal: AbortSignal) =>
      asFailure(sink, async () => outcomeOf(await (open as OpenDeliveringSink).deliver(new Batch(jobs), signal), jobs))
    return { ...base, delivery, deliver }
  }
  const writing = open as WritingSink
  const { screen, writeEach } = writing
  const of = (transaction: LedgerTransaction) => transaction as unknown as SqlTransaction
  const finding =
    (find: NonNullable<WritingSink['screen']>) =>
    (transaction: LedgerTransaction, jobs: readonly JobLines[]): Promise<readonly RefusedJob[]> =>
      asFailure(sink, async () => ordered(await find.call(writing, of(transaction), new Batch(jobs)), jobs))
  return {
    ...base,
    delivery: 'exactly-once',
    write: (transaction, jobs) => asFailure(sink, () => writing.write(of(transaction), new Batch(jobs))),
    ...(screen === undefined ? {} : { screen: finding(screen) }),
    ...(writeEach === undefined ? {} : { writeEach: finding(writeEach) }),
  }
}

function outcomeOf(outcome: BatchOutcome | void, jobs: readonly JobLines[]): BatchOutcome | undefined {
  return outcome?.dead === undefined ? undefined : { dead: ordered(outcome.dead, jobs) }
}

/** In the order of the jobs, one for each. Throws where an index names no job: whatever was meant would be lost. */
function ordered(refused: readonly RefusedJob[], jobs: readonly JobLines[]): readonly RefusedJob[] {
  const { size } = new Batch(jobs)
  const stranger = refused.find(({ index }) => !Number.isInteger(index) || index < 0 || index >= size)
  if (stranger !== undefined) throw new Error(`it names job ${stranger.index} as refused, of a batch of ${size}`)
  return [...new Map(refused.map((one) => [one.index, one])).values()].toSorted((a, b) => a.index - b.index)
}

/** What a sink throws of its own is tried again. */
export async function asFailure<T>(sink: Sink<unknown>, body: () => Promise<T> | T): Promise<T> {
  try {
    return await body()
  } catch (error) {
    throw isForebayError(error) ? error : new ForebayError('FB_SINK', `${sink.label}: ${sentenceOf(error)}`, { cause: error })
  }
}
