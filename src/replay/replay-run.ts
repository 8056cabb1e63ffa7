/**
 * Replays events into a table of their own.
 *
 * Boundary: events come from the log through a cursor of its own, rows go through the task's real sink, and every batch moves the
 * replay's own progress row in its transaction. The floors, watermarks and groups of the live pipeline are never touched.
 * States of a partition: *unread*, *reading*, *passed*; where it stands is in the database alone, so a process that is killed
 * anywhere leaves a replay that another one resumes. Holds I1 and I2 for its own table.
 */
import { assert } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Converter } from '../ingest/converter.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import { writeIsolating } from '../work/isolate.ts'
import { Pace, batchBytesMax, batchEventsMax, pacedEventsMax, restMs } from './pace.ts'
import { patiently } from './patience.ts'
import type { OnProgress } from './progress.ts'
import { convertRange, jobLinesOf } from './range-converter.ts'
import type { ConvertedRange, KeyFilter } from './range-converter.ts'
import { RangeReader } from './range-reader.ts'
import { offsetCount } from './replay-range.ts'
import type { PartitionProgress, ReplayProgressStore, Written } from './replay-store.ts'

export interface ReplayPorts<Tx extends LedgerTransaction> {
  readonly log: EventLog
  readonly clock: Clock
  readonly store: ReplayProgressStore<Tx>
  readonly sink: TransactionalSink<unknown, Tx>
  readonly converter: Converter
}

export interface ReplayRun {
  readonly replay: number
  readonly task: string
  /** Every task of the converter, in its order. */
  readonly tasks: readonly string[]
  readonly target: string
  readonly partitions: readonly PartitionProgress[]
  readonly filter: KeyFilter | undefined
  /** Times the record times' own pace; undefined: as fast as leaves the live pipeline alone. */
  readonly speed: number | undefined
  /** Told of each job that the table would not take. */
  onRefused(sentence: string): void
  readonly onProgress: OnProgress
}

export interface ReplayTotals {
  readonly events: number
  readonly rows: number
  /** Events and jobs that could not be converted; the live pipeline has them as dead letters. */
  readonly letters: number
  readonly refused: number
}

/** Runs to the end of every range. Throws FB_INTERRUPTED once `signal` aborts, and what the ports throw; the replay can be resumed then. */
export async function runReplay<Tx extends LedgerTransaction>(
  ports: ReplayPorts<Tx>,
  run: ReplayRun,
  signal: AbortSignal,
): Promise<ReplayTotals> {
  const replaying = new Replaying(ports, run, signal)
  const open = run.partitions.filter(({ passed, lastOffset }) => passed < lastOffset)
  // One partition after the other needs one cursor; at the pace of the record times all of them go together.
  const groups = run.speed === undefined ? open.map((one) => [one]) : [open]
  for (const group of groups) await replaying.replay(group)
  await patiently(ports.clock, signal, () => ports.store.finish(run.replay))
  return replaying.totals
}

class Replaying<Tx extends LedgerTransaction> {
  readonly #ports: ReplayPorts<Tx>
  readonly #run: ReplayRun
  readonly #signal: AbortSignal
  readonly #passed = new Map<number, bigint>()
  totals: ReplayTotals

  constructor(ports: ReplayPorts<Tx>, run: ReplayRun, signal: AbortSignal) {
    this.#ports = ports
    this.#run = run
    this.#signal = signal
    for (const { partition, passed } of run.partitions) this.#passed.set(partition, passed)
    const sum = (of: 'events' | 'rows' | 'refused') => run.partitions.reduce((total, one) => total + one[of], 0)
    this.totals = { events: sum('events'), rows: sum('rows'), letters: 0, refused: sum('refused') }
    this.#tell()
  }

  async replay(group: readonly PartitionProgress[]): Promise<void> {
    const { log, clock } = this.#ports
    const readers = group.map(
      ({ partition, passed, lastOffset }) => new RangeReader(log, clock, { partition, firstOffset: passed + 1n, lastOffset }),
    )
    try {
      const pace = await this.#paceOf(readers)
      while (readers.some((reader) => !reader.isAtEnd)) {
        let waitMs = Infinity
        for (const reader of readers) if (!reader.isAtEnd) waitMs = Math.min(waitMs, await this.#batch(reader, pace))
        if (waitMs > 0 && waitMs < Infinity) await clock.sleep(Math.min(waitMs, 1000), this.#signal)
        this.#checkSignal()
      }
    } finally {
      await Promise.all(readers.map((reader) => reader[Symbol.asyncDispose]()))
    }
  }

  async #paceOf(readers: readonly RangeReader[]): Promise<Pace | undefined> {
    const { speed } = this.#run
    if (speed === undefined) return undefined
    const times = []
    for (const reader of readers) times.push((await reader.nextTimeMs(this.#signal)) ?? Infinity)
    this.#checkSignal()
    return new Pace({ speed, firstTimeMs: Math.min(...times), startedMs: this.#ports.clock.now() })
  }

  /** Writes the next batch of `reader`; returns how long to wait until it makes sense to come again. */
  async #batch(reader: RangeReader, pace: Pace | undefined): Promise<number> {
    const { clock } = this.#ports
    const startedMs = clock.now()
    const timeMsMax = pace?.timeMsAt(startedMs) ?? Infinity
    const eventsMax = pace === undefined ? batchEventsMax : pacedEventsMax
    const slice = await reader.next({ eventsMax, bytesMax: batchBytesMax, timeMsMax }, this.#signal)
    this.#checkSignal()
    const { partition } = reader
    const from = this.#passed.get(partition)!
    if (slice.lastOffset > from) {
      const { tasks, filter } = this.#run
      const converted = await convertRange(this.#ports.converter, tasks, { partition, events: slice.events, filter })
      await this.#write(converted, { partition, from, to: slice.lastOffset })
      this.#passed.set(partition, slice.lastOffset)
      this.#tell()
    }
    if (pace === undefined) return restMs(clock.now() - startedMs)
    const nextMs = await reader.nextTimeMs(this.#signal)
    return nextMs === undefined ? Infinity : pace.waitMs(nextMs, clock.now())
  }

  async #write(converted: ConvertedRange, step: { partition: number; from: bigint; to: bigint }): Promise<void> {
    const { store, clock } = this.#ports
    const { replay, task } = this.#run
    const events = converted.offsets.length
    let isOutcomeUnknown = false
    const written = await patiently(clock, this.#signal, async () => {
      if (isOutcomeUnknown && (await store.passed(replay, step.partition)) === step.to) return undefined
      isOutcomeUnknown = true
      return store.step({ replay, ...step, events }, (transaction) => this.#writeJobs(transaction, converted, task))
    })
    const { rows = converted.jobs.get(task)!.texts.length, refused = 0 } = written ?? {}
    const { totals } = this
    this.totals = {
      events: totals.events + events,
      rows: totals.rows + rows,
      letters: totals.letters + converted.letters,
      refused: totals.refused + refused,
    }
  }

  async #writeJobs(transaction: Tx, { jobs, partition }: ConvertedRange, task: string): Promise<Written> {
    const { sink } = this.#ports
    const lines = jobLinesOf(task, partition, jobs.get(task)!)
    if (lines.count === 0) return { rows: 0, refused: 0 }
    const refused = await writeIsolating(sink as unknown as TransactionalSink, transaction, [lines])
    for (const { offset, ordinal, error } of refused)
      this.#run.onRefused(`partition ${partition}, offset ${offset}, job ${ordinal}: ${error}`)
    return { rows: lines.count - refused.length, refused: refused.length }
  }

  #checkSignal(): void {
    if (!this.#signal.aborted) return
    const { replay } = this.#run
    throw new ForebayError('FB_INTERRUPTED', `replay ${replay} was stopped; go on with: forebay replay --resume ${replay}`)
  }

  #tell(): void {
    const { partitions, target, onProgress } = this.#run
    const total = partitions.reduce((sum, one) => sum + offsetCount(one), 0)
    const done = partitions.reduce((sum, { partition, firstOffset }) => sum + Number(this.#passed.get(partition)! - firstOffset + 1n), 0)
    assert(done <= total, 'a replay stays within its range')
    onProgress({ doing: `replaying into ${target}`, done, total, events: this.totals.events, rows: this.totals.rows })
  }
}
