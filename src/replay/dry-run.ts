/**
 * What a replay would do: reads and converts the range, writes nothing, and measures.
 */
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { JobLines } from '../grid/segment.ts'
import type { Converter } from '../ingest/converter.ts'
import type { Clock } from '../schedule/clock.ts'
import { batchBytesMax, batchEventsMax, restMs, restShare } from './pace.ts'
import type { OnProgress } from './progress.ts'
import { convertRange, jobLinesOf } from './range-converter.ts'
import type { ConvertedRange, KeyFilter } from './range-converter.ts'
import { RangeReader } from './range-reader.ts'
import { offsetCount } from './replay-range.ts'
import type { ReplayRange } from './replay-range.ts'

export interface DryRunOptions {
  readonly ranges: readonly ReplayRange[]
  readonly tasks: readonly string[]
  /** Tasks that would be written. */
  readonly chosen: readonly string[]
  readonly filter: KeyFilter | undefined
  readonly speed: number | undefined
  /** Writes jobs of a task and takes them back; undefined: nothing would be written. */
  readonly sample: ((task: string, jobs: JobLines) => Promise<void>) | undefined
  readonly onProgress: OnProgress
}

export interface DryRun {
  readonly events: number
  /** Of the values of the events. */
  readonly bytes: number
  readonly deadLetters: number
  /** Jobs by chosen task. */
  readonly jobs: Readonly<Record<string, number>>
  /** At the rate that was measured, rests included. */
  readonly estimatedMs: number
  readonly eventsPerSecond: number
}

/** Batches whose writes are measured. */
const samplesMax = 8

/** Throws FB_INTERRUPTED once `signal` aborts, and what the log and `sample` throw. */
export async function dryRun(
  ports: { readonly log: EventLog; readonly clock: Clock; readonly converter: Converter },
  options: DryRunOptions,
  signal: AbortSignal,
): Promise<DryRun> {
  const { log, clock, converter } = ports
  const { ranges, tasks, filter, onProgress, speed } = options
  const tally = new Tally(options.chosen)
  const total = ranges.reduce((sum, range) => sum + offsetCount(range), 0)
  let done = 0
  for (const range of ranges) {
    await using reader = new RangeReader(log, clock, range)
    while (!reader.isAtEnd) {
      const startedMs = clock.now()
      const before = reader.position
      const { events, lastOffset } = await reader.next({ eventsMax: batchEventsMax, bytesMax: batchBytesMax }, signal)
      if (signal.aborted) throw new ForebayError('FB_INTERRUPTED', 'the dry run was stopped before its end; nothing was written')
      const converted = await convertRange(converter, tasks, { partition: range.partition, events, filter })
      tally.add(converted, clock.now() - startedMs)
      await sample(options, converted, tally, clock)
      done += Number(lastOffset - before)
      onProgress({ doing: 'counting', done, total, events: tally.events, rows: tally.rows })
      await clock.sleep(restMs(clock.now() - startedMs), signal)
    }
  }
  return tally.result(speed)
}

async function sample(options: DryRunOptions, converted: ConvertedRange, tally: Tally, clock: Clock): Promise<void> {
  if (options.sample === undefined || tally.samples >= samplesMax) return
  for (const task of options.chosen) {
    const jobs = converted.jobs.get(task)!
    if (jobs.texts.length === 0) continue
    const startedMs = clock.now()
    await options.sample(task, jobLinesOf(task, converted.partition, jobs))
    tally.sampled(task, jobs.texts.length, clock.now() - startedMs)
  }
}

class Tally {
  events = 0
  rows = 0
  samples = 0
  #bytes = 0
  #deadLetters = 0
  #readMs = 0
  #firstTimeMs = Infinity
  #lastTimeMs = -Infinity
  readonly #jobs = new Map<string, number>()
  readonly #sampled = new Map<string, { rows: number; ms: number }>()

  constructor(chosen: readonly string[]) {
    for (const task of chosen) this.#jobs.set(task, 0)
  }

  add({ offsets, bytes, letters, jobs }: ConvertedRange, tookMs: number): void {
    this.events += offsets.length
    this.#bytes += bytes
    this.#deadLetters += letters
    this.#readMs += tookMs
    for (const [task, { texts, timesMs }] of jobs) {
      for (const timeMs of timesMs) {
        if (timeMs < this.#firstTimeMs) this.#firstTimeMs = timeMs
        if (timeMs > this.#lastTimeMs) this.#lastTimeMs = timeMs
      }
      const count = this.#jobs.get(task)
      if (count === undefined) continue
      this.#jobs.set(task, count + texts.length)
      this.rows += texts.length
    }
  }

  sampled(task: string, rows: number, ms: number): void {
    const before = this.#sampled.get(task) ?? { rows: 0, ms: 0 }
    this.#sampled.set(task, { rows: before.rows + rows, ms: before.ms + ms })
    this.samples++
  }

  result(speed: number | undefined): DryRun {
    let writeMs = 0
    for (const [task, { rows, ms }] of this.#sampled) writeMs += (ms / rows) * this.#jobs.get(task)!
    const fastestMs = (this.#readMs + writeMs) * (1 + restShare)
    const spanMs = Math.max(0, this.#lastTimeMs - this.#firstTimeMs)
    const estimatedMs = Math.round(speed === undefined ? fastestMs : Math.max(fastestMs, spanMs / speed))
    return {
      events: this.events,
      bytes: this.#bytes,
      deadLetters: this.#deadLetters,
      jobs: Object.fromEntries(this.#jobs),
      estimatedMs,
      eventsPerSecond: estimatedMs === 0 ? 0 : Math.round((this.events * 1000) / estimatedMs),
    }
  }
}
