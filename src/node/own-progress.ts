/** The progress watch of a running node: its own floors, judged by what `explain` would say of them. */
import type { Database } from '../database/database.ts'
import { readLedgerFacts } from '../inspect/ledger-facts.ts'
import { askNodes } from '../inspect/node-facts.ts'
import { judgeOwn } from '../inspect/own-facts.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { Observer } from '../observer.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import type { Clock } from '../schedule/clock.ts'
import type { Membership } from './membership.ts'
import type { LogEnds } from './node-status.ts'
import type { Node } from './node.ts'
import { ProgressWatch } from './progress-watch.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { NodeStatus } from '../status/status.ts'

export interface OwnProgressPorts {
  readonly clock: Clock
  readonly observer: Observer
  readonly database: Pick<Database, 'use'>
  readonly grid: JobGrid
}

export interface OwnProgressOptions {
  readonly id: string
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  readonly node: Node
  readonly membership: Membership
  readonly ends: LogEnds
  readonly status: () => NodeStatus
}

export function watchOwnProgress(ports: OwnProgressPorts, options: OwnProgressOptions): ProgressWatch {
  const { clock, observer, database, grid } = ports
  const { id, settings, pipeline, node, membership, ends, status } = options
  const fellows = () => membership.live().flatMap(({ id: other, info }) => (other === id || info.http === null ? [] : [info.http]))
  const sources = {
    clock,
    topic: pipeline.source.topic,
    queues: settings.grid.queues,
    grid,
    settings,
    status,
    ledger: () => readLedgerFacts(database, pipeline.name),
    others: () => askNodes(fellows(), settings.node),
  }
  const floors = () => new Map([...node.owners].map(([partition, { part }]) => [partition, part?.floor ?? -1n]))
  const cadencesMs = node.runners.flatMap(({ options: { isTracked, everyMs } }) => (isTracked ? [everyMs] : []))
  const watched = {
    clock,
    observer,
    floors,
    range: (partition: number) => ends.range(partition),
    isShort: (partition: number) => ends.isShort(partition),
    isHalted: (partition: number) => node.isHalted(partition),
    judge: (partitions: readonly number[]) => judgeOwn(sources, partitions),
  }
  return new ProgressWatch(watched, cadencesMs)
}
