/** Gathers what `GET /status` answers from a running node. */
import { stallSentence } from '../status/stall.ts'
import type { Stall } from '../status/stall.ts'
import type { CronTaskStatus } from '../cron/cron-schedule.ts'
import { isForebayError, sentenceOf } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { EventLog, PartitionRange } from '../events/event-log.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'
import type { TaskInbox } from '../work/task-inbox.ts'
import type { Away, LedgerWatch } from './ledger-watch.ts'
import type { LetterTally } from '../dead-letters/letter-tally.ts'
import type { Membership } from './membership.ts'
import type { NodeMetrics } from '../status/metrics.ts'
import type { Node } from './node.ts'
import { RetentionWatch } from './retention-watch.ts'
import { troubleSentence } from '../status/trouble-status.ts'
import type { TroubleStatus } from '../status/trouble-status.ts'
import type { BufferStatus, ChannelStatus, InboxStatus, NodeStatus, PartitionStatus, QueueStatus, TaskStatus } from '../status/status.ts'

export interface StatusSources {
  readonly id: string
  readonly version: string
  readonly pipeline: string
  readonly epoch: number
  readonly startedAtMs: number
  readonly windowSegmentsMax: number
  readonly node: Node
  readonly membership: Membership
  readonly metrics: NodeMetrics
  readonly channels: () => readonly ChannelStatus[]
  readonly cron: () => readonly CronTaskStatus[]
  readonly ends: LogEnds
  readonly scope: string
  readonly buffers: () => BufferStatus
  readonly ledger: LedgerWatch<LedgerTransaction>
  readonly troubles: () => readonly TroubleStatus[]
  readonly stalls: () => readonly Stall[]
  readonly letters: Pick<LetterTally, 'statuses' | 'misfits'>
  readonly nowMs: number
}

const lookMs = 500
/** How soon a task that failed tries again at the latest; a blocked one does so once a second. */
const blockedRetryMs = 1000
const retryMs = 2000

interface LogEndsPorts {
  readonly log: EventLog
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log'>
}

/** The range of each owned partition, looked up on a timer so that the status needs no I/O. */
export class LogEnds {
  readonly #ranges = new Map<number, PartitionRange>()
  readonly #short = new Set<number>()
  #trouble: Away | undefined
  #retention: RetentionWatch | undefined

  range(partition: number): PartitionRange | undefined {
    return this.#ranges.get(partition)
  }

  /** Why the log does not answer, while it does not. */
  get trouble(): Away | undefined {
    return this.#trouble
  }

  /** Milliseconds until retention passes the floor, while that is near; else undefined. */
  retentionLeftMs(partition: number): number | undefined {
    return this.#retention?.leftMs(partition)
  }

  /** Whether the log last told an end below what had been processed when it was asked. */
  isShort(partition: number): boolean {
    return this.#short.has(partition)
  }

  async run({ log, clock, observer }: LogEndsPorts, owners: () => Node['owners'], signal: AbortSignal): Promise<void> {
    const retention = (this.#retention = new RetentionWatch({ log, clock, observer }))
    while (!signal.aborted) {
      let failure: unknown
      for (const [partition, { part }] of owners()) {
        // One partition without a leader says nothing about the others.
        await this.#look(log, partition, part?.floor ?? -1n).catch((error: unknown) => (failure ??= error))
      }
      if (failure === undefined) this.#trouble = undefined
      else this.#trouble = { sinceMs: this.#trouble?.sinceMs ?? clock.wallMs(), sentence: sentenceOf(failure) }
      await retention.look(floorsOf(owners()), this.#ranges).catch((error: unknown) => {
        if (!isForebayError(error)) throw error
        observer.log('debug', `how long the log keeps its events was not looked up: ${error.message}`)
      })
      await clock.sleep(lookMs, signal)
    }
  }

  async #look(log: EventLog, partition: number, floor: bigint): Promise<void> {
    const range = await log.range(partition)
    this.#ranges.set(partition, range)
    if (range.endOffset <= floor) this.#short.add(partition)
    else this.#short.delete(partition)
  }
}

function floorsOf(owners: Node['owners']): ReadonlyMap<number, bigint> {
  return new Map([...owners].flatMap(([partition, { part }]) => (part === undefined ? [] : [[partition, part.floor] as const])))
}

type OwnerEntry = Node['owners'] extends ReadonlyMap<number, infer Entry> ? Entry : never

export function gatherStatus(from: StatusSources): NodeStatus {
  const { metrics, node, membership } = from
  const partitions = [...node.owners].map(([partition, owner]) => partitionStatus(partition, owner, from))
  const tasks = node.runners.map((runner) => taskStatus(runner, metrics, from.ledger))
  const troubles = from.troubles()
  const stalls = from.stalls()
  const reasons = [
    ...partitions.flatMap(({ partition, haltedReason }) => (haltedReason === null ? [] : [`partition ${partition}: ${haltedReason}`])),
    ...node.runners.flatMap(({ lastError, options }) => (lastError === undefined ? [] : [`task ${options.task}: ${lastError}`])),
    ...(membership.trouble === undefined ? [] : [membership.trouble]),
    ...(from.ends.trouble === undefined ? [] : [from.ends.trouble.sentence]),
    ...stalls.map((stall) => stallSentence(stall, from.nowMs)),
    ...troubles.flatMap((trouble) => (trouble.standsStill ? [troubleSentence(trouble, from.nowMs)] : [])),
  ]
  return {
    node: from.id,
    version: from.version,
    pipeline: from.pipeline,
    epoch: from.epoch,
    scope: from.scope,
    pid: process.pid,
    nowMs: from.nowMs,
    startedAtMs: from.startedAtMs,
    ...metrics.activity(),
    isReady: reasons.length === 0,
    reasons,
    servers: {
      database: from.ledger.trouble ?? null,
      grid: membership.isReached ? null : { sinceMs: null, sentence: 'the grid does not answer' },
      eventLog: from.ends.trouble ?? null,
    },
    members: membership.live().map(({ id, info }) => ({ node: id, isSelf: id === from.id, http: info.http })),
    troubles,
    stalls,
    deadLetters: from.letters.statuses(),
    misfits: from.letters.misfits(),
    partitions,
    queues: queueStatuses(from),
    tasks,
    channels: from.channels(),
    cron: from.cron(),
    counters: metrics.counters(),
    latency: metrics.latency(),
    memory: metrics.memory(),
    buffers: from.buffers(),
    eventLoop: metrics.eventLoop(),
    converting: metrics.converting(),
  }
}

function partitionStatus(
  partition: number,
  { part, trouble, troubleCode }: OwnerEntry,
  { ends, windowSegmentsMax }: StatusSources,
): PartitionStatus {
  const range = ends.range(partition)
  const floor = part?.floor ?? -1n
  return {
    partition,
    floor: String(floor),
    position: String(part?.position ?? -1n),
    ...(range === undefined ? {} : { startOffset: String(range.startOffset), endOffset: String(range.endOffset) }),
    lagEvents: range === undefined ? null : Math.max(0, Number(range.endOffset - nextOffsetAfter(floor))),
    retentionLeftMs: ends.retentionLeftMs(partition) ?? null,
    haltedReason: trouble ?? null,
    haltedCode: troubleCode ?? null,
    ...(part?.careful === undefined ? {} : { careful: part.careful }),
    outboxes: (part?.outboxes ?? []).map(({ queue, sent, isIdle, windowSegments, windowBytes }) => ({
      queue,
      sent: String(sent),
      isIdle,
      windowSegments,
      windowSegmentsMax,
      windowBytes,
    })),
  }
}

function queueStatuses({ node, windowSegmentsMax }: StatusSources): QueueStatus[] {
  return node.readers.map((reader) => {
    const { partition, queue } = reader.id
    const inboxes = node.runners.flatMap(({ options: { task } }) => reader.inbox(task) ?? [])
    const outbox = node.owners.get(partition)?.part?.outboxes[queue]
    return {
      partition,
      queue,
      received: String(reader.received),
      applied: Object.fromEntries(inboxes.map(({ task, applied }) => [task, String(applied)])),
      pendingJobs: inboxes.reduce((sum, inbox) => sum + inbox.rows, 0),
      ...(outbox === undefined ? {} : { windowUsed: outbox.windowSegments / windowSegmentsMax }),
      inboxes: Object.fromEntries(inboxes.map((inbox) => [inbox.task, inboxStatus(inbox)])),
    }
  })
}

function inboxStatus(inbox: TaskInbox): InboxStatus {
  const { rows: jobs, bytes, intervals } = inbox
  const oldest = jobs === 0 ? undefined : inbox.take(1)?.sections[0]
  return {
    jobs,
    bytes,
    intervals,
    oldestMs: oldest?.timeMs(0) ?? null,
    oldestOffset: oldest === undefined ? null : String(oldest.offset(0)),
  }
}

function taskStatus(runner: Node['runners'][number], metrics: NodeMetrics, ledger: StatusSources['ledger']): TaskStatus {
  const { task, everyMs } = runner.options
  const failing = ledger.failing(task)
  const flushingSinceMs = ledger.flushingSinceMs(task)
  const waitsMs = runner.isBlocked ? blockedRetryMs : retryMs
  return {
    task,
    everyMs,
    rows: metrics.total('rows', task),
    tickSlipP99Ms: metrics.percentile('tickSlipMs', 99, task),
    flushP99Ms: metrics.percentile('flushMs', 99, task),
    lastError: runner.lastError ?? failing?.sentence ?? null,
    lastErrorCode: failing?.code ?? null,
    lastErrorState: failing?.state ?? null,
    attempts: failing?.attempts ?? 0,
    failingSinceMs: failing?.sinceMs ?? null,
    flushingSinceMs: flushingSinceMs ?? null,
    nextTryMs: failing === undefined || flushingSinceMs !== undefined ? null : failing.lastMs + waitsMs,
    blockedReason: runner.isBlocked ? (runner.lastError ?? 'refused by the database') : null,
  }
}
