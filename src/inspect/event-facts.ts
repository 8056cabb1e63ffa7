/** Events as the pipeline converts them: which queue they go to, and how many jobs each task makes of them. */
import type { EventLog, EventRecord } from '../events/event-log.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import { eventKey, sectionsOf } from '../ingest/converter.ts'
import type { Converter, DeadLine } from '../ingest/converter.ts'
import { shownKey } from '../ingest/event-position.ts'
import { converterOf } from '../ingest/converter-of.ts'
import type { ConvertingLimits } from '../ingest/converter-of.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import type { EventFacts, EventJobs } from './facts.ts'

/** Turns events of one partition into facts. */
export class EventReader {
  readonly #converter: Converter
  readonly #pipeline: Pipeline
  readonly #tasks: readonly string[]
  readonly #partition: number

  /** `limits`: those of the epoch the events are converted in. */
  constructor(pipeline: Pipeline, tasks: readonly TaskDefinition[], limits: ConvertingLimits, partition: number) {
    this.#pipeline = pipeline
    this.#partition = partition
    this.#tasks = sectionsOf(tasks).map(({ task }) => task)
    this.#converter = converterOf(pipeline, tasks, limits)
  }

  /** Once for events that `facts` is then asked for. Throws what `Converter.prepare` throws. */
  async prepare(records: readonly EventRecord[]): Promise<void> {
    await this.#converter.prepare(records)
  }

  facts(record: EventRecord): EventFacts {
    const { queue, lines } = this.#converter.convert(record, this.#partition)
    const jobs = new Map<string, EventJobs>()
    for (const { section, text } of lines) {
      const isDead = section % 2 === 1
      const task = this.#tasks[section]!
      const before = jobs.get(task)
      const error = isDead ? (JSON.parse(text) as DeadLine).error : (before?.error ?? null)
      jobs.set(task, { task, jobs: (before?.jobs ?? 0) + (isDead ? 0 : 1), error })
    }
    return { offset: record.offset, timestampMs: record.timestampMs, key: this.#keyOf(record), queue, jobs: [...jobs.values()] }
  }

  /** Of an event that has no key as the pipeline takes it, the record's own. */
  #keyOf(record: EventRecord): string | null {
    if (this.#pipeline.key === undefined) return shownKey(record.key)
    try {
      return eventKey(this.#pipeline, record, this.#partition)
    } catch {
      return shownKey(record.key)
    }
  }
}

interface EventSearch {
  readonly prepare: (records: readonly EventRecord[]) => Promise<void>
  readonly isWanted: (record: EventRecord) => EventFacts | null
}

/** How far a search through the log goes before it gives up. */
export interface SearchLimits {
  readonly eventsMax: number
  readonly timeMs: number
}

/** The first event from `nextOffset` on that `isWanted`, or null when there is none before the end or the limits. Throws what the log throws. */
export async function findEvent(
  log: EventLog,
  partition: number,
  nextOffset: bigint,
  endOffset: bigint,
  { prepare, isWanted }: EventSearch,
  { eventsMax, timeMs }: SearchLimits,
): Promise<EventFacts | null> {
  const deadlineMs = performance.now() + timeMs
  const cursor = await log.open(partition, nextOffset)
  try {
    let seen = 0
    for (let position = nextOffset; position < endOffset && seen < eventsMax && performance.now() < deadlineMs;) {
      const { events, lastOffset } = await cursor.poll(200)
      await prepare(events)
      for (const record of events) {
        const found = isWanted(record)
        if (found !== null) return found
        if (++seen >= eventsMax) return null
      }
      position = nextOffsetAfter(lastOffset)
    }
    return null
  } finally {
    await cursor.close()
  }
}
