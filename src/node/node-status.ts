/** Gathers what `GET /status` answers from a running node. */
import { sentenceOf } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Clock } from '../schedule/clock.ts'
import type { Membership } from './membership.ts'
import type { NodeMetrics } from './metrics.ts'
import type { Node } from './node.ts'
import type { ChannelStatus, NodeStatus, PartitionStatus, QueueStatus, TaskStatus } from './status.ts'

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
  readonly ends: LogEnds
}

const lookMs = 500

/** The end of each owned partition, looked up on a timer so that the status needs no I/O. */
export class LogEnds {
  readonly #ends = new Map<number, bigint>()
  #trouble: string | undefined

  end(partition: number): bigint | undefined {
    return this.#ends.get(partition)
  }

  /** Why the log does not answer, while it does not. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  async run(log: EventLog, partitions: () => Iterable<number>, clock: Clock, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for (const partition of partitions()) this.#ends.set(partition, (await log.range(partition)).endOffset)
        this.#trouble = undefined
      } catch (error) {
        this.#trouble = sentenceOf(error)
      }
      await clock.sleep(lookMs, signal)
    }
  }
}

export function gatherStatus(from: StatusSources): NodeStatus {
  const { metrics, node, membership } = from
  const partitions = [...node.owners].map(([partition, owner]) => partitionStatus(partition, owner, from.ends))
  const tasks = node.runners.map((runner) => taskStatus(runner, metrics))
  const reasons = [
    ...partitions.flatMap(({ partition, haltedReason }) => (haltedReason === null ? [] : [`partition ${partition}: ${haltedReason}`])),
    ...node.runners.flatMap(({ lastError, options }) => (lastError === undefined ? [] : [`task ${options.task}: ${lastError}`])),
    ...(membership.isReached ? [] : ['the grid does not answer']),
    ...(from.ends.trouble === undefined ? [] : [from.ends.trouble]),
  ]
  return {
    node: from.id,
    version: from.version,
    pipeline: from.pipeline,
    epoch: from.epoch,
    startedAtMs: from.startedAtMs,
    ...metrics.activity(),
    isReady: reasons.length === 0,
    reasons,
    members: membership.live().map(({ id }) => ({ node: id, isSelf: id === from.id })),
    partitions,
    queues: queueStatuses(from),
    tasks,
    channels: from.channels(),
    counters: metrics.counters(),
    latency: metrics.latency(),
    memory: metrics.memory(),
    eventLoop: metrics.eventLoop(),
  }
}

function partitionStatus(
  partition: number,
  owner: { part: { floor: bigint; position: bigint } | undefined; trouble: string | undefined },
  ends: LogEnds,
): PartitionStatus {
  const end = ends.end(partition)
  const floor = owner.part?.floor ?? -1n
  return {
    partition,
    floor: String(floor),
    position: String(owner.part?.position ?? -1n),
    ...(end === undefined ? {} : { endOffset: String(end) }),
    lagEvents: end === undefined ? null : Math.max(0, Number(end - nextOffsetAfter(floor))),
    haltedReason: owner.trouble ?? null,
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
    }
  })
}

function taskStatus(runner: Node['runners'][number], metrics: NodeMetrics): TaskStatus {
  const { task, everyMs } = runner.options
  return {
    task,
    everyMs,
    rows: metrics.total('rows', task),
    tickSlipP99Ms: metrics.percentile('tickSlipMs', 99, task),
    flushP99Ms: metrics.percentile('flushMs', 99, task),
    lastError: runner.lastError ?? null,
    blockedReason: runner.isBlocked ? (runner.lastError ?? 'refused by the database') : null,
  }
}
