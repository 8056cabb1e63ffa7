/** One view of a running pipeline out of what its servers and nodes tell. Pure. Offsets are decimal strings, queues `2/0`. */
import type { PartitionRange } from '../events/event-log.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import { Histogram } from '../status/histogram.ts'
import type { CronTaskStatus } from '../cron/cron-schedule.ts'
import type { NodeStatus, QueueStatus, TaskStatus } from '../status/status.ts'
import { own } from '../own.ts'
import { cronViews } from './cron-view.ts'
import { troubleSentence } from '../status/trouble-status.ts'
import { retentionSentence } from '../node/retention-watch.ts'
import type { LedgerFacts, Look, NodeFacts, OpenLetters } from './facts.ts'
import { awayOf, foundOf } from './facts.ts'

export interface ClusterFacts {
  readonly nowMs: number
  readonly pipeline: string
  readonly topic: string
  readonly ledger: Look<LedgerFacts>
  readonly ranges: Look<ReadonlyMap<number, PartitionRange>>
  /** Record time of the first event above the floor, for partitions that are behind. */
  readonly oldestMs: ReadonlyMap<number, number>
  /** Null: the grid is inside the node. */
  readonly grid: Look<true> | null
  readonly nodes: readonly NodeFacts[]
}

export type NodeState = 'ready' | 'not ready' | 'waits' | 'suspended' | 'silent' | 'gone'

export interface NodeView {
  readonly node: string
  readonly url: string | null
  readonly pid: number | null
  readonly state: NodeState
  readonly epoch: number | null
  readonly partitions: number
  readonly queues: number
  readonly rssBytes: number | null
  readonly timersLateP99Ms: number | null
  readonly reasons: readonly string[]
}

export interface PartitionView {
  readonly partition: number
  readonly owner: string | null
  readonly floor: string | null
  readonly startOffset: string | null
  readonly endOffset: string | null
  readonly position: string | null
  readonly lagEvents: number | null
  /** Age of the first event above the floor; 0 when there is none, null when unknown. */
  readonly lagMs: number | null
  /** Offsets between the log's start and the floor: what retention may still take. */
  readonly spareOffsets: number | null
  /** Time until retention passes the floor at the present rate, while that is near. */
  readonly retentionLeftMs: number | null
  readonly haltedReason: string | null
}

export interface QueueView {
  readonly queue: string
  readonly owner: string | null
  readonly reader: string | null
  readonly sent: string | null
  readonly received: string | null
  readonly applied: Readonly<Record<string, string>>
  readonly windowSegments: number | null
  readonly windowSegmentsMax: number | null
  readonly windowBytes: number | null
  /** Jobs that wait at the reader, over all tasks. */
  readonly jobs: number | null
  readonly bytes: number | null
  readonly oldestMs: number | null
}

export interface TaskView {
  readonly task: string
  readonly everyMs: number
  readonly rows: number
  readonly latencyMs: Readonly<Record<'p50' | 'p99' | 'p999', number | null>>
  /** The worst of all nodes, as are the next three. */
  readonly tickSlipP99Ms: number | null
  readonly flushP99Ms: number | null
  readonly attempts: number
  readonly flushingMs: number | null
  readonly jobsWaiting: number
  readonly lastError: string | null
  readonly blockedReason: string | null
}

export interface ClusterView {
  readonly pipeline: string
  readonly topic: string
  readonly epoch: number | null
  readonly version: string | null
  /** Everything answers, every node is ready. */
  readonly isWell: boolean
  /** What is not well, one sentence each. */
  readonly troubles: readonly string[]
  /** Dead letters that nobody has settled, of whole events and by task. */
  readonly deadLetters: readonly OpenLetters[]
  readonly lag: { readonly events: number | null; readonly jobs: number; readonly bytes: number; readonly ms: number | null }
  readonly nodes: readonly NodeView[]
  readonly partitions: readonly PartitionView[]
  readonly queues: readonly QueueView[]
  readonly tasks: readonly TaskView[]
  readonly cron: readonly CronTaskStatus[]
  /** As each node answered. */
  readonly statuses: readonly NodeStatus[]
}

export function clusterView(facts: ClusterFacts): ClusterView {
  const ledger = foundOf(facts.ledger)
  const statuses = facts.nodes.flatMap(({ status }) => status ?? [])
  const working = statuses.filter(
    ({ epoch }) => epoch !== null && (ledger?.epoch === null || ledger === undefined || epoch === ledger.epoch?.epoch),
  )
  const nodes = facts.nodes.map(nodeView)
  const partitions = partitionNumbers(facts, working).map((partition) => partitionView(facts, ledger, working, partition))
  const queues = queueViews(facts, working)
  const tasks = taskViews(working)
  const troubles = troublesOf(facts, { nodes, partitions, told: statuses }, ledger)
  return {
    pipeline: facts.pipeline,
    topic: facts.topic,
    epoch: ledger?.epoch?.epoch ?? working[0]?.epoch ?? null,
    version: ledger?.epoch?.version ?? working[0]?.version ?? null,
    isWell: troubles.length === 0,
    troubles,
    deadLetters: ledger?.openLetters ?? [],
    lag: {
      events: partitions.some(({ lagEvents }) => lagEvents === null) ? null : sum(partitions.map(({ lagEvents }) => lagEvents)),
      jobs: sum(queues.map(({ jobs }) => jobs)),
      bytes: sum(queues.map(({ bytes }) => bytes)),
      ms: highest(partitions.map(({ lagMs }) => lagMs)),
    },
    nodes,
    partitions,
    queues,
    tasks,
    cron: cronViews(working),
    statuses,
  }
}

function nodeView({ id, url, pid, status, silence, isSuspended, epoch }: NodeFacts): NodeView {
  const state: NodeState =
    status !== null
      ? status.epoch === null
        ? 'waits'
        : status.isReady
          ? 'ready'
          : 'not ready'
      : isSuspended === true
        ? 'suspended'
        : silence === 'silent' || silence === 'locked'
          ? 'silent'
          : 'gone'
  return {
    node: id ?? url ?? 'unknown',
    url,
    pid,
    state,
    epoch,
    partitions: status?.partitions.length ?? 0,
    queues: status?.queues.length ?? 0,
    rssBytes: status?.memory.rssBytes ?? null,
    timersLateP99Ms: status?.eventLoop.delayP99Ms ?? null,
    reasons: status?.reasons ?? (silence === 'locked' ? ['it wants another token than node.tokenFile holds'] : []),
  }
}

function partitionNumbers({ ranges, ledger }: ClusterFacts, working: readonly NodeStatus[]): number[] {
  const told = working.flatMap(({ partitions }) => partitions.map(({ partition }) => partition))
  const all = [...(foundOf(ranges)?.keys() ?? []), ...(foundOf(ledger)?.partitions.keys() ?? []), ...told]
  return [...new Set(all)].toSorted((a, b) => a - b)
}

function partitionView(
  facts: ClusterFacts,
  ledger: LedgerFacts | undefined,
  working: readonly NodeStatus[],
  partition: number,
): PartitionView {
  const owner = working.find(({ partitions }) => partitions.some((row) => row.partition === partition))
  const own = owner?.partitions.find((row) => row.partition === partition)
  const floor = ledger?.partitions.get(partition)?.floor ?? (own === undefined || own.floor === '-1' ? undefined : BigInt(own.floor))
  const range = foundOf(facts.ranges)?.get(partition)
  const lag = floor === undefined || range === undefined ? null : Math.max(0, Number(range.endOffset - nextOffsetAfter(floor)))
  const oldestMs = facts.oldestMs.get(partition)
  return {
    partition,
    owner: owner?.node ?? null,
    floor: textOf(floor),
    startOffset: textOf(range?.startOffset),
    endOffset: textOf(range?.endOffset),
    position: own?.position ?? null,
    lagEvents: lag,
    lagMs: lag === 0 ? 0 : oldestMs === undefined ? null : Math.max(0, facts.nowMs - oldestMs),
    spareOffsets: floor === undefined || range === undefined ? null : Number(nextOffsetAfter(floor) - range.startOffset),
    retentionLeftMs: own?.retentionLeftMs ?? null,
    haltedReason: own?.haltedReason ?? null,
  }
}

function queueViews(facts: ClusterFacts, working: readonly NodeStatus[]): QueueView[] {
  const views = new Map<string, QueueView>()
  for (const { node, partitions } of working) {
    for (const { partition, outboxes } of partitions) {
      for (const { queue, sent, windowSegments, windowSegmentsMax, windowBytes } of outboxes)
        views.set(`${partition}/${queue}`, {
          ...noQueue(`${partition}/${queue}`),
          owner: node,
          sent,
          windowSegments,
          windowSegmentsMax,
          windowBytes,
        })
    }
  }
  for (const status of working) {
    for (const row of status.queues) {
      const name = `${row.partition}/${row.queue}`
      views.set(name, { ...(views.get(name) ?? noQueue(name)), ...readerPart(status, row) })
    }
  }
  return [...views.values()].toSorted((a, b) => a.queue.localeCompare(b.queue, 'en', { numeric: true }))
}

function noQueue(queue: string): QueueView {
  const nothing = { owner: null, reader: null, sent: null, received: null, applied: {}, jobs: null, bytes: null, oldestMs: null }
  return { queue, ...nothing, windowSegments: null, windowSegmentsMax: null, windowBytes: null }
}

function readerPart({ node, nowMs }: NodeStatus, { received, applied, inboxes }: QueueStatus) {
  const waiting = Object.values(inboxes)
  const oldest = waiting.flatMap(({ oldestMs }) => oldestMs ?? [])
  return {
    reader: node,
    received,
    applied,
    jobs: sum(waiting.map(({ jobs }) => jobs)),
    bytes: sum(waiting.map(({ bytes }) => bytes)),
    oldestMs: oldest.length === 0 ? null : Math.max(0, nowMs - Math.min(...oldest)),
  }
}

function taskViews(working: readonly NodeStatus[]): TaskView[] {
  const names = [...new Set(working.flatMap(({ tasks }) => tasks.map(({ task }) => task)))]
  return names.map((task) => {
    const rows = working.flatMap((status) => status.tasks.filter((row) => row.task === task).map((row) => ({ row, status })))
    const latency = new Histogram()
    for (const { status } of rows) {
      const json = own(status.latency, task)
      if (json !== undefined) latency.merge(Histogram.fromJSON(json))
    }
    const worst = (of: (row: TaskStatus) => number | null) => highest(rows.map(({ row }) => of(row)))
    const waiting = rows.flatMap(({ status }) => status.queues.map(({ inboxes }) => own(inboxes, task)?.jobs ?? 0))
    return {
      task,
      everyMs: rows[0]!.row.everyMs,
      rows: sum(rows.map(({ row }) => row.rows)),
      latencyMs: { p50: latency.percentile(50), p99: latency.percentile(99), p999: latency.percentile(99.9) },
      tickSlipP99Ms: worst(({ tickSlipP99Ms }) => tickSlipP99Ms),
      flushP99Ms: worst(({ flushP99Ms }) => flushP99Ms),
      attempts: worst(({ attempts }) => attempts) ?? 0,
      flushingMs: highest(rows.map(({ row, status }) => (row.flushingSinceMs === null ? null : status.nowMs - row.flushingSinceMs))),
      jobsWaiting: sum(waiting),
      lastError: rows.find(({ row }) => row.lastError !== null)?.row.lastError ?? null,
      blockedReason: rows.find(({ row }) => row.blockedReason !== null)?.row.blockedReason ?? null,
    }
  })
}

function troublesOf(
  { ledger, ranges, grid }: ClusterFacts,
  { nodes, partitions, told }: { nodes: readonly NodeView[]; partitions: readonly PartitionView[]; told: readonly NodeStatus[] },
  found: LedgerFacts | undefined,
): string[] {
  const servers = [awayOf(ledger), awayOf(ranges), awayOf(grid)].flatMap((away) => away ?? [])
  const silent = nodes.flatMap(({ node, url, state, pid }) => {
    if (state === 'suspended') return [`${node} is suspended: process ${pid} is stopped (kill -CONT ${pid})`]
    if (state === 'silent') return [`no status from ${url ?? node}: it accepts connections and says nothing`]
    return state === 'gone' ? [`no status from ${url ?? node}: is the node running?`] : []
  })
  const cut = found?.cut ?? null
  const slow = told.flatMap(({ node, nowMs, troubles: of }) =>
    of.flatMap((trouble) => (trouble.standsStill ? [] : [`${node}: ${troubleSentence(trouble, nowMs)}`])),
  )
  const misfits = told.flatMap(({ node, misfits: of }) => of.map((misfit) => `${node}: ${misfit}`))
  return [
    ...servers,
    ...silent,
    ...misfits,
    ...slow,
    ...nodes.flatMap(({ node, reasons }) => reasons.map((reason) => `${node}: ${reason}`)),
    ...partitions.flatMap(({ partition, owner }) => (owner === null && nodes.length > 0 ? [`partition ${partition} has no owner`] : [])),
    ...partitions.flatMap(({ partition, retentionLeftMs }) =>
      retentionLeftMs === null ? [] : [retentionSentence(partition, retentionLeftMs)],
    ),
    ...(found?.present ?? []).flatMap(({ node, waitsFor }) => (waitsFor === null ? [] : [`${node} waits: ${waitsFor}`])),
    ...(cut === null ? [] : [`reading is stopped: ${cut.requestedBy} drains the pipeline for ${cut.purpose}`]),
  ]
}

function textOf(offset: bigint | undefined): string | null {
  return offset === undefined ? null : String(offset)
}

function sum(values: readonly (number | null)[]): number {
  return values.reduce<number>((total, value) => total + (value ?? 0), 0)
}

function highest(values: readonly (number | null)[]): number | null {
  return values.reduce<number | null>((top, value) => (value !== null && (top === null || value > top) ? value : top), null)
}
