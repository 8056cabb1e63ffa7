/**
 * The ledger: what has been applied, and the only fence (fact 1 of the protocol).
 *
 * A watermark per (task, partition, queue) and a floor per partition. A watermark moves only by compare-and-set in the
 * transaction that writes the rows, so a job is applied at most once whatever nodes, grid and event log do (I1, I7).
 */

import { assert } from '../assert.ts'
import { ForebayError } from '../errors.ts'

/** Names one queue of the grid: `queue` counts from 0 within its source partition. */
export interface QueueId {
  readonly partition: number
  readonly queue: number
}

/** Floor and watermark rows of one partition, as one read saw them. */
export interface PartitionView {
  readonly partition: number
  readonly floor: bigint
  /** Watermark rows by tracked task, indexed by queue. */
  readonly rows: ReadonlyMap<string, readonly bigint[]>
  /** The pipeline is asked to stop reading and drain (rule 11). Default false. */
  readonly isDraining?: boolean
  /** Set while an operator has to decide: nothing more is read, and the floor stays (rule 21). */
  readonly halt?: PartitionHalt
  /** Nothing that was ever sent was read under a later leader epoch; absent where none is known. */
  readonly leaderEpoch?: number
}

/** Why a partition stands still until an operator decides. */
export interface PartitionHalt {
  readonly partition: number
  /** A sentence: what was found, where. */
  readonly reason: string
  /** When it was found. */
  readonly floor: bigint
  /** Where the log ended then; null when nobody looked. */
  readonly logEnd: bigint | null
}

/** The refusal of a partition that is halted, with what an operator can do. */
export function haltRefusal({ partition, reason }: PartitionHalt): ForebayError {
  return new ForebayError(
    'FB_LOG_TRUNCATED',
    `${reason}. Nothing was skipped, and it stays halted also when the log grows again. Decide: forebay reset --partition ${partition} --to OFFSET makes again what the log holds from there on; ` +
      `forebay halts clear --partition ${partition} --accept-loss goes on behind the floor, and gives up what the log now holds below it`,
  )
}

/** Every job of `task` in `queue` at or below this offset is applied or dead-lettered. */
export function effectiveWatermark(view: PartitionView, task: string, queue: number): bigint {
  const row = view.rows.get(task)?.[queue]
  return row !== undefined && row > view.floor ? row : view.floor
}

/** What the row of `task` holds: an advance goes on from it, wherever the floor is. */
export function watermarkRow(view: PartitionView, task: string, queue: number): bigint {
  return view.rows.get(task)?.[queue] ?? view.floor
}

/** The lowest effective watermark of `queue` over the tracked tasks. */
export function lowestWatermark(view: PartitionView, queue: number): bigint {
  let lowest: bigint | undefined
  for (const task of view.rows.keys()) {
    const watermark = effectiveWatermark(view, task, queue)
    if (lowest === undefined || watermark < lowest) lowest = watermark
  }
  return lowest ?? view.floor
}

/** The highest offset that any tracked task has applied in any queue, and at least the floor. */
export function highestWatermark(view: PartitionView): bigint {
  let highest = view.floor
  for (const row of view.rows.values()) for (const applied of row) if (applied > highest) highest = applied
  return highest
}

/** What a partition's owner knew before the watermarks were read (rule 7: this first, the rows afterwards). */
export interface OwnerCapture {
  readonly partition: number
  /** The last offset whose jobs are all sent or buffered. */
  readonly position: bigint
  /** `isIdle`: nothing buffered and no append unacknowledged. */
  readonly queues: readonly { readonly sent: bigint; readonly isIdle: boolean }[]
  /** The newest leader epoch that was read; absent where none is known. Kept beside the floor, and never taken back (rule 21). */
  readonly leaderEpoch?: number | undefined
}

/**
 * The floor that `capture` and the watermarks read after it allow (rule 7, I3):
 * a queue that is idle and applied up to what was sent holds no job up to the position; any other holds the floor at its watermark.
 */
export function floorAllowedBy(capture: OwnerCapture, view: PartitionView): bigint {
  let floor = capture.position
  capture.queues.forEach(({ sent, isIdle }, queue) => {
    const watermark = lowestWatermark(view, queue)
    const isDrained = isIdle && watermark >= sent
    if (!isDrained && watermark < floor) floor = watermark
  })
  return floor > view.floor ? floor : view.floor
}

/** Moves the watermark of one queue: valid only while it is exactly `from`. */
export interface Advance extends QueueId {
  readonly from: bigint
  readonly to: bigint
}

/** What every ledger demands of the advances of one flush; anything else is a bug (FB_INTERNAL). */
export function assertAdvances(advances: readonly Advance[]): void {
  assert(
    advances.every(({ from, to }) => to > from),
    'I5: a watermark never goes back',
  )
  const queues = new Set(advances.map(({ partition, queue }) => `${partition}/${queue}`))
  assert(queues.size === advances.length, 'I7: a flush advances a queue once')
}

/** An event or a job that could not be processed, and why. */
export interface DeadLetter extends QueueId {
  readonly offset: bigint
  /** Position of the job among those its event made for this task; 0 for a whole event or a failed `convert`. */
  readonly ordinal: number
  /** Null when the whole event is at fault. */
  readonly task: string | null
  readonly error: string
  /** The event's value (or the job's line), cut to 64 KiB. */
  readonly payload: Buffer | null
  readonly isPayloadCut: boolean
  /** The W3C trace its event was written under, as far as it is known here. */
  readonly traceparent?: string | undefined
  /** Its event's record time: another event at its offset has another. */
  readonly eventTimeMs?: number | undefined
  /** It is the one job with that ordinal, and the payload is its line; else it is all that the event became for the task. Default false. */
  readonly isJob?: boolean
}

/** The open transaction of a flush, handed to the sink that writes into the ledger's database. */
export interface LedgerTransaction {
  /** Runs `body` so that its failure leaves the transaction as it was before; rethrows what it threw. */
  attempt<T>(body: () => Promise<T>): Promise<T>
  bury(letters: readonly DeadLetter[]): Promise<void>
}

export interface Flush<Tx extends LedgerTransaction = LedgerTransaction> {
  readonly task: string
  /** At most one a queue, each with `to` > `from`. */
  readonly advances: readonly Advance[]
  /** Writes rows and dead letters; not called when the advances are fenced. */
  readonly write: (transaction: Tx) => Promise<void>
}

/**
 * One pipeline's ledger within one epoch.
 *
 * Failures: FB_DATABASE_UNREACHABLE (outcome unknown: re-read), FB_FENCED (nothing applied: re-read), FB_EPOCH_CLOSED,
 * FB_BAD_JOB (nothing applied; the data of some job is at fault), FB_SCHEMA (nothing applied; the whole task is refused).
 */
export interface Ledger<Tx extends LedgerTransaction = LedgerTransaction> {
  read(partition: number): Promise<PartitionView>
  /** Views of these partitions, with one question. */
  readAll(partitions: readonly number[]): Promise<PartitionView[]>
  /**
   * In one transaction reads the partition's rows and raises its floor to what `capture` allows; resolves to the view
   * afterwards. The floor never goes back. Throws FB_LOG_TRUNCATED, and leaves the floor, while the partition is halted.
   */
  settle(capture: OwnerCapture): Promise<PartitionView>
  /**
   * One transaction: shared lock on the epoch and its check, compare-and-set of every advance, `write`, commit (rule 6).
   * A compare-and-set holds when the row is `from` itself, or when it is below `from` and the floor is exactly `from`: the
   * floor vouches that the queue holds no unapplied job between the row and `from`.
   */
  flush(flush: Flush<Tx>): Promise<void>
  /** Keeps the partition halted, over the lives of all nodes, until an operator decides. The first halt of a partition stays. */
  halt(halt: PartitionHalt): Promise<void>
}
