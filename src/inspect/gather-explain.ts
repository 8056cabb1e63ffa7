/**
 * Gathers what `explain` judges by, from every server and node at once. Whatever does not answer becomes a sentence; nothing
 * here throws for a server that is away.
 */
import type { InspectedPipeline } from './facts.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import { sentenceOf } from '../errors.ts'
import type { EventLog, PartitionRange } from '../events/event-log.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { NodeSettings } from '../config/settings.ts'
import { effectiveWatermark } from '../ledger/ledger.ts'
import type { Database } from '../database/database.ts'
import { EventReader, findEvent } from './event-facts.ts'
import type { EventFacts, ExplainFacts, GridFacts, LedgerFacts, Look, PartitionLedger } from './facts.ts'
import { awayOf, foundOf } from './facts.ts'
import { readGridFacts } from './grid-facts.ts'
import { readLedgerFacts, readLetters } from './ledger-facts.ts'
import { gatherNodes, watermarksOfNodes } from './gather-nodes.ts'
import { askNodes } from './node-facts.ts'

export interface InspectPorts {
  readonly log: EventLog
  readonly database: Database
  /** Settled for the command; null: the grid is inside the node. */
  readonly grid: Promise<JobGrid> | null
}

export interface ExplainQuestion {
  readonly partition: number
  readonly offset: bigint | null
  readonly key: string | null
}

const search = { eventsMax: 20_000, timeMs: 4000 }

export async function gatherExplain(ports: InspectPorts, of: InspectedPipeline, question: ExplainQuestion): Promise<ExplainFacts> {
  const { pipeline, settings } = of
  const { partition } = question
  const [ledger, range, answers] = await Promise.all([
    look(() => readLedgerFacts(ports.database, pipeline.name)),
    look(() => ports.log.range(partition)),
    askNodes(of.urls, of.settings.node),
  ])
  const found = foundOf(ledger)
  const { nodes, scope } = await gatherNodes(ports.grid, of, found, answers)
  const fingerprint = found?.epoch?.fingerprint ?? of.fingerprint
  const progress = found?.partitions.get(partition) ?? watermarksOfNodes(nodes, partition, fingerprint)
  const events = new EventReader(pipeline, of.tasks, { ...fingerprint, tracked: fingerprint.tasks }, partition)
  const { asked, askedEvent, pending } = await readEvents(ports.log, events, question, range, progress)
  const offsets = [asked, foundOf(pending)?.offset].flatMap((offset) => offset ?? [])
  const letters = await look(() =>
    found === undefined || found.epoch === null || offsets.length === 0
      ? Promise.resolve([])
      : readLetters(ports.database, pipeline.name, partition, offsets),
  )
  const at = askedEvent ?? foundOf(pending) ?? null
  const grid = await lookAtGrid(ports.grid, { scope, settings, partition, queues: fingerprint.queues, at })
  return {
    nowMs: found?.nowMs ?? Date.now(),
    pipeline: pipeline.name,
    topic: pipeline.source.topic,
    partition,
    asked,
    askedEvent,
    differences: differencesOf(of.fingerprint, found),
    ledger,
    letters: foundOf(letters) ?? [],
    range,
    pending,
    grid,
    nodes,
  }
}

/** Runs `body`; a failure becomes the sentence that tells it. */
export async function look<T>(body: () => Promise<T>): Promise<Look<T>> {
  try {
    return { found: await body() }
  } catch (error) {
    return { away: sentenceOf(error) }
  }
}

/** How this configuration differs from the active epoch, a sentence each. */
export function differencesOf(fingerprint: Fingerprint, ledger: LedgerFacts | undefined): string[] {
  const active = ledger?.epoch?.fingerprint
  if (active === undefined) return []
  const fields = ['queues', 'hash', 'segmentBytesMax', 'eventBytesMax', 'version'] as const
  const differences = fields
    .filter((field) => active[field] !== fingerprint[field])
    .map((field) => `${field}: the active epoch has ${active[field]}, this configuration ${fingerprint[field]}`)
  if (active.tasks.join() !== fingerprint.tasks.join())
    differences.push(`tasks: the active epoch has ${active.tasks.join(', ')}, this configuration ${fingerprint.tasks.join(', ')}`)
  return differences
}

interface EventsRead {
  readonly asked: bigint | null
  readonly askedEvent: EventFacts | null
  readonly pending: Look<EventFacts | null>
}

/** The event asked about, and the first one above the floor with a job that is not applied. A key stands for its first such event. */
async function readEvents(
  log: EventLog,
  events: EventReader,
  { partition, offset, key }: ExplainQuestion,
  range: Look<PartitionRange>,
  progress: PartitionLedger | undefined,
): Promise<EventsRead> {
  const bounds = foundOf(range)
  if (bounds === undefined) return { asked: offset, askedEvent: null, pending: { away: awayOf(range) ?? 'the event log was not read' } }
  const { startOffset, endOffset } = bounds
  const view = progress === undefined ? undefined : { partition, ...progress }
  const isPending = ({ offset: at, queue, jobs }: EventFacts) =>
    view === undefined || jobs.some(({ task }) => view.rows.has(task) && effectiveWatermark(view, task, queue) < at)
  const from = maxOf(startOffset, nextOffsetAfter(progress?.floor ?? startOffset - 1n))
  const find = (isWanted: (facts: EventFacts) => boolean) =>
    findEvent(
      log,
      partition,
      from,
      endOffset,
      { prepare: (records) => events.prepare(records), isWanted: (record) => firstIf(events.facts(record), isWanted) },
      search,
    )
  const pending = await look(() => find(isPending))
  if (offset !== null) {
    const isThere = offset >= startOffset && offset < endOffset
    const asked = async () => {
      const record = await log.eventAt(partition, offset)
      if (record === undefined) return null
      await events.prepare([record])
      return events.facts(record)
    }
    const askedEvent = isThere ? (foundOf(await look(asked)) ?? null) : null
    return { asked: offset, askedEvent, pending }
  }
  if (key === null) return { asked: null, askedEvent: null, pending }
  const ofKey = foundOf(await look(() => find((facts) => facts.key === key && isPending(facts)))) ?? null
  return { asked: ofKey?.offset ?? null, askedEvent: ofKey, pending }
}

function firstIf(facts: EventFacts, isWanted: (facts: EventFacts) => boolean): EventFacts | null {
  return isWanted(facts) ? facts : null
}

function maxOf(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

async function lookAtGrid(
  grid: Promise<JobGrid> | null,
  at: { scope: string | undefined; settings: NodeSettings; partition: number; queues: number; at: EventFacts | null },
): Promise<Look<GridFacts> | null> {
  if (grid === null) return null
  return look(async () => readGridFacts(await grid, at))
}
