/**
 * What a running node judges its own standing floors by: its status and that of its fellows, the ledger and the rings. The same
 * facts as `explain` gathers from outside, but the log is not searched: what holds a floor is told by the queues.
 */
import type { Verdict } from '../status/verdict.ts'
import { sentenceOf } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { NodeStatus } from '../status/status.ts'
import { effectiveWatermark } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import { explain } from './explain.ts'
import type { EventFacts, ExplainFacts, LedgerFacts, Look, NodeFacts } from './facts.ts'
import { awayOf, foundOf } from './facts.ts'
import { readGridFacts } from './grid-facts.ts'
import type { NodeAnswer } from './node-facts.ts'

export interface OwnSources {
  readonly clock: Clock
  readonly topic: string
  readonly queues: number
  readonly grid: JobGrid
  readonly settings: Pick<NodeSettings, 'grid'>
  readonly status: () => NodeStatus
  readonly ledger: () => Promise<LedgerFacts>
  /** What the other nodes answer. */
  readonly others: () => Promise<readonly NodeAnswer[]>
}

/** How long one look may take. */
const lookMs = 2000
/** Of more partitions only the rings of these are looked at, one after the other. */
const ringsMax = 4

/** Why the floors of `partitions` stand. Never throws for what does not answer. */
export async function judgeOwn(sources: OwnSources, partitions: readonly number[]): Promise<ReadonlyMap<number, Verdict>> {
  const { clock, status } = sources
  const [ledger, others] = await Promise.all([lookWithin(clock, sources.ledger), lookWithin(clock, sources.others)])
  const moment = { status: status(), ledger, others: foundOf(others) ?? [] }
  const verdicts = new Map<number, Verdict>()
  let hasGrid = true
  for (const [at, partition] of partitions.entries()) {
    const facts = await factsOf(sources, moment, partition, hasGrid && at < ringsMax)
    // Where one look had no answer, the next one would wait as long.
    if (awayOf(facts.grid) !== undefined) hasGrid = false
    verdicts.set(partition, explain(facts))
  }
  return verdicts
}

interface Moment {
  readonly status: NodeStatus
  readonly ledger: Look<LedgerFacts>
  readonly others: readonly NodeAnswer[]
}

async function factsOf(sources: OwnSources, moment: Moment, partition: number, hasRings: boolean): Promise<ExplainFacts> {
  const { clock, topic, grid, queues, settings } = sources
  const { status, ledger, others } = moment
  const own = status.partitions.find((row) => row.partition === partition)
  const pending = pendingOf(moment, partition)
  const question = { scope: status.scope, settings, partition, queues, at: pending }
  return {
    nowMs: status.nowMs,
    pipeline: status.pipeline,
    topic,
    partition,
    asked: null,
    askedEvent: null,
    differences: [],
    ledger,
    letters: [],
    range: rangeOf(status, partition),
    pending: { found: pending },
    // Only what is on its way through the grid is looked for there.
    grid: hasRings && pending !== null && own !== undefined ? await lookWithin(clock, () => readGridFacts(grid, question)) : null,
    nodes: [factsOfNode({ url: '', status, silence: null }), ...others.map(factsOfNode)],
  }
}

function rangeOf({ partitions, servers }: NodeStatus, partition: number): ExplainFacts['range'] {
  const { startOffset, endOffset } = partitions.find((row) => row.partition === partition) ?? {}
  if (startOffset === undefined || endOffset === undefined) return { away: servers.eventLog?.sentence ?? 'the end of the log is not known' }
  return { found: { startOffset: BigInt(startOffset), endOffset: BigInt(endOffset) } }
}

/** What holds the floor: the queue that is furthest behind among those to which more was sent than is applied. Null: nothing was sent. */
function pendingOf({ status, others, ledger: look }: Moment, partition: number): EventFacts | null {
  const ledger = foundOf(look)
  const own = status.partitions.find((row) => row.partition === partition)
  if (own === undefined) return null
  const readers = [status, ...others.flatMap((answer) => answer.status ?? [])].flatMap(({ queues }) => queues)
  const progress = ledger?.partitions.get(partition)
  let lowest: { queue: number; watermark: bigint; tasks: string[] } | undefined
  for (const { queue, sent, isIdle } of own.outboxes) {
    const applied =
      progress === undefined
        ? Object.entries(readers.find((row) => row.partition === partition && row.queue === queue)?.applied ?? {})
        : [...progress.rows.keys()].map((task) => [task, String(effectiveWatermark({ partition, ...progress }, task, queue))] as const)
    const behind = applied.filter(([, watermark]) => BigInt(watermark) < BigInt(sent) || !isIdle)
    if (behind.length === 0) continue
    const watermark = behind.map(([, mark]) => BigInt(mark)).reduce((low, mark) => (mark < low ? mark : low))
    if (lowest === undefined || watermark < lowest.watermark) lowest = { queue, watermark, tasks: behind.map(([task]) => task) }
  }
  if (lowest === undefined) return null
  const jobs = lowest.tasks.map((task) => ({ task, jobs: 1, error: null }))
  return { offset: nextOffsetAfter(lowest.watermark), timestampMs: status.nowMs, key: null, queue: lowest.queue, jobs }
}

function factsOfNode({ url, status, silence }: NodeAnswer): NodeFacts {
  const { node = null, pid = null, epoch = null } = status ?? {}
  return { id: node, url, pid, status, silence, isSuspended: null, isBeating: null, epoch }
}

async function lookWithin<T>(clock: Clock, body: () => Promise<T>): Promise<Look<T>> {
  const over = new AbortController()
  const late = clock.sleep(lookMs, over.signal).then((): Look<T> => ({ away: `no answer within ${lookMs / 1000} s` }))
  const found = body().then(
    (value): Look<T> => ({ found: value }),
    (error: unknown): Look<T> => ({ away: sentenceOf(error) }),
  )
  try {
    return await Promise.race([found, late])
  } finally {
    over.abort()
  }
}
