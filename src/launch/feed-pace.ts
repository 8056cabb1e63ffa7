/** As fast as the log takes it, `speed` times the pace of the feed's own clock, or `rate` lines a second. */
export type FeedPace =
  | { readonly kind: 'max' }
  | { readonly kind: 'speed'; readonly factor: number }
  | { readonly kind: 'rate'; readonly perSecond: number }

/** Steps back within a day are seconds at most; a trading day has hours. */
const newDayMs = 3_600_000

/**
 * Tells for one line after the other when it is to be sent: wall clock in milliseconds, or null for "at once".
 * The first line is due now. A feed clock that jumps back by more than an hour has begun the next day,
 * which then follows without a pause; smaller steps back do not move the due time.
 */
export function paceOf(pace: FeedPace, now: () => number = Date.now): { dueMs(msSinceMidnight: number): number | null } {
  if (pace.kind === 'max') return { dueMs: () => null }
  let startMs: number | undefined
  if (pace.kind === 'rate') {
    let count = 0
    return { dueMs: () => (startMs ??= now()) + (count++ * 1000) / pace.perSecond }
  }
  let lastMs: number | undefined
  let passedMs = 0
  return {
    dueMs(msSinceMidnight) {
      startMs ??= now()
      const step = msSinceMidnight - (lastMs ?? msSinceMidnight)
      if (step > 0) passedMs += step
      if (step > 0 || step < -newDayMs) lastMs = msSinceMidnight
      lastMs ??= msSinceMidnight
      return startMs + passedMs / pace.factor
    },
  }
}
