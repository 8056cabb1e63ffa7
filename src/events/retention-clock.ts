/**
 * How long until the retention of the log passes a floor that stays behind, at the present rate. Pure.
 *
 * Two clocks run. By age: the event above the floor grows older, and is deleted at `retentionMs`. By size or count: the log's
 * start moves towards the floor as events come in. The earlier one counts. A floor that gains on its clock has none.
 */
export interface RetentionSample {
  readonly atMs: number
  readonly floor: bigint
  /** First offset the log still holds. */
  readonly startOffset: bigint
  /** Record time of the first event above the floor; null when there is none, or it is unknown. */
  readonly oldestMs: number | null
}

/** A start that moves in steps of whole log segments says nothing in less time. */
const paceMs = 60_000
const warningMs = 3_600_000

/** Milliseconds left by what `before` and `now` show; null while nothing approaches. `retentionMs` null: events never expire by age. */
export function retentionLeftMs(before: RetentionSample, now: RetentionSample, retentionMs: number | null): number | null {
  const spanMs = now.atMs - before.atMs
  const clocks = [byAge(before, now, spanMs, retentionMs), byStart(before, now, spanMs)].filter((left) => left !== null)
  return clocks.length === 0 ? null : Math.max(0, Math.min(...clocks))
}

/** Below this a person should know: an hour, or half of a retention shorter than two. */
export function retentionWarningMs(retentionMs: number | null): number {
  return retentionMs === null ? warningMs : Math.min(warningMs, retentionMs / 2)
}

function byAge(before: RetentionSample, now: RetentionSample, spanMs: number, retentionMs: number | null): number | null {
  if (retentionMs === null || now.oldestMs === null) return null
  // Without an earlier look the floor counts as standing still.
  const gainedMs = before.oldestMs === null || spanMs <= 0 ? 0 : (now.oldestMs - before.oldestMs) / spanMs
  const growth = 1 - gainedMs
  return growth <= 0 ? null : (retentionMs - (now.atMs - now.oldestMs)) / growth
}

function byStart(before: RetentionSample, now: RetentionSample, spanMs: number): number | null {
  if (spanMs < paceMs || now.oldestMs === null) return null
  const approach = Number(now.startOffset - before.startOffset - (now.floor - before.floor)) / spanMs
  return approach <= 0 ? null : Number(now.floor + 1n - now.startOffset) / approach
}
