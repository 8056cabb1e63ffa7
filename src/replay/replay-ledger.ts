/**
 * The port to what the ledger knows about the range of a replay.
 */
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { OffsetSpan } from './table-check.ts'

export interface DeadMark {
  readonly offset: bigint
  /** Null: every job of the event. */
  readonly ordinal: number | null
}

/** What is applied of one task in one partition. */
export interface Applied {
  readonly floor: bigint
  /** Watermarks by queue. */
  readonly rows: readonly bigint[]
}

export interface ReplayLedger<Tx extends LedgerTransaction> {
  /** Jobs of `task` in the span that are dead letters; those that were redriven are in the table, and none of them. */
  deadMarks(transaction: Tx, task: string, span: OffsetSpan): Promise<DeadMark[]>
  /** What is applied of `task`, by partition, as this transaction sees it; makes the transaction see one moment only. */
  applied(transaction: Tx, task: string): Promise<ReadonlyMap<number, Applied>>
  /**
   * Keeps epochs from being opened while the transaction lasts. Throws FB_EPOCH_CLOSED when the pipeline was reset since, and
   * FB_INTERRUPTED when the floor, as this transaction sees it, is below the end of `span`: the nodes will write those rows.
   */
  guard(transaction: Tx, span: OffsetSpan): Promise<void>
}

/** Whether the job of an event in `queue` was applied (or dead-lettered). */
export function isApplied({ floor, rows }: Applied, offset: bigint, queue: number): boolean {
  return offset <= floor || offset <= (rows[queue] ?? -1n)
}

/** The last offset at which anything may be applied. */
export function lastApplied({ floor, rows }: Applied): bigint {
  return rows.reduce((last, row) => (row > last ? row : last), floor)
}

/** By which jobs are found among the dead: `offset/ordinal`, or `offset/*` for all of an event. */
export function deadJobs(marks: readonly DeadMark[]): (offset: bigint, ordinal: number) => boolean {
  if (marks.length === 0) return () => false
  const keys = new Set(marks.map(({ offset, ordinal }) => `${offset}/${ordinal ?? '*'}`))
  return (offset, ordinal) => keys.has(`${offset}/${ordinal}`) || keys.has(`${offset}/*`)
}
