/** The book of cron runs as a node uses it, with every look at it watched. It changes nothing; a run may take as long as it may. */
import type { TroubleWatch } from '../troubles.ts'
import type { CronBeginning, CronClaim, CronPlan, CronResult, CronRun, CronRuns, CronSchedule, CronState, CronWork } from './cron-runs.ts'

export class WatchedCronRuns implements CronRuns {
  readonly #runs: CronRuns
  readonly #troubles: TroubleWatch

  constructor(runs: CronRuns, troubles: TroubleWatch) {
    this.#runs = runs
    this.#troubles = troubles
  }

  open(schedule: CronSchedule, nowMs: number): Promise<void> {
    return this.#watch(`task ${schedule.task}, opening`, () => this.#runs.open(schedule, nowMs))
  }

  read(schedule: CronSchedule): Promise<CronState> {
    return this.#watch(`task ${schedule.task}`, () => this.#runs.read(schedule))
  }

  begin(schedule: CronSchedule, seen: CronState, plan: CronPlan, attemptsMax: number): Promise<CronBeginning> {
    return this.#watch(`task ${schedule.task}, beginning`, () => this.#runs.begin(schedule, seen, plan, attemptsMax))
  }

  execute(claim: CronClaim, work: CronWork): Promise<CronResult> {
    return this.#runs.execute(claim, work)
  }

  history(countMax: number): Promise<CronRun[]> {
    return this.#watch('history', () => this.#runs.history(countMax))
  }

  #watch<T>(where: string, call: () => Promise<T>): Promise<T> {
    return this.#troubles.watch('cron', where, call)
  }
}
