/** Events as the pipeline converts them: which queue they go to, and how many jobs each task makes of them. */
import type { EventLog, EventRecord } from '../events/event-log.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import { Converter, sectionsOf } from '../ingest/converter.ts'
import type { DeadLine } from '../ingest/converter.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import type { EventFacts, EventJobs } from './facts.ts'

/** Turns events of one partition into facts. */
export class EventReader {
  readonly #converter: Converter
  readonly #pipeline: Pipeline
  readonly #tasks: readonly string[]
  readonly #partition: number

  /** `trackedTasks`: those that hold the floor. */
  constructor(options: {
    readonly pipeline: Pipeline
    readonly tasks: readonly TaskDefinition[]
    readonly trackedTasks: readonly string[]
    readonly queues: number
    readonly eventBytesMax: number
    readonly linesBytesMax: number
    readonly partition: number
  }) {
    const { pipeline, tasks, trackedTasks, queues, eventBytesMax, linesBytesMax, partition } = options
    this.#pipeline = pipeline
    this.#partition = partition
    this.#tasks = sectionsOf(tasks).map(({ task }) => task)
    this.#converter = new Converter({
      decode: (value) => pipeline.source.decode.decode(value),
      key: pipeline.key,
      tasks: tasks.map(({ name, convert }) => ({ name, isTracked: trackedTasks.includes(name), convert, encode: () => '' })),
      queues,
      eventBytesMax,
      linesBytesMax,
    })
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

  #keyOf({ key, value }: EventRecord): string | null {
    const own = key?.toString('utf8') ?? null
    if (this.#pipeline.key === undefined) return own
    try {
      return this.#pipeline.key(this.#pipeline.source.decode.decode(value ?? Buffer.alloc(0)))
    } catch {
      return own
    }
  }
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
  isWanted: (record: EventRecord) => EventFacts | null,
  { eventsMax, timeMs }: SearchLimits,
): Promise<EventFacts | null> {
  const deadlineMs = performance.now() + timeMs
  const cursor = await log.open(partition, nextOffset)
  try {
    let seen = 0
    for (let position = nextOffset; position < endOffset && seen < eventsMax && performance.now() < deadlineMs;) {
      const { events, lastOffset } = await cursor.poll(200)
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
