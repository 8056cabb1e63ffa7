/**
 * Which scheduled time of a cron task comes next, and which are passed over. Pure.
 */
import type { CronTimes } from './cron-times.ts'

/**
 * What becomes of scheduled times at which nothing could run, since no node lived or an earlier run took too long. The latest
 * one always runs when it is on time.
 * `skip`: none of the others. `once`: only the latest, however late. `all`: each, oldest first, the latest `missedMax` at most.
 */
export type MissedPolicy = 'skip' | 'once' | 'all'

/** Missed times that are made up for at most; earlier ones are passed over. */
export const missedMax = 1000

export interface DueQuestion {
  readonly times: CronTimes
  /** Every scheduled time at or before it is decided. */
  readonly doneToMs: number
  readonly nowMs: number
  readonly missed: MissedPolicy
  /** A time later than this is missed. */
  readonly missedAfterMs: number
}

export interface Due {
  /** The time to run now, if any. */
  readonly run: number | undefined
  /** Times that are passed over, rising, all before `run`; of very many the latest `missedMax`. */
  readonly skipped: readonly number[]
}

export function dueOf({ times, doneToMs, nowMs, missed, missedAfterMs }: DueQuestion): Due {
  const due = times.latest(doneToMs, nowMs, missedMax + 1)
  const last = due.at(-1)
  if (last === undefined) return { run: undefined, skipped: [] }
  if (missed === 'all') {
    const made = due.slice(-missedMax)
    return { run: made[0], skipped: due.slice(0, due.length - made.length) }
  }
  const isMissed = nowMs - last > missedAfterMs
  return missed === 'skip' && isMissed ? { run: undefined, skipped: due } : { run: last, skipped: due.slice(0, -1) }
}
