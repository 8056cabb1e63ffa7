/**
 * Runs one cron task on one node; every node of the pipeline does, and the book lets one of them run each scheduled time.
 *
 * It *sleeps* until its clock shows a scheduled time that is not decided as far as it knows, *reads* the book, *begins* the time
 * that is due and *runs* it. While another node is at it, or a failed attempt waits for the next one, it looks again
 * every second. Its clock says only when to look: what runs, and that it runs once, is up to the book, and no time runs
 * before the book's own clock shows it.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { Observer } from '../observer.ts'
import type { CronDefinition } from '../pipeline/pipeline.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import { dueOf } from '../schedule/cron-due.ts'
import type { CronTimes } from '../schedule/cron-times.ts'
import type { CronTally } from './cron-tally.ts'
import type { CronClaim, CronPlan, CronResult, CronRuns, CronSchedule, CronState } from './cron-runs.ts'

export interface CronRunnerPorts {
  readonly runs: CronRuns
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log'>
  readonly tally: CronTally
}

/** How long a sleep may last: the clock of the machine may be set meanwhile. */
const lookMs = 1000
/** How far a node's clock may be ahead of the book's without being held back. */
const aheadMs = 500
const retryFirstMs = 1000
const retryLastMs = 60_000

export class CronRunner {
  readonly #ports: CronRunnerPorts
  readonly #definition: CronDefinition
  readonly #times: CronTimes
  readonly #schedule: CronSchedule
  readonly #backoff = new Backoff(100, 5000)
  /** The next time that is not decided as far as this node knows; undefined before it has asked. */
  #nextMs: number | undefined
  #isOpened = false
  #isSuperseded = false
  #trouble: string | undefined

  constructor(ports: CronRunnerPorts, definition: CronDefinition, times: CronTimes) {
    this.#ports = ports
    this.#definition = definition
    this.#times = times
    const { name: task, expression, timezone } = definition
    this.#schedule = { task, expression, timezone }
  }

  get definition(): CronDefinition {
    return this.#definition
  }

  /** The next scheduled time, as far as this node knows. */
  get nextMs(): number | undefined {
    return this.#nextMs
  }

  /** Why the task does not run here, while it does not. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  /** Ends after the run under way. Never throws: a schedule in trouble says so, and the events go on. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#ports
    while (!signal.aborted) {
      try {
        const isBusy = await this.#turn()
        this.#backoff.reset()
        if (!this.#isSuperseded) this.#trouble = undefined
        if (!isBusy) await clock.sleep(this.#sleepMs(), signal)
      } catch (error) {
        const sentence = sentenceOf(error)
        const level = isForebayError(error) && error.policy === 'retry' ? 'warn' : 'error'
        if (this.#trouble !== sentence) observer.log(level, `cron task ${this.#schedule.task}: ${sentence}`)
        this.#trouble = sentence
        await clock.sleep(this.#backoff.next(), signal)
      }
    }
  }

  #sleepMs(): number {
    const leftMs = (this.#nextMs ?? 0) - this.#ports.clock.wallMs()
    return leftMs > 0 ? Math.min(lookMs, leftMs) : lookMs
  }

  /** Does what is due. Tells whether there may be more to do at once. */
  async #turn(): Promise<boolean> {
    const { runs, clock } = this.#ports
    if (!this.#isOpened) await runs.open(this.#schedule, clock.wallMs())
    this.#isOpened = true
    if (this.#nextMs !== undefined && this.#nextMs > clock.wallMs()) return false
    const seen = await runs.read(this.#schedule)
    this.#noteSchedule(seen)
    if (this.#isSuperseded) return false
    const plan = this.#planOf(seen)
    if (plan.run === undefined && plan.skipped.length === 0) {
      // While a time is open it is looked at again; otherwise there is nothing before the next one.
      this.#nextMs = seen.open?.scheduledMs ?? this.#times.next(seen.doneToMs)
      return false
    }
    const claim = await runs.begin(this.#schedule, seen, plan, this.#definition.attemptsMax)
    this.#nextMs = undefined
    if (claim === undefined) return plan.run === undefined
    if (claim === 'given-up') {
      this.#ports.tally.ran(this.#schedule.task, 'failed')
      this.#ports.observer.log('error', `${this.#named(plan.run!)} is given up: every node that ran it ended in the middle of the run`)
      return true
    }
    this.#ports.tally.skipped(this.#schedule.task, plan.skipped.length)
    if (claim === 'skipped') return true
    this.#report(claim, await this.#execute(claim))
    return true
  }

  #planOf({ doneToMs, nowMs, open }: CronState): CronPlan {
    if (open !== undefined) return { skipped: [], run: open.waitMs > 0 ? undefined : open.scheduledMs }
    const { missed, missedAfterMs } = this.#definition
    // A clock that is far ahead would otherwise decide the times of days to come.
    const earlierMs = Math.min(this.#ports.clock.wallMs(), nowMs + aheadMs)
    return dueOf({ times: this.#times, doneToMs, nowMs: earlierMs, missed, missedAfterMs })
  }

  #execute(claim: CronClaim): Promise<CronResult> {
    const { timeoutMs, attemptsMax, run } = this.#definition
    const { attempt } = claim
    const scheduledAt = new Date(claim.scheduledMs)
    return this.#ports.runs.execute(claim, {
      timeoutMs,
      attemptsMax,
      retryMs: Math.min(retryLastMs, retryFirstMs * 2 ** (attempt - 1)),
      run: async (sql, signal) => run({ sql, scheduledAt, attempt, signal }),
    })
  }

  #report({ scheduledMs, attempt }: CronClaim, result: CronResult): void {
    const { observer, tally } = this.#ports
    tally.ran(this.#schedule.task, result.outcome)
    const what = this.#named(scheduledMs)
    if (result.outcome === 'succeeded') observer.log('debug', `${what} ran`)
    if (result.outcome === 'retrying') observer.log('warn', `${what}, attempt ${attempt}, failed and is tried again: ${result.error}`)
    if (result.outcome === 'failed') observer.log('error', `${what} failed ${attempt} times and is given up: ${result.error}`)
  }

  #named(scheduledMs: number): string {
    return `cron task ${this.#schedule.task} of ${new Date(scheduledMs).toISOString()}`
  }

  /** A node with another schedule came later: this one would only undo what that one plans. */
  #noteSchedule({ isSuperseded }: CronState): void {
    if (isSuperseded && !this.#isSuperseded) {
      this.#trouble = 'another node, started later, has another expression or time zone for it'
      this.#ports.observer.log('warn', `cron task ${this.#schedule.task} does not run here: ${this.#trouble}`)
    }
    this.#isSuperseded = isSuperseded
  }
}
