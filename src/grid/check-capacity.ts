import { ForebayError } from '../errors.ts'
import type { JobGrid } from './job-grid.ts'
import { ringName } from './queue-name.ts'

/** Throws FB_GRID_SETTINGS when the rings of the running grid hold fewer entries than `capacity`. */
export async function checkCapacity(grid: JobGrid, scope: string, capacity: number): Promise<void> {
  const found = await grid.capacity(ringName(scope, { partition: 0, queue: 0 }))
  if (found >= capacity) return
  throw new ForebayError(
    'FB_GRID_SETTINGS',
    `the grid's rings hold ${found} entries, fewer than grid.capacity (${capacity}): start its members with config/hazelcast.yaml and forebay.capacity=${capacity}, or lower grid.capacity`,
  )
}
