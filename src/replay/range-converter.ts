/**
 * Events to lines of jobs, task by task, exactly as a node converts them; with a filter by event key. Pure.
 */
import { assert } from '../assert.ts'
import type { ConvertedEvent, Converter } from '../ingest/converter.ts'
import type { EventRecord } from '../events/event-log.ts'
import { JobLines } from '../grid/segment.ts'

/** The jobs of one task among some events of one partition, in order. */
interface TaskJobs {
  readonly offsets: bigint[]
  readonly timesMs: number[]
  /** Queue of each job's event. */
  readonly queues: number[]
  readonly texts: string[]
}

export interface ConvertedRange {
  readonly partition: number
  /** Offsets of the events that were converted: all, or those of the key. */
  readonly offsets: readonly bigint[]
  readonly bytes: number
  /** Events and jobs that cannot be decoded, keyed or converted. */
  readonly letters: number
  readonly jobs: ReadonlyMap<string, TaskJobs>
}

export interface KeyFilter {
  readonly key: string
  /** The key of an event as the pipeline takes it; throws when there is none. */
  keyOf(record: EventRecord, partition: number): string
}

/** `tasks` in the order of the converter's. Throws what `Converter.prepare` throws. */
export async function convertRange(
  converter: Converter,
  tasks: readonly string[],
  { partition, events, filter }: { partition: number; events: readonly EventRecord[]; filter: KeyFilter | undefined },
): Promise<ConvertedRange> {
  const preparing = converter.prepare(events)
  if (preparing !== undefined) await preparing
  const jobs = new Map<string, TaskJobs>(tasks.map((task) => [task, { offsets: [], timesMs: [], queues: [], texts: [] }]))
  const offsets: bigint[] = []
  let bytes = 0
  let letters = 0
  for (const record of events) {
    if (filter !== undefined && !isOfKey(record, partition, filter)) continue
    offsets.push(record.offset)
    bytes += record.value?.length ?? 0
    letters += addJobs(jobs, tasks, record, converter.convert(record, partition))
  }
  return { partition, offsets, bytes, letters, jobs }
}

/** Sections of a converted event alternate: the jobs of a task, then its dead letters. */
function addJobs(jobs: ReadonlyMap<string, TaskJobs>, tasks: readonly string[], record: EventRecord, event: ConvertedEvent): number {
  let letters = 0
  for (const { section, text } of event.lines) {
    if (section % 2 === 1) {
      letters++
      continue
    }
    const of = jobs.get(tasks[section >> 1]!)!
    of.offsets.push(record.offset)
    of.timesMs.push(record.timestampMs)
    of.queues.push(event.queue)
    of.texts.push(text)
  }
  return letters
}

/** An event without a readable key belongs to none. */
function isOfKey(record: EventRecord, partition: number, { key, keyOf }: KeyFilter): boolean {
  try {
    return keyOf(record, partition) === key
  } catch {
    return false
  }
}

/** The jobs as a sink takes them; `texts` may stand in for the lines of the jobs. */
export function jobLinesOf(task: string, partition: number, { offsets, timesMs, texts }: Omit<TaskJobs, 'queues'>): JobLines {
  const base = { offset: offsets[0] ?? 0n, timeMs: timesMs.reduce((a, b) => Math.min(a, b), Infinity) }
  const bytes = Buffer.from(texts.length === 0 ? '' : `${texts.join('\n')}\n`)
  assert((offsets.at(-1) ?? base.offset) - base.offset < 2n ** 32n, 'offsets of one section lie within 32 bits of its first')
  const deltas = Uint32Array.from(offsets, (offset) => Number(offset - base.offset))
  const deltasMs = Float64Array.from(timesMs, (timeMs) => timeMs - base.timeMs)
  return new JobLines({ task, kind: 'job', partition, queue: 0 }, bytes, base, deltas, deltasMs)
}

/** Ordinal of each job among the jobs of its event. */
export function ordinalsOf(offsets: readonly bigint[]): number[] {
  const ordinals: number[] = []
  offsets.forEach((offset, i) => ordinals.push(i > 0 && offsets[i - 1] === offset ? ordinals[i - 1]! + 1 : 0))
  return ordinals
}
