/** Why an offset is not committed, judged. */
/** Why an offset is not committed (or that it is): what `explain` answers. Offsets are decimal strings, as in every JSON of forebay. */
export type Cause =
  | 'committed'
  | 'dead-lettered'
  | 'no-such-event'
  | 'never-started'
  | 'retention-passed'
  | 'log-truncated'
  | 'partition-halted'
  | 'database-away'
  | 'event-log-away'
  | 'registry-away'
  | 'grid-lost'
  | 'wrong-epoch'
  | 'draining'
  | 'node-suspended'
  | 'node-silent'
  | 'no-node'
  | 'missing-table'
  | 'task-refused'
  | 'row-locked'
  | 'slow-sink'
  | 'task-failing'
  | 'queue-full'
  | 'repairing'
  | 'held-behind'
  | 'floor-pending'
  | 'slow-convert'
  | 'catching-up'
  | 'in-flight'
  | 'stalled'
  | 'unknown'

/** The judgement alone. */
export interface Verdict {
  readonly cause: Cause
  /** The culprit in one sentence. */
  readonly sentence: string
  /** What happens next by itself, and when. */
  readonly next: string
  /** What to do; null when nothing is to be done. */
  readonly mend: string | null
  /** What is behind it, when that is another thing. */
  readonly because?: Verdict
}
