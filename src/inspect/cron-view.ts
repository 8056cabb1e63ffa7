import type { CronTaskStatus } from '../cron/cron-schedule.ts'
import type { NodeStatus } from '../status/status.ts'

/**
 * The cron tasks of a pipeline out of what its nodes tell: each as a node tells it on which it runs, with the latest history
 * that any node knows. Pure.
 */
export function cronViews(statuses: readonly NodeStatus[]): CronTaskStatus[] {
  const told = statuses.flatMap(({ cron }) => cron)
  const tasks = [...new Set(told.map(({ task }) => task))]
  return tasks.map((task) => {
    const ofTask = told.filter((status) => status.task === task)
    const best = ofTask.find(({ trouble }) => trouble === null) ?? ofTask[0]!
    return { ...best, runs: ofTask.reduce((latest, status) => (newestMs(status) > newestMs(latest) ? status : latest), best).runs }
  })
}

function newestMs({ runs }: CronTaskStatus): number {
  return runs[0]?.scheduledMs ?? -Infinity
}
