/**
 * Flushes one task on one node: at its cadence, or earlier when enough waits (rules 6, 10, 15).
 *
 * One flush at a time, over all queues the node reads. It *runs* as long as flushes succeed; after a failure that may pass
 * it *waits* and tries again; it is *blocked* while the database refuses the task as a whole (a missing table, no
 * permission), which makes no dead letters and ends by itself once mended.
 *
 * A flush whose outcome is unknown, and one that was fenced, makes the readers it took from forget (I1, I7).
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { JobLines } from '../grid/segment.ts'
import { deadLineOf } from '../ingest/converter.ts'
import type { Observer } from '../observer.ts'
import type { DeadLetter, Flush, Ledger, LedgerTransaction } from '../ledger/ledger.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import { Ticker } from '../schedule/ticker.ts'
import type { RunningSink, TransactionalSink } from '../sinks/running-sink.ts'
import { FlushSize } from './flush-size.ts'
import { lettersOf, writeIsolating, writeRefused } from './isolate.ts'
import type { BadJobHabit } from './isolate.ts'
import type { QueueReader } from './queue-reader.ts'
import type { InboxBatch } from './task-inbox.ts'

export interface TaskRunnerPorts {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
}

export interface TaskRunnerOptions {
  readonly task: string
  readonly everyMs: number
  /** Jobs that make a flush early, and about the most that one flush takes. */
  readonly rowsMax: number
  /** Bytes of jobs that make a flush early. */
  readonly bytesMax: number
  /** Segments of one queue that make a flush early: half its window. */
  readonly intervalsMax: number
  /** Has watermarks (a durable sink, or no task of the pipeline has one). */
  readonly isTracked: boolean
  readonly sink: RunningSink
  /** Told of the dead letters that a flush committed. */
  readonly onBuried?: (letters: readonly DeadLetter[]) => void
}

interface Taken extends InboxBatch {
  readonly reader: QueueReader
  readonly memory: number
}

/** How long intervals without a job for the task wait to be advanced with the next flush. */
const emptyAdvanceMs = 100
const blockedWaitMs = 1000
/** Jobs of a flush with bad ones at most: the good among them wait for all of them to be found. */
const waryRowsMax = 5000

export class TaskRunner {
  readonly #ports: TaskRunnerPorts
  readonly #options: TaskRunnerOptions
  readonly #ticker: Ticker
  /** By queue: a flush takes from a queue once, whatever readers of it there are (rule 6). */
  readonly #readers = new Map<string, QueueReader>()
  readonly #backoff = new Backoff()
  readonly #size: FlushSize
  #emptySinceMs: number | undefined
  /** How the next flush writes: *plain*; *refused*, again and with the bad jobs isolated; *wary*, since the one before had bad jobs. */
  #mode: 'plain' | 'refused' | 'wary' = 'plain'
  readonly #habit: BadJobHabit = { refused: 0, isCrowded: false }
  #lastError: string | undefined
  #isBlocked = false

  constructor(ports: TaskRunnerPorts, options: TaskRunnerOptions) {
    this.#ports = ports
    this.#options = options
    this.#ticker = new Ticker(ports.clock, options.everyMs)
    this.#size = new FlushSize(options.rowsMax)
  }

  get options(): TaskRunnerOptions {
    return this.#options
  }

  /** The last failure while it lasts, for people. */
  get lastError(): string | undefined {
    return this.#lastError
  }

  get isBlocked(): boolean {
    return this.#isBlocked
  }

  /** Takes from `reader` from now on, and no more from an earlier reader of its queue, which may still wait for the grid. */
  attach(reader: QueueReader): void {
    this.#readers.set(reader.name, reader)
  }

  detach(reader: QueueReader): void {
    if (this.#readers.get(reader.name) === reader) this.#readers.delete(reader.name)
  }

  /** Looks whether enough waits for an early flush; readers call it when they bring jobs. */
  notice(reader: QueueReader): void {
    const { rowsMax, bytesMax, intervalsMax, task } = this.#options
    const inbox = reader.inbox(task)
    if (inbox === undefined) return
    this.#ticker.stir()
    if (inbox.intervals >= intervalsMax || inbox.rows >= rowsMax || inbox.bytes >= bytesMax) return this.#ticker.wake()
    let rows = 0
    let bytes = 0
    for (const other of this.#readers.values()) {
      rows += other.inbox(task)?.rows ?? 0
      bytes += other.inbox(task)?.bytes ?? 0
    }
    if (rows >= rowsMax || bytes >= bytesMax) this.#ticker.wake()
  }

  /** Flushes what waits without waiting for the cadence. */
  hurry(): void {
    this.#ticker.wake()
  }

  /** Throws FB_EPOCH_CLOSED and what no waiting mends. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#hasWork()) await this.#ticker.rest(signal)
      const lateMs = await this.#ticker.next(signal)
      if (lateMs !== undefined) this.#ports.observer.value('tickSlipMs', lateMs, this.#options.task)
      if (!signal.aborted) await this.flush(signal)
    }
  }

  /** Flushes what waits now, once. */
  async flush(signal: AbortSignal): Promise<void> {
    const taken = this.#take()
    if (taken.length === 0) return
    const startedMs = this.#ports.clock.now()
    try {
      await this.#apply(taken, signal)
    } catch (error) {
      this.#size.took(rowsOf(taken), this.#ports.clock.now() - startedMs)
      return this.#failed(error, taken, signal)
    }
    const isCut = (this.#size.isReduced || this.#mode !== 'plain') && rowsOf(taken) >= this.#rowsMax
    this.#mode = this.#refused > 0 ? 'wary' : 'plain'
    this.#isBlocked = false
    this.#lastError = undefined
    this.#backoff.reset()
    const flushMs = this.#ports.clock.now() - startedMs
    // What a slow database was spared now, or a search for bad jobs, waits for no tick.
    if (isCut) this.#ticker.wake()
    this.#size.took(rowsOf(taken), flushMs)
    this.#settled(taken, flushMs)
  }

  /** Most jobs of the next flush. */
  get #rowsMax(): number {
    return this.#mode === 'plain' ? this.#size.rows : Math.min(this.#size.rows, waryRowsMax)
  }

  #hasWork(): boolean {
    for (const reader of this.#readers.values()) if ((reader.inbox(this.#options.task)?.intervals ?? 0) > 0) return true
    return false
  }

  #take(): Taken[] {
    const { task } = this.#options
    const rowsMax = this.#rowsMax
    const taken: Taken[] = []
    let rows = 0
    for (const reader of this.#readers.values()) {
      const batch = reader.inbox(task)?.take(rowsMax - rows)
      if (batch === undefined) continue
      taken.push({ ...batch, reader, memory: reader.memory })
      rows += batch.rows
      if (rows >= rowsMax) break
    }
    this.#rotate(taken)
    if (rows > 0 || taken.length === 0) {
      this.#emptySinceMs = undefined
      return taken
    }
    const now = this.#ports.clock.now()
    this.#emptySinceMs ??= now
    const hasWaited = this.#options.everyMs >= emptyAdvanceMs || now - this.#emptySinceMs >= emptyAdvanceMs
    const isDue = hasWaited || taken.some(({ reader }) => this.#isHalfFull(reader))
    return isDue ? taken : []
  }

  #isHalfFull(reader: QueueReader): boolean {
    return (reader.inbox(this.#options.task)?.intervals ?? 0) >= this.#options.intervalsMax
  }

  /** When one flush could not take from every queue, the next begins with the others. */
  #rotate(taken: readonly Taken[]): void {
    if (taken.length === this.#readers.size) return
    for (const { reader } of taken) {
      this.#readers.delete(reader.name)
      this.#readers.set(reader.name, reader)
    }
  }

  async #apply(taken: readonly Taken[], signal: AbortSignal): Promise<void> {
    const { task, sink, isTracked } = this.#options
    const sections = taken.flatMap((batch) => batch.sections)
    const jobs = sections.filter((section) => section.kind === 'job')
    const letters = sections.filter((section) => section.kind === 'dead').flatMap(deadLettersOf)
    const outcome = sink.delivery !== 'exactly-once' && jobs.length > 0 ? await sink.deliver(jobs, signal) : undefined
    const undelivered = outcome?.dead === undefined ? [] : lettersOf(jobs, outcome.dead)
    if (!isTracked) return
    const advances = taken.map(({ reader, from, to }) => ({ ...reader.id, from, to }))
    this.#refused = 0
    const write: Flush['write'] = async (transaction) => {
      const refused = sink.delivery === 'exactly-once' && jobs.length > 0 ? await this.#write(sink, transaction, jobs) : undelivered
      const buried = [...letters, ...refused]
      if (buried.length > 0) await transaction.bury(buried)
      this.#buried = buried
      this.#refused = sink.delivery === 'exactly-once' ? refused.length : 0
    }
    await this.#ports.ledger.flush({ task, advances, write })
  }

  /** Dead letters of the flush under way, and those among them whose jobs the table refused. */
  #buried: readonly DeadLetter[] = []
  #refused = 0

  async #write(sink: TransactionalSink, transaction: LedgerTransaction, jobs: readonly JobLines[]): Promise<readonly DeadLetter[]> {
    if (this.#mode === 'refused') return writeRefused(sink, transaction, jobs, this.#habit)
    if (this.#mode === 'wary') return writeIsolating(sink, transaction, jobs, this.#habit)
    await sink.write(transaction, jobs)
    return []
  }

  #settled(taken: readonly Taken[], flushMs: number): void {
    const { observer } = this.#ports
    const { task } = this.#options
    let rows = 0
    for (const { reader, to, memory, sections } of taken) {
      for (const section of sections) {
        if (section.kind !== 'job') continue
        rows += section.count
        reportCommitted(observer, section)
      }
      reader.settle(task, to, memory)
    }
    this.#emptySinceMs = undefined
    observer.count('flushes', 1, task)
    observer.count('rows', rows, task)
    this.#tellBuried()
    if (rows > 0) observer.value('flushMs', flushMs, task)
  }

  #tellBuried(): void {
    const buried = this.#buried
    if (buried.length === 0) return
    this.#buried = []
    for (const { task } of buried) this.#ports.observer.count(task === null ? 'deadEvents' : 'deadLetters', 1, task ?? '')
    this.#options.onBuried?.(buried)
  }

  async #failed(error: unknown, taken: readonly Taken[], signal: AbortSignal): Promise<void> {
    const { observer, clock } = this.#ports
    const { task, sink } = this.#options
    this.#buried = []
    if (!isForebayError(error) || error.policy === 'fatal' || error.code === 'FB_EPOCH_CLOSED') throw error
    if (error.code === 'FB_FENCED') {
      observer.count('fences', 1, task)
      for (const { reader } of taken) reader.forget()
      return
    }
    observer.count('flushErrors', 1, task)
    if (error.code === 'FB_BAD_JOB' && this.#mode === 'plain' && sink.delivery === 'exactly-once') {
      this.#mode = 'refused'
      return this.flush(signal)
    }
    const isNews = this.#lastError !== error.message
    this.#lastError = sentenceOf(error)
    this.#isBlocked = error.policy === 'halt'
    // What may pass by itself is told when it lasts, by the watch on the calls.
    if (isNews) observer.log(this.#isBlocked ? 'error' : 'debug', `task ${task}, ${sink.label}: ${error.message}`, { code: error.code })
    if (error.policy === 'retry') for (const { reader } of taken) reader.forget()
    await clock.sleep(this.#isBlocked ? blockedWaitMs : this.#backoff.next(), signal)
  }
}

function rowsOf(taken: readonly Taken[]): number {
  return taken.reduce((sum, { rows }) => sum + rows, 0)
}

function reportCommitted(observer: Observer, section: JobLines): void {
  let first = 0
  for (let i = 1; i <= section.count; i++) {
    if (i < section.count && section.timeMs(i) === section.timeMs(first)) continue
    observer.committed(section.task, section.timeMs(first), i - first)
    first = i
  }
}

function deadLettersOf(section: JobLines): DeadLetter[] {
  return section.lines().map((line, index) => {
    const { task, error, payload, cut, traceparent } = deadLineOf(line)
    return {
      partition: section.partition,
      queue: section.queue,
      offset: section.offset(index),
      ordinal: 0,
      eventTimeMs: section.timeMs(index),
      task,
      error,
      payload: payload === null ? null : Buffer.from(payload, 'base64'),
      isPayloadCut: cut,
      traceparent,
    }
  })
}
