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

export interface Explanation extends Verdict {
  readonly topic: string
  readonly partition: number
  readonly offset: string | null
  readonly isCommitted: boolean
  readonly floor: string | null
  readonly log: { readonly startOffset: string; readonly endOffset: string } | null
  readonly lagEvents: number | null
  readonly key: string | null
  readonly task: string | null
  /** As status prints it, `2/0`. */
  readonly queue: string | null
  readonly segment: { readonly lo: string; readonly hi: string; readonly sequence: string; readonly owner: string } | null
  /** The first job of the task that waits. */
  readonly job: { readonly offset: string; readonly ordinal: number } | null
  /** Since the event was written to the log. */
  readonly ageMs: number | null
  readonly owner: string | null
  readonly reader: string | null
  readonly attempts: number | null
  readonly lastError: string | null
  readonly nextTryMs: number | null
  readonly deadLetters: readonly {
    readonly id: string
    readonly task: string | null
    readonly error: string
    readonly resolution: string | null
  }[]
  /** What else deserves a word. */
  readonly notes: readonly string[]
  /** What could not be looked at, and why. */
  readonly unseen: readonly string[]
}
