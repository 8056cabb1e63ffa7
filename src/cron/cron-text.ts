/** A cron task as a line of a table, for a terminal. Pure. */
import { historyLines } from './cron-schedule.ts'
import type { CronTaskStatus } from './cron-schedule.ts'

export const cronHead = ['cron task', 'schedule', 'next', 'last runs (all nodes), latest first']

export function cronCells({ task, expression, timezone, nextAtMs, trouble, runs }: CronTaskStatus): string[] {
  const lines = runs.map(({ scheduledMs, outcome, attempts, error }, place) => {
    // The latest success comes along however old it is.
    if (place >= historyLines) return `last success ${timeText(scheduledMs)}`
    const again = attempts > 1 ? ` after ${attempts} attempts` : ''
    return `${timeText(scheduledMs)} ${outcome}${again}${error === null ? '' : ` (${error})`}`
  })
  const last = lines.join(', ') || 'none yet'
  return [task, `${expression} ${timezone}`, timeText(nextAtMs), trouble === null ? last : `does not run here: ${trouble}; ${last}`]
}

function timeText(ms: number | null): string {
  return ms === null ? '-' : new Date(ms).toISOString().replace('.000', '')
}
