import type { Verdict } from '../status/verdict.ts'

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
