/**
 * The port to the database of a replay: one connection of its own, under one lock, and the rows that say how far each replay came.
 */
import type { LedgerTransaction } from '../ledger/ledger.ts'

/** The request as it is kept for a resume. */
export interface ReplaySpec {
  readonly from: string
  readonly to: string | null
  readonly partition: number | null
  readonly key: string | null
  readonly speed: number | null
}

export interface PartitionProgress {
  readonly partition: number
  readonly firstOffset: bigint
  readonly lastOffset: bigint
  /** Everything up to here is written. */
  readonly passed: bigint
  readonly events: number
  readonly rows: number
  /** Jobs that the table would not take. */
  readonly refused: number
}

/** `running`: a process holds its lock; `stopped`: it can be resumed. */
export type ReplayState = 'running' | 'stopped' | 'done'

export interface ReplayRecord {
  readonly id: number
  readonly pipeline: string
  readonly task: string
  readonly target: string
  readonly version: string
  readonly fileHash: string | null
  readonly spec: ReplaySpec
  readonly state: ReplayState
  readonly createdAt: Date
  readonly finishedAt: Date | null
  readonly partitions: readonly PartitionProgress[]
}

/** One step: the events up to `to` are written. */
export interface ReplayStep {
  readonly replay: number
  readonly partition: number
  /** Where the replay stood; the step is void when it stands elsewhere. */
  readonly from: bigint
  readonly to: bigint
  readonly events: number
}

/** What a step's `write` did. */
export interface Written {
  readonly rows: number
  readonly refused: number
}

/** How far a replay came, under the replay's lock for as long as its connection lives. */
export interface ReplayProgressStore<Tx extends LedgerTransaction> extends AsyncDisposable {
  /** Where the replay stands in `partition`. */
  passed(replay: number, partition: number): Promise<bigint>
  /** Moves the replay's own row by compare-and-set and writes, in one transaction: exactly once. Throws FB_FENCED when the row is not at `from`. */
  step(step: ReplayStep, write: (transaction: Tx) => Promise<Written>): Promise<Written>
  finish(replay: number): Promise<void>
}
