import type { InspectedPipeline } from './facts.ts'
import type { EventLog, PartitionRange } from '../events/event-log.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { ClusterFacts } from './cluster-view.ts'
import { foundOf } from './facts.ts'
import type { InspectPorts } from './gather-explain.ts'
import { look } from './gather-explain.ts'
import { gatherNodes } from './gather-nodes.ts'
import { readLedgerFacts } from './ledger-facts.ts'
import { askNodes } from './node-facts.ts'

/** Gathers one view of everything; a server that does not answer becomes a sentence. */
export async function gatherCluster({ log, database, grid }: InspectPorts, of: InspectedPipeline): Promise<ClusterFacts> {
  const { pipeline, urls } = of
  const [ledger, ranges, answers, gridLook] = await Promise.all([
    look(() => readLedgerFacts(database, pipeline.name)),
    look(() => rangesOf(log)),
    askNodes(urls, of.settings.node),
    grid === null ? null : look(async () => (await grid, true as const)),
  ])
  const { nodes } = await gatherNodes(grid, of, foundOf(ledger), answers)
  const oldestMs = new Map<number, number>()
  for (const [partition, { endOffset }] of foundOf(ranges) ?? []) {
    const floor = foundOf(ledger)?.partitions.get(partition)?.floor
    if (floor === undefined || nextOffsetAfter(floor) >= endOffset) continue
    const event = foundOf(await look(() => log.eventAt(partition, nextOffsetAfter(floor))))
    if (event !== undefined) oldestMs.set(partition, event.timestampMs)
  }
  return { nowMs: Date.now(), pipeline: pipeline.name, topic: pipeline.source.topic, ledger, ranges, oldestMs, grid: gridLook, nodes }
}

async function rangesOf(log: EventLog): Promise<ReadonlyMap<number, PartitionRange>> {
  const { partitions } = await log.identity()
  const ranges = new Map<number, PartitionRange>()
  for (let partition = 0; partition < partitions; partition++) ranges.set(partition, await log.range(partition))
  return ranges
}
