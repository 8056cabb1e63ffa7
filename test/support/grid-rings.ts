/** The rings and maps of a node's pipeline, as any other client of the grid may read and write them. */
import type { JobGrid } from '../../src/grid/job-grid.ts'
import { flagMapName, ringName, scopeName } from '../../src/grid/queue-name.ts'
import { ask } from './live-node.ts'

/** The scope of the newest epoch of `pipeline` in the database. */
export async function scopeOf(url: string, pipeline: string, topic: string): Promise<string> {
  const [row] = await ask<{ id: string; epoch: number; mark: string }>(
    url,
    'select d.id, e.epoch, e.mark from forebay.deployment d, forebay.epochs e where e.pipeline = $1 order by e.epoch desc limit 1',
    [pipeline],
  )
  const { id: deployment, epoch, mark } = row!
  return scopeName({ deployment, pipeline, topic, epoch, mark })
}

/** Names of all rings of a scope, partition by partition. */
export function ringsOf(scope: string, partitions = 2, queues = 2): string[] {
  return Array.from({ length: partitions * queues }, (_, n) => ringName(scope, { partition: Math.floor(n / queues), queue: n % queues }))
}

/** Every entry that each ring holds now, as bytes. */
export async function entriesOf(grid: JobGrid, rings: readonly string[]): Promise<Map<string, readonly Buffer[]>> {
  const found = new Map<string, readonly Buffer[]>()
  for (const ring of rings) found.set(ring, (await grid.read(ring, 0n, { countMax: 1_000, waitMs: 500 })).entries)
  return found
}

/** Puts entries that no node can read into the maps of the scope. */
export async function spoilMaps(grid: JobGrid, scope: string): Promise<void> {
  await grid.put(flagMapName(scope), 'p0.q0', 'nobody.0/7')
  await grid.put(flagMapName(scope), 'none of ours', '{')
  await grid.put(`forebay.${scope}.nodes`, 'none of ours', '{"beat":')
}
