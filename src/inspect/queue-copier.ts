import type { JobGrid } from '../grid/job-grid.ts'
import type { NodeSettings } from '../config/settings.ts'
import { segmentSecret } from './grid-facts.ts'
import { copyQueue } from './queue-view.ts'
import type { QueueCopy } from './queue-view.ts'

/** What a node serves of its queues: copies of those that exist, undefined for others and while it works in no epoch. */
export function queueCopier(
  grid: JobGrid,
  settings: Pick<NodeSettings, 'grid'>,
  partitions: number,
  scopeNow: () => string | undefined,
): (partition: number, queue: number, jobs: number) => Promise<QueueCopy | undefined> {
  return async (partition, queue, jobs) => {
    const scope = scopeNow()
    if (scope === undefined || partition >= partitions || queue >= settings.grid.queues) return undefined
    return copyQueue(grid, { partition, queue }, { scope, secret: segmentSecret(settings, scope), jobsMax: jobs, nowMs: Date.now() })
  }
}
