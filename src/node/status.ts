/**
 * What `GET /status` of a node tells. Offsets are decimal strings, since JSON numbers end at 2^53.
 */
import type { CounterName } from '../observer.ts'
import { Histogram, type HistogramJson } from './histogram.ts'

export interface MemberStatus {
  readonly node: string
  readonly isSelf: boolean
}

/** A source partition that this node reads. */
export interface PartitionStatus {
  readonly partition: number
  /** Every job at or below it is applied or dead-lettered. */
  readonly floor: string
  /** The last offset read. */
  readonly position: string
  /** The offset the next event of the log will get; left out while unknown. */
  readonly endOffset?: string
  /** Events in the log above the floor; null while `endOffset` is unknown. */
  readonly lagEvents: number | null
  /** Why reading stands still, else null. */
  readonly haltedReason: string | null
}

/** A queue that this node reads. */
export interface QueueStatus {
  readonly partition: number
  readonly queue: number
  /** The last offset received from the grid. */
  readonly received: string
  /** Watermark of each task. */
  readonly applied: Readonly<Record<string, string>>
  /** Jobs received and not yet applied. */
  readonly pendingJobs: number
  /** Share of the queue's window in use, 0 to 1; left out when this node does not write the queue. */
  readonly windowUsed?: number
}

export interface TaskStatus {
  readonly task: string
  readonly everyMs: number
  readonly rows: number
  /** Null before the first tick or flush. */
  readonly tickSlipP99Ms: number | null
  readonly flushP99Ms: number | null
  readonly lastError: string | null
  /** Why the task stands still until an operator mends it, else null. */
  readonly blockedReason: string | null
}

export interface ChannelStatus {
  readonly channel: string
  readonly keys: number
  readonly clients: number
  /** Clients dropped since start because they were too slow. */
  readonly dropped: number
}

export interface NodeStatus {
  readonly node: string
  readonly version: string
  readonly pipeline: string
  /** Null until the ledger has answered. */
  readonly epoch: number | null
  readonly startedAtMs: number
  /** Wall clock of the first event polled since start; null before. */
  readonly firstEventAtMs: number | null
  /** Wall clock of the last flush committed since start; null before. */
  readonly lastRowAtMs: number | null
  /** Owned partitions run, ledger and grid answer. */
  readonly isReady: boolean
  /** Why not, one sentence each; empty when ready. */
  readonly reasons: readonly string[]
  /** Live nodes as this one sees them. */
  readonly members: readonly MemberStatus[]
  readonly partitions: readonly PartitionStatus[]
  readonly queues: readonly QueueStatus[]
  readonly tasks: readonly TaskStatus[]
  readonly channels: readonly ChannelStatus[]
  /** Sums over all labels since start. */
  readonly counters: Readonly<Record<CounterName, number>>
  /** From the record's time to the committed row, by task, since start. */
  readonly latency: Readonly<Record<string, HistogramJson>>
  readonly memory: MemoryStatus
  readonly eventLoop: EventLoopStatus
}

export interface MemoryStatus {
  readonly rssBytes: number
  readonly heapUsedBytes: number
  readonly externalBytes: number
}

export interface EventLoopStatus {
  /** How late timers came since start. */
  readonly delayP99Ms: number
  readonly delayMaxMs: number
}

/** The status as text for a terminal. Pure. */
export function renderStatusText(status: NodeStatus): string {
  const lines = [
    `node ${status.node}  pipeline ${status.pipeline}  epoch ${status.epoch ?? '-'}  version ${status.version}`,
    status.isReady ? 'ready' : 'not ready',
    ...status.reasons.map((reason) => `  ${reason}`),
    `members ${status.members.map((member) => (member.isSelf ? `${member.node} (this)` : member.node)).join(', ') || 'none'}`,
    `memory ${mebibytes(status.memory.rssBytes)} MiB resident, ${mebibytes(status.memory.heapUsedBytes)} MiB heap;` +
      ` timers late by ${milliseconds(status.eventLoop.delayP99Ms)} at p99`,
    ...section(['partition', 'floor', 'position', 'end', 'lag', 'state'], status.partitions.map(partitionRow)),
    ...section(['queue', 'received', 'pending', 'applied'], status.queues.map(queueRow)),
    ...section(
      ['task', 'every', 'rows', 'latency p50', 'p99', 'p99.9', 'tick slip p99', 'flush p99', 'state'],
      status.tasks.map((task) => taskRow(task, status.latency[task.task])),
    ),
    ...section(
      ['channel', 'keys', 'clients', 'dropped'],
      status.channels.map((row) => [row.channel, `${row.keys}`, `${row.clients}`, `${row.dropped}`]),
    ),
    ...section(
      ['counter', 'total'],
      Object.entries(status.counters).map(([name, total]) => [name, `${total}`]),
    ),
  ]
  return `${lines.join('\n')}\n`
}

function partitionRow(row: PartitionStatus): string[] {
  return [
    `${row.partition}`,
    row.floor,
    row.position,
    row.endOffset ?? '-',
    `${row.lagEvents ?? '-'}`,
    row.haltedReason ? `halted: ${row.haltedReason}` : 'running',
  ]
}

function queueRow(row: QueueStatus): string[] {
  const applied = Object.entries(row.applied).map(([task, offset]) => `${task} ${offset}`)
  return [`${row.partition}/${row.queue}`, row.received, `${row.pendingJobs}`, applied.join(', ')]
}

function taskRow(row: TaskStatus, latency: HistogramJson | undefined): string[] {
  const histogram = latency ? Histogram.fromJSON(latency) : new Histogram()
  const state = row.blockedReason ? `blocked: ${row.blockedReason}` : row.lastError ? `last error: ${row.lastError}` : 'running'
  const latencies = [50, 99, 99.9].map((percent) => milliseconds(histogram.percentile(percent)))
  return [row.task, `${row.everyMs} ms`, `${row.rows}`, ...latencies, milliseconds(row.tickSlipP99Ms), milliseconds(row.flushP99Ms), state]
}

/** A table with columns as wide as their widest cell; nothing when there are no rows. */
function section(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return []
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const lineOf = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return ['', lineOf(head), ...rows.map(lineOf)]
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${Math.round(value * 10) / 10} ms`
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1048576)
}
