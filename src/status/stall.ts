/** A partition whose floor stands, as a node tells of it. */
import type { Cause } from './verdict.ts'
import { spanText } from '../text/time-text.ts'

/** A partition whose floor stands. */
export interface Stall {
  readonly partition: number
  /** Wall clock, as the node sees it. */
  readonly sinceMs: number
  readonly floor: string
  /** Null until it was judged. */
  readonly cause: Cause | null
  readonly sentence: string
  readonly mend: string | null
}

/** A stall in one sentence, for people. */
export function stallSentence({ partition, sinceMs, sentence }: Stall, nowMs: number): string {
  return `partition ${partition} has not moved for ${spanText(nowMs - sinceMs)}: ${sentence}`
}
