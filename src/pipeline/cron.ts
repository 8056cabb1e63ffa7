/**
 * A cron task as a pipeline's author writes it: work at times of the calendar, beside the tasks that follow events.
 */
import type { MissedPolicy } from '../schedule/cron-due.ts'
import type { CronContext } from './pipeline.ts'
import type { Duration } from '../text/units.ts'

export interface CronOptions {
  /** Time zone of the expression, as the IANA database names it. Default `UTC`. */
  readonly timezone?: string
  /** What becomes of times at which nothing could run: `skip` them, run `once` for the latest, or run `all`. Default `once`. */
  readonly missed?: MissedPolicy
  /** A time counts as missed when nobody began it within this. Default `1m`. */
  readonly missedAfter?: Duration
  /** The longest one run may take; then it is rolled back and counts as failed. Default `1m`. */
  readonly timeout?: Duration
  /** Runs of one scheduled time at most, until it is given up; a node that dies in the middle counts as one. Default 5. */
  readonly attemptsMax?: number
}

/** A cron task; made by `cron`, checked by `definePipeline`. */
export interface CronTask {
  readonly expression: string
  readonly options: CronOptions
  readonly run: (context: CronContext) => Promise<void> | void
}

/**
 * Runs `run` at each time of `expression` (second minute hour day-of-month month day-of-week; five fields: at second 0) on exactly one
 * node. What it writes through `sql` is committed together with the word that this time has run, so it happens once; what
 * it does elsewhere may happen again after a failure. Runs of one task never overlap.
 */
export function cron(expression: string, options: CronOptions, run: CronTask['run']): CronTask {
  return { expression, options, run }
}
