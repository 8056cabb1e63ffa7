/** What cron tasks tell of their runs on this node, for metrics. */
import type { CronResult } from './cron-runs.ts'

export interface CronTally {
  /** An attempt ended here, or this node gave up a time whose nodes all died (`failed`). */
  ran(task: string, outcome: CronResult['outcome']): void
  /** This node wrote down that `times` missed times are passed over. */
  skipped(task: string, times: number): void
}
