/**
 * Measures the topic itself, through cursors of its own and without committing anything: how many events came in the last minute that had
 * any, how they come in bursts, how long a record takes to arrive here, and what jobs the pipeline makes of them.
 */
import { ForebayError } from '../errors.ts'
import type { EventLog, EventRecord } from '../events/event-log.ts'
import type { Converter } from '../ingest/converter.ts'
import type { Clock } from '../schedule/clock.ts'
import { burstOf, countsPerSecond } from './event-rate.ts'
import type { EventMeasurement } from './measurements.ts'
import { processorMs } from './processor.ts'
import { Quantiles } from './quantiles.ts'
import { goOn } from './tune-step.ts'
import type { StepOptions } from './tune-step.ts'

/** Jobs of one task as lines, with the places of their events. */
export interface JobSample {
  readonly texts: string[]
  readonly offsets: bigint[]
  readonly timesMs: number[]
}

export interface EventSample {
  readonly measurement: EventMeasurement
  /** By task, in the order of the converter. */
  readonly jobs: ReadonlyMap<string, JobSample>
  /** The newest events by partition, those that were looked at. */
  readonly records: ReadonlyMap<number, readonly EventRecord[]>
  readonly eventLinesBytesMax: number
  /** Something was published while this looked. */
  readonly isLive: boolean
}

const partitionsMax = 16
const tailEvents = 20_000
const tailBytesMax = 8 * 1024 * 1024
const windowMs = 60_000
const windowSteps = 12
const pollMs = 100
const tailPollsMax = 200
const sliceEventsMax = 512
/** Fewer tell no bursts. */
const burstEventsLeast = 100

interface Followed {
  readonly timesMs: number[]
  readonly fetchMs: number[]
  batches: number
}

/** Throws FB_USAGE when the topic holds no events, FB_TOPIC_MISSING, FB_EVENT_LOG_UNREACHABLE. */
export async function measureEvents(
  { log, clock, converter }: { readonly log: EventLog; readonly clock: Clock; readonly converter: Converter },
  { tasks, topic, lingerMs, perSecond }: { tasks: readonly string[]; topic: string; lingerMs: number; perSecond: number | undefined },
  options: StepOptions,
): Promise<EventSample> {
  const { partitions } = await log.identity()
  const chosen = Array.from({ length: Math.min(partitions, partitionsMax) }, (_, i) =>
    Math.floor((i * partitions) / Math.min(partitions, partitionsMax)),
  )
  const scale = partitions / chosen.length
  const records = new Map<number, EventRecord[]>()
  for (const [i, partition] of chosen.entries()) {
    records.set(
      partition,
      await tailOf(log, partition, { eventsMax: Math.ceil(tailEvents / chosen.length), bytesMax: tailBytesMax / chosen.length }, options),
    )
    options.onStep('events', (0.3 * (i + 1)) / chosen.length)
  }
  const all = [...records.values()].flat()
  if (all.length === 0)
    throw new ForebayError(
      'FB_USAGE',
      `topic ${topic} holds no events, so there is nothing to measure jobs by; publish some events like the real ones and run tune again`,
    )
  const counts = await countWindow(log, chosen, newestMs(all))
  const followed = await follow(log, chosen, clock, options)
  const isLive = followed.timesMs.length > 0
  const seconds = countsPerSecond(followed.timesMs)
  const followedPerSecond = (followed.timesMs.length * 1000) / followMsOf(options)
  // A minute that is not over yet for a topic that is younger says less than what comes now.
  const mean = Math.max(counts.perSecond, followedPerSecond) * scale
  const peak = Math.max(mean, counts.peakPerSecond * scale, ...seconds.map((count) => count * scale))
  const planned = perSecond ?? mean
  const sliceEvents = Math.max(1, Math.min(sliceEventsMax, Math.round((planned / partitions / 1000) * Math.max(1, lingerMs))))
  const converted = await convertSample(converter, tasks, records, sliceEvents, clock, options)
  return {
    measurement: {
      partitions,
      perSecond: planned,
      peakPerSecond: mean === 0 ? planned : (planned * peak) / mean,
      burst: burstOf(
        followed.timesMs.length >= burstEventsLeast
          ? [followed.timesMs]
          : [...records.values()].map((some) => some.map(({ timestampMs }) => timestampMs)),
      ),
      fetchMs: isLive ? new Quantiles(followed.fetchMs) : null,
      batchesPerSecond: isLive ? (followed.batches * 1000) / followMsOf(options) / chosen.length : null,
      bytesPerEvent: all.reduce((sum, { value }) => sum + (value?.length ?? 0), 0) / all.length,
      lineBytesPerEvent: Math.max(1, converted.lineBytes / all.length),
      convertMsPerEvent: converted.ms / all.length,
      sampled: all.length,
    },
    jobs: converted.jobs,
    records,
    eventLinesBytesMax: converted.eventLinesBytesMax,
    isLive,
  }
}

function followMsOf({ budgetMs }: StepOptions): number {
  return budgetMs * 0.6
}

async function tailOf(
  log: EventLog,
  partition: number,
  { eventsMax, bytesMax }: { eventsMax: number; bytesMax: number },
  { signal }: StepOptions,
): Promise<EventRecord[]> {
  const { startOffset, endOffset } = await log.range(partition)
  const from = endOffset - BigInt(eventsMax)
  const first = from > startOffset ? from : startOffset
  if (first >= endOffset) return []
  const found: EventRecord[] = []
  const cursor = await log.open(partition, first)
  try {
    for (let polls = 0, bytes = 0; polls < tailPollsMax && bytes < bytesMax && found.length < eventsMax; polls++) {
      goOn(signal)
      const { events, lastOffset } = await cursor.poll(pollMs)
      for (const event of events) {
        // A clean copy: a record keeps the whole fetch it came with.
        if (found.length < eventsMax && bytes < bytesMax) found.push(ownCopy(event))
        bytes += event.value?.length ?? 0
      }
      if (lastOffset >= endOffset - 1n) break
    }
  } finally {
    await cursor.close()
  }
  return found
}

function ownCopy({ offset, timestampMs, key, value }: EventRecord): EventRecord {
  return { offset, timestampMs, key: key === null ? null : Buffer.from(key), value: value === null ? null : Buffer.from(value) }
}

function newestMs(events: readonly EventRecord[]): number {
  return events.reduce((newest, { timestampMs }) => Math.max(newest, timestampMs), 0)
}

/** Events of the minute before `untilMs` by the log's own index of times. */
async function countWindow(
  log: EventLog,
  partitions: readonly number[],
  untilMs: number,
): Promise<{ perSecond: number; peakPerSecond: number }> {
  const stepMs = windowMs / windowSteps
  const counts = new Array<number>(windowSteps).fill(0)
  for (const partition of partitions) {
    const { startOffset, endOffset } = await log.range(partition)
    const places: bigint[] = []
    for (let step = 0; step < windowSteps; step++) {
      const at = await log.offsetAt(partition, untilMs - windowMs + step * stepMs)
      places.push(at < startOffset ? startOffset : at)
    }
    const end = await log.offsetAt(partition, untilMs + 1)
    places.push(end > endOffset ? endOffset : end)
    for (let step = 0; step < windowSteps; step++) counts[step]! += Math.max(0, Number(places[step + 1]! - places[step]!))
  }
  // Steps before the first event are no quiet time: the topic had not begun, or its retention has taken them.
  const first = Math.max(
    0,
    counts.findIndex((count) => count > 0),
  )
  const told = counts.slice(first)
  const whole = told.length > 1 ? told.slice(1) : told
  return {
    perSecond: (whole.reduce((sum, count) => sum + count, 0) * 1000) / (whole.length * stepMs),
    peakPerSecond: (Math.max(...told) * 1000) / stepMs,
  }
}

async function follow(log: EventLog, partitions: readonly number[], clock: Clock, options: StepOptions): Promise<Followed> {
  const followed: Followed = { timesMs: [], fetchMs: [], batches: 0 }
  const startedMs = clock.now()
  const untilMs = startedMs + followMsOf(options)
  await Promise.all(
    partitions.map(async (partition) => {
      const { endOffset } = await log.range(partition)
      const cursor = await log.open(partition, endOffset)
      try {
        while (clock.now() < untilMs) {
          goOn(options.signal)
          const { events } = await cursor.poll(pollMs)
          if (events.length > 0) followed.batches++
          const wallMs = clock.wallMs()
          for (const { timestampMs } of events) {
            followed.timesMs.push(timestampMs)
            followed.fetchMs.push(Math.max(0, wallMs - timestampMs))
          }
          options.onStep('events', 0.3 + (0.6 * (clock.now() - startedMs)) / followMsOf(options))
        }
      } finally {
        await cursor.close()
      }
    }),
  )
  return followed
}

interface Converted {
  readonly jobs: ReadonlyMap<string, JobSample>
  readonly ms: number
  readonly lineBytes: number
  readonly eventLinesBytesMax: number
}

async function convertSample(
  converter: Converter,
  tasks: readonly string[],
  records: ReadonlyMap<number, readonly EventRecord[]>,
  sliceEvents: number,
  clock: Clock,
  { signal }: StepOptions,
): Promise<Converted> {
  const jobs = new Map(tasks.map((task): [string, JobSample] => [task, { texts: [], offsets: [], timesMs: [] }]))
  let [ms, lineBytes, eventLinesBytesMax] = [0, 0, 0]
  for (const [partition, events] of records) {
    for (let from = 0; from < events.length; from += sliceEvents) {
      goOn(signal)
      const slice = events.slice(from, from + sliceEvents)
      const preparing = converter.prepare(slice)
      if (preparing !== undefined) await preparing
      const usedMs = processorMs()
      const converted = converter.convertAll(slice, partition)
      ms += processorMs() - usedMs
      converted.forEach(({ lines, bytes }, i) => {
        lineBytes += bytes
        eventLinesBytesMax = Math.max(eventLinesBytesMax, bytes)
        for (const { section, text } of lines) {
          // Odd sections are dead letters.
          if (section % 2 === 1) continue
          const { texts, offsets, timesMs } = jobs.get(tasks[section / 2]!)!
          texts.push(text)
          offsets.push(slice[i]!.offset)
          timesMs.push(slice[i]!.timestampMs)
        }
      })
      if (from % sliceEventsMax === 0) await clock.sleep(0)
    }
  }
  return { jobs, ms, lineBytes, eventLinesBytesMax }
}
