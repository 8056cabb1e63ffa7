/**
 * Times of records. Producers write what they like into 64 bits: -1 for none, nanoseconds, a time before Christ. Everything behind
 * the log gets a moment that dates, JSON and databases can write.
 */

/** 1970 to the end of the year 9999, the last one whose dates every format writes with four digits. */
export const recordTimeMsMax = 253_402_300_799_999

/** The moment nearest to `timeMs` that a record may have. */
export function clampedTimeMs(timeMs: number): number {
  return timeMs >= 0 ? Math.min(timeMs, recordTimeMsMax) : 0
}
