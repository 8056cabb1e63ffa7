/**
 * Prometheus metrics of cron tasks: counts of what this node did since start, to be summed over nodes. The time of the last success
 * is a gauge out of the shared book (metrics.ts), the same on every node.
 */
import { Counter, type Registry } from 'prom-client'
import type { CronResult } from '../cron/cron-runs.ts'
import type { CronTally } from '../cron/cron-tally.ts'

const outcomes: readonly CronResult['outcome'][] = ['succeeded', 'retrying', 'failed', 'lost']

export class CronMetrics implements CronTally {
  readonly #runs: Counter<'task' | 'outcome'>
  readonly #skipped: Counter<'task'>

  constructor(registry: Registry) {
    this.#runs = new Counter({
      name: 'forebay_cron_runs_total',
      help: 'attempts of cron tasks that ended on this node: succeeded, retrying (failed, tried again), failed (given up), lost (taken over)',
      labelNames: ['task', 'outcome'],
      registers: [registry],
    })
    this.#skipped = new Counter({
      name: 'forebay_cron_skipped_total',
      help: 'missed times of cron tasks that this node passed over',
      labelNames: ['task'],
      registers: [registry],
    })
  }

  /** Shows the counters of `task` from 0 on: Prometheus sees no increase in a series that begins with 1. */
  know(task: string): void {
    for (const outcome of outcomes) this.#runs.inc({ task, outcome }, 0)
    this.#skipped.inc({ task }, 0)
  }

  ran(task: string, outcome: CronResult['outcome']): void {
    this.#runs.inc({ task, outcome })
  }

  skipped(task: string, times: number): void {
    this.#skipped.inc({ task }, times)
  }
}
