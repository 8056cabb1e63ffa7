/**
 * What `GET /status` of a node tells. Offsets are decimal strings, since JSON numbers end at 2^53.
 */
import type { Stall } from './stall.ts'
import type { ErrorCode } from '../errors.ts'
import type { CronTaskStatus } from '../cron/cron-schedule.ts'
import { cronCells, cronHead } from '../cron/cron-text.ts'
import type { CounterName } from '../observer.ts'
import { own } from '../own.ts'
import { Histogram, type HistogramJson } from './histogram.ts'
import { lettersText } from '../dead-letters/letter-tally.ts'
import type { LetterStatus } from '../dead-letters/letter-tally.ts'
import { troubleSentence } from './trouble-status.ts'
import type { TroubleStatus } from './trouble-status.ts'
import { tableText } from '../text/table-text.ts'

export interface MemberStatus {
  readonly node: string
  readonly isSelf: boolean
  /** Where it serves its pages; null when it does not say. */
  readonly http: string | null
}

/** Why a server does not answer, and since when (wall clock). */
export interface ServerTrouble {
  readonly sinceMs: number | null
  readonly sentence: string
}

/** Null: it answers. */
export interface ServersStatus {
  readonly database: ServerTrouble | null
  readonly grid: ServerTrouble | null
  readonly eventLog: ServerTrouble | null
}

/** What the owner of a partition has sent into one of its queues. */
export interface OutboxStatus {
  readonly queue: number
  /** Every job up to here is in an acknowledged segment, or applied. */
  readonly sent: string
  /** Nothing buffered and no append unacknowledged. */
  readonly isIdle: boolean
  readonly windowSegments: number
  readonly windowSegmentsMax: number
  readonly windowBytes: number
}

/** What one task of a queue still has to flush, at its reader. */
export interface InboxStatus {
  readonly jobs: number
  readonly bytes: number
  /** Parts of segments that wait, those without a job for the task too. */
  readonly intervals: number
  /** Record time of the oldest job that waits; null when none does. */
  readonly oldestMs: number | null
  readonly oldestOffset: string | null
}

/** A source partition that this node reads. */
export interface PartitionStatus {
  readonly partition: number
  /** Every job at or below it is applied or dead-lettered. */
  readonly floor: string
  /** The last offset read. */
  readonly position: string
  /** The first offset the log still has; left out while unknown. */
  readonly startOffset?: string
  /** The offset the next event of the log will get; left out while unknown. */
  readonly endOffset?: string
  /** Events in the log above the floor; null while `endOffset` is unknown. */
  readonly lagEvents: number | null
  /** Time left at the present rate until retention passes the floor, while that is near enough to warn; else null. */
  readonly retentionLeftMs: number | null
  /** Why reading stands still, else null. */
  readonly haltedReason: string | null
  /** The code of that error, else null. */
  readonly haltedCode: ErrorCode | null
  /** Set while events are looked for that end their process: what is done about them. */
  readonly careful?: string
  /** Empty until the owner has read the watermarks. */
  readonly outboxes: readonly OutboxStatus[]
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
  /** By task; empty until the reader has read the watermarks. */
  readonly inboxes: Readonly<Record<string, InboxStatus>>
}

export interface TaskStatus {
  readonly task: string
  readonly everyMs: number
  readonly rows: number
  /** Null before the first tick or flush. */
  readonly tickSlipP99Ms: number | null
  readonly flushP99Ms: number | null
  readonly lastError: string | null
  readonly lastErrorCode: ErrorCode | null
  /** What the server calls it, such as the SQLSTATE `42P01`. */
  readonly lastErrorState: string | null
  /** Failures in a row, and since when (wall clock); 0 and null while flushes succeed. */
  readonly attempts: number
  readonly failingSinceMs: number | null
  /** When the flush under way began (wall clock); null when none is. */
  readonly flushingSinceMs: number | null
  /** When it is tried again at the latest (wall clock); null while it does not wait after a failure. */
  readonly nextTryMs: number | null
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
  /** Deployment, pipeline, topic and epoch: part of the names of rings and maps. */
  readonly scope: string
  readonly pid: number
  /** Wall clock of this answer, by the node's own machine. */
  readonly nowMs: number
  readonly startedAtMs: number
  /** Wall clock of the first event polled since start; null before. */
  readonly firstEventAtMs: number | null
  /** Wall clock of the last flush committed since start; null before. */
  readonly lastRowAtMs: number | null
  /** Owned partitions run, ledger and grid answer. */
  readonly isReady: boolean
  /** Why not, one sentence each; empty when ready. */
  readonly reasons: readonly string[]
  readonly servers: ServersStatus
  /** What has not got through for five seconds or more, the oldest first. */
  readonly troubles: readonly TroubleStatus[]
  /** Partitions whose floor stands although the log holds more. */
  readonly stalls: readonly Stall[]
  /** Dead letters that this node wrote since it started, of whole events and by task. */
  readonly deadLetters: readonly LetterStatus[]
  /** What says that no event at all fits, while none does. */
  readonly misfits: readonly string[]
  /** Live nodes as this one sees them. */
  readonly members: readonly MemberStatus[]
  readonly partitions: readonly PartitionStatus[]
  readonly queues: readonly QueueStatus[]
  readonly tasks: readonly TaskStatus[]
  readonly channels: readonly ChannelStatus[]
  readonly cron: readonly CronTaskStatus[]
  /** Sums over all labels since start. */
  readonly counters: Readonly<Record<CounterName, number>>
  /** From the record's time to the committed row, by task, since start. */
  readonly latency: Readonly<Record<string, HistogramJson>>
  readonly memory: MemoryStatus
  /** Left out while the node owns nothing. */
  readonly buffers?: BufferStatus
  readonly eventLoop: EventLoopStatus
  readonly converting: ConvertingStatus
}

export interface MemoryStatus {
  readonly rssBytes: number
  readonly heapUsedBytes: number
  readonly externalBytes: number
}

/** Events on their way through the node. */
export interface BufferStatus {
  /** Fetched from the event log, not yet converted. */
  readonly fetchedBytes: number
  /** Converted, not yet in the grid. */
  readonly unsentBytes: number
  /** Read from the grid, not yet flushed by every task. */
  readonly unflushedBytes: number
  /** Their sum. */
  readonly bytes: number
  /** What a node that owns everything holds at worst, computed at start. */
  readonly bytesMax: number
}

/** What the pipeline's own functions take. */
export interface ConvertingStatus {
  /** Of the last ten seconds, 0 to 1. */
  readonly share: number
  /** For up to 512 events; null before the first. */
  readonly sliceP99Ms: number | null
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
    ...status.troubles.flatMap((trouble) => (trouble.standsStill ? [] : [`  ${troubleSentence(trouble, status.nowMs)}`])),
    ...status.misfits.map((misfit) => `  ${misfit}`),
    ...(status.deadLetters.length === 0 ? [] : [`dead letters since start: ${lettersText(status.deadLetters)}`]),
    `members ${status.members.map((member) => (member.isSelf ? `${member.node} (this)` : member.node)).join(', ') || 'none'}`,
    `memory ${mebibytes(status.memory.rssBytes)} MiB resident, ${mebibytes(status.memory.heapUsedBytes)} MiB heap${buffersText(status.buffers)};` +
      ` timers late by ${milliseconds(status.eventLoop.delayP99Ms)} at p99`,
    ...tableText(['partition', 'floor', 'position', 'end', 'lag', 'state'], status.partitions.map(partitionRow)),
    ...tableText(['queue', 'received', 'pending', 'applied'], status.queues.map(queueRow)),
    ...tableText(
      ['task', 'every', 'rows', 'latency p50', 'p99', 'p99.9', 'tick slip p99', 'flush p99', 'state'],
      status.tasks.map((task) => taskRow(task, own(status.latency, task.task))),
    ),
    ...tableText(
      ['channel', 'keys', 'clients', 'dropped'],
      status.channels.map((row) => [row.channel, `${row.keys}`, `${row.clients}`, `${row.dropped}`]),
    ),
    ...tableText(cronHead, status.cron.map(cronCells)),
    ...tableText(
      ['counter', 'total'],
      Object.entries(status.counters).map(([name, total]) => [name, `${total}`]),
    ),
  ]
  return `${lines.join('\n')}\n`
}

function buffersText(buffers: BufferStatus | undefined): string {
  return buffers === undefined ? '' : `, ${mebibytes(buffers.bytes)} of at most ${mebibytes(buffers.bytesMax)} MiB in buffers`
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

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${Math.round(value * 10) / 10} ms`
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 1048576)
}
