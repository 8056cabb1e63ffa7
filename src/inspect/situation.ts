/**
 * The facts about one offset put in relation: which job waits, in which queue, who owns and who reads it. Pure; the verdicts
 * judge by it.
 */
import { nextOffsetAfter } from '../events/event-log.ts'
import type { NodeStatus, OutboxStatus, PartitionStatus, QueueStatus, TaskStatus } from '../status/status.ts'
import { effectiveWatermark } from '../ledger/ledger.ts'
import { own } from '../own.ts'
import type { EventFacts, ExplainFacts, LedgerFacts, NodeFacts, SegmentFacts } from './facts.ts'
import { foundOf } from './facts.ts'

export interface Situation {
  readonly facts: ExplainFacts
  readonly ledger: LedgerFacts | undefined
  /** The offset in question; undefined when nothing is known of any. */
  readonly offset: bigint | undefined
  readonly event: EventFacts | undefined
  readonly floor: bigint | undefined
  /** Tasks with a job of the event above their watermark; the one furthest behind first. */
  readonly waiting: readonly string[]
  readonly task: string | undefined
  readonly queue: number | undefined
  readonly segment: SegmentFacts | undefined
  readonly isFlagged: boolean
  readonly owner: NodeStatus | undefined
  readonly partition: PartitionStatus | undefined
  readonly outbox: OutboxStatus | undefined
  readonly reader: NodeStatus | undefined
  readonly readQueue: QueueStatus | undefined
  readonly taskStatus: TaskStatus | undefined
  /** Nodes that should answer and do not. */
  readonly silent: readonly NodeFacts[]
  /** Nodes that answer and work in the active epoch, as far as that is known. */
  readonly working: readonly NodeStatus[]
}

/** The situation of the asked offset, else of what holds the floor. */
export function situationOf(facts: ExplainFacts): Situation {
  const event = facts.asked === null ? (foundOf(facts.pending) ?? undefined) : (facts.askedEvent ?? undefined)
  const floor = floorOf(facts)
  const offset = facts.asked ?? event?.offset ?? (floor === undefined ? undefined : nextOffsetAfter(floor))
  return relate(facts, offset, event)
}

/** The situation of what holds the floor, for an offset that waits behind it. */
export function blockingSituation(facts: ExplainFacts): Situation | undefined {
  const pending = foundOf(facts.pending) ?? undefined
  return pending === undefined ? undefined : relate(facts, pending.offset, pending)
}

/** The situation of queue `queue` of the partition: its oldest job at the reader that knows it. */
export function queueSituation(facts: ExplainFacts, queue: number): Situation {
  const base = relate(facts, undefined, undefined)
  const found = queueAt(facts, base.working, queue)
  const behind = Object.entries(found.readQueue?.applied ?? {}).toSorted(([, a], [, b]) => (BigInt(a) < BigInt(b) ? -1 : 1))[0]?.[0]
  return { ...base, ...found, queue, task: behind, taskStatus: statusOf(found.reader, behind), outbox: base.partition?.outboxes[queue] }
}

function relate(facts: ExplainFacts, offset: bigint | undefined, event: EventFacts | undefined): Situation {
  const ledger = foundOf(facts.ledger)
  const silent = facts.nodes.filter(({ status }) => status === null)
  const working = workingNodes(facts, ledger)
  const owner = working.find(({ partitions }) => partitions.some(({ partition }) => partition === facts.partition))
  const partition = owner?.partitions.find((row) => row.partition === facts.partition)
  const queue = event?.queue
  const { reader, readQueue } = queue === undefined ? { reader: undefined, readQueue: undefined } : queueAt(facts, working, queue)
  const waiting = event === undefined ? [] : waitingTasks(facts, ledger, event, readQueue)
  const [task] = waiting
  const ring = foundOf(facts.grid)?.rings.find((row) => row.queue === queue)
  return {
    facts,
    ledger,
    offset: offset ?? event?.offset,
    event,
    floor: floorOf(facts),
    waiting,
    task,
    queue,
    segment: ring?.holding ?? undefined,
    isFlagged: queue !== undefined && foundOf(facts.grid)?.flags.has(`p${facts.partition}.q${queue}`) === true,
    owner,
    partition,
    outbox: queue === undefined ? undefined : partition?.outboxes.find((row) => row.queue === queue),
    reader,
    readQueue,
    taskStatus: statusOf(reader, task),
    silent,
    working,
  }
}

/** Nodes that answer, without those that wait for an epoch or are in a closed one. */
function workingNodes(facts: ExplainFacts, ledger: LedgerFacts | undefined): NodeStatus[] {
  const active = ledger?.epoch?.epoch
  const answering = facts.nodes.flatMap(({ status }) => (status?.pipeline === facts.pipeline ? [status] : []))
  return answering.filter(({ epoch }) => epoch !== null && (active === undefined || epoch === active))
}

function queueAt(facts: ExplainFacts, working: readonly NodeStatus[], queue: number) {
  const isAsked = (row: QueueStatus) => row.partition === facts.partition && row.queue === queue
  const reader = working.find(({ queues }) => queues.some(isAsked))
  return { reader, readQueue: reader?.queues.find(isAsked) }
}

function statusOf(reader: NodeStatus | undefined, task: string | undefined): TaskStatus | undefined {
  return reader?.tasks.find((row) => row.task === task)
}

function floorOf({ ledger, partition, nodes }: ExplainFacts): bigint | undefined {
  const own = foundOf(ledger)?.partitions.get(partition)?.floor
  if (own !== undefined) return own
  const told = nodes.flatMap(({ status }) => status?.partitions.filter((row) => row.partition === partition && row.floor !== '-1') ?? [])
  return told
    .map(({ floor }) => BigInt(floor))
    .reduce<bigint | undefined>((top, next) => (top === undefined || next > top ? next : top), undefined)
}

/** Tracked tasks whose watermark lies below the event and that have jobs of it, the furthest behind first. */
function waitingTasks(
  facts: ExplainFacts,
  ledger: LedgerFacts | undefined,
  { offset, queue, jobs }: EventFacts,
  readQueue: QueueStatus | undefined,
): string[] {
  const progress = ledger?.partitions.get(facts.partition)
  const view = progress === undefined ? undefined : { partition: facts.partition, ...progress }
  const watermarkOf = (task: string): bigint | undefined => {
    if (view !== undefined) return view.rows.has(task) ? effectiveWatermark(view, task, queue) : undefined
    const told = readQueue && own(readQueue.applied, task)
    return told === undefined ? undefined : BigInt(told)
  }
  const behind = jobs.flatMap(({ task }) => {
    const watermark = watermarkOf(task)
    return watermark === undefined || watermark >= offset ? [] : [{ task, watermark }]
  })
  return behind.toSorted((a, b) => (a.watermark < b.watermark ? -1 : 1)).map(({ task }) => task)
}
