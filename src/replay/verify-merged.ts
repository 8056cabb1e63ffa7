/**
 * Compares a table of merged rows with what its events call for, by whole keys.
 *
 * A merged row does not tell its events, and the live pipeline goes on adding to it. So three passes: the range says which keys
 * are touched; one moment of the database gives their rows together with the watermarks, which say exactly what is in them; then the
 * whole log up to those watermarks is merged again, into a temporary table, by the same sink. Nothing is ever mended: one
 * cannot tell which part of a sum is missing.
 */
import { ForebayError } from '../errors.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import { writeIsolating } from '../work/isolate.ts'
import { Findings } from './findings.ts'
import type { Comparison } from './findings.ts'
import { batchBytesMax, batchEventsMax, restMs } from './pace.ts'
import { patiently } from './patience.ts'
import { convertRange, jobLinesOf, ordinalsOf } from './range-converter.ts'
import type { ConvertedRange, KeyFilter } from './range-converter.ts'
import { RangeReader } from './range-reader.ts'
import { deadJobs, isApplied, lastApplied } from './replay-ledger.ts'
import type { Applied } from './replay-ledger.ts'
import { offsetCount } from './replay-range.ts'
import type { ReplayRange } from './replay-range.ts'
import type { MergedTableCheck, OffsetSpan } from './table-check.ts'
import type { VerifyPorts, VerifyRun } from './verify-plain.ts'

/** Where the log, and the pipeline, begin in one partition. */
export interface History {
  readonly partition: number
  readonly startOffset: bigint
  /** The floor at which the pipeline began; null: not known. */
  readonly beganAt: bigint | null
}

export interface MergedRun extends VerifyRun {
  /** Every partition of the topic; undefined: the table was made from the ranges alone, by a replay. */
  readonly histories: readonly History[] | undefined
}

/** Touched keys are handed to the database when so many have come together. */
const keysMax = 20_000

/** The first offset of which the pipeline applied the jobs. */
export function firstApplied({ startOffset, beganAt }: History): bigint {
  return beganAt !== null && beganAt >= startOffset ? beganAt + 1n : startOffset
}

/** Whether the log still holds everything that the pipeline applied. */
export function isWholeHistory({ startOffset, beganAt }: History): boolean {
  return startOffset <= (beganAt ?? -1n) + 1n
}

/** Throws FB_INTERRUPTED once `signal` aborts, and what the ports throw. */
export async function verifyMerged<Tx extends LedgerTransaction>(
  ports: VerifyPorts<Tx>,
  check: MergedTableCheck<Tx>,
  run: MergedRun,
  signal: AbortSignal,
): Promise<Findings> {
  // Temporary tables are gone with their connection: then all begins anew.
  return patiently(ports.clock, signal, () => new MergedVerifying(ports, check, run, signal).verify())
}

class MergedVerifying<Tx extends LedgerTransaction> {
  readonly #ports: VerifyPorts<Tx>
  readonly #check: MergedTableCheck<Tx>
  readonly #run: MergedRun
  readonly #signal: AbortSignal
  readonly #findings: Findings
  readonly #isWhole: boolean
  #life = 0
  #keys = new Set<string>()
  #offsetsDone = 0
  #offsetsTotal = 0

  constructor(ports: VerifyPorts<Tx>, check: MergedTableCheck<Tx>, run: MergedRun, signal: AbortSignal) {
    this.#ports = ports
    this.#check = check
    this.#run = run
    this.#signal = signal
    this.#findings = new Findings(run.task, check.table, run.listMax)
    const { histories, filter, ranges } = run
    this.#isWhole = histories === undefined || (filter === undefined && histories.every((history) => coversHistory(ranges, history)))
  }

  async verify(): Promise<Findings> {
    const { session } = this.#ports
    const { ranges, listMax, histories } = this.#run
    this.#life = await session.begin((transaction) => this.#check.prepare(transaction))
    this.#offsetsTotal = ranges.reduce((total, range) => total + offsetCount(range), 0)
    this.#findings.compared = histories === undefined ? await this.#mergeRanges() : await this.#mergeHistories(histories)
    const comparison = await session.transact(this.#life, `comparing ${this.#check.table}`, (transaction) =>
      this.#check.compare(transaction, this.#isWhole, listMax),
    )
    this.#judge(comparison)
    return this.#findings
  }

  /** Everything in the ranges, and nothing else, is in the table. */
  async #mergeRanges(): Promise<number> {
    const { ranges, filter } = this.#run
    for (const range of ranges) {
      const all = { floor: range.lastOffset, rows: [] }
      await this.#read(range, filter, async (converted) => {
        this.#findings.events += converted.offsets.length
        await this.#merge(converted, all, undefined)
      })
    }
    return this.#keep().then(({ rows }) => rows)
  }

  async #mergeHistories(histories: readonly History[]): Promise<number> {
    const { ranges, filter } = this.#run
    this.#offsetsTotal += histories.reduce((total, history) => total + offsetCount(historyRange(history, ranges)), 0)
    for (const range of ranges) await this.#read(range, filter, (converted) => this.#touch(converted))
    await this.#flushKeys()
    const { applied, rows } = await this.#keep()
    for (const history of histories) {
      const of = applied.get(history.partition)
      if (of === undefined) continue
      const range = { partition: history.partition, firstOffset: firstApplied(history), lastOffset: lastApplied(of) }
      await this.#read(range, undefined, (converted, span) => this.#merge(converted, of, span))
    }
    return rows
  }

  /** Rows and watermarks of one moment. */
  #keep(): Promise<{ applied: ReadonlyMap<number, Applied>; rows: number }> {
    return this.#ports.session.transact(this.#life, `reading ${this.#check.table}`, async (transaction) => ({
      applied: await this.#ports.ledger.applied(transaction, this.#run.task),
      rows: await this.#check.keepRows(transaction, this.#isWhole),
    }))
  }

  /** Without the beginning of the log nobody can say which keys began before it. */
  #judge(comparison: Comparison): void {
    const cut = (this.#run.histories ?? []).filter((history) => !isWholeHistory(history))
    const count = comparison.missing + comparison.extra + comparison.different
    if (cut.length === 0 || count === 0) return this.#findings.add(comparison)
    this.#findings.incomparable = count
    const where = cut.map(({ partition, startOffset }) => `partition ${partition} begins at offset ${startOffset}`).join(', ')
    this.#findings.note(
      `${count} of the keys are not comparable: what is there differs from what the log calls for, but the log no longer has all that made them (${where})`,
    )
  }

  async #read(
    range: Pick<ReplayRange, 'partition' | 'firstOffset' | 'lastOffset'>,
    filter: KeyFilter | undefined,
    take: (converted: ConvertedRange, span: OffsetSpan) => Promise<void>,
  ): Promise<void> {
    const { log, clock, converter } = this.#ports
    const { tasks, onProgress } = this.#run
    await using reader = new RangeReader(log, clock, range)
    while (!reader.isAtEnd) {
      const startedMs = clock.now()
      const after = reader.position
      const { events, lastOffset } = await reader.next({ eventsMax: batchEventsMax, bytesMax: batchBytesMax }, this.#signal)
      this.#checkSignal()
      await take(await convertRange(converter, tasks, { partition: range.partition, events, filter }), {
        partition: range.partition,
        after,
        upTo: lastOffset,
      })
      this.#offsetsDone += Number(lastOffset - after)
      const total = Math.max(this.#offsetsTotal, this.#offsetsDone)
      onProgress({ doing: `comparing ${this.#check.table}`, done: this.#offsetsDone, total, events: this.#findings.events, rows: 0 })
      await clock.sleep(restMs(clock.now() - startedMs), this.#signal)
    }
  }

  async #touch(converted: ConvertedRange): Promise<void> {
    this.#findings.events += converted.offsets.length
    for (const text of converted.jobs.get(this.#run.task)!.texts) this.#keys.add(keyOf(text, this.#check.keyColumns))
    if (this.#keys.size >= keysMax) await this.#flushKeys()
  }

  async #flushKeys(): Promise<void> {
    if (this.#keys.size === 0) return
    const lines = Buffer.from([...this.#keys].map((key) => `${key}\n`).join(''))
    this.#keys = new Set()
    await this.#ports.session.transact(this.#life, `marking keys of ${this.#check.table}`, (tx) => this.#check.addKeys(tx, lines))
  }

  /** Merges the jobs that are in the table: those below the watermark of their queue, but for the dead letters of `span`. */
  async #merge({ jobs, partition }: ConvertedRange, applied: Applied, span: OffsetSpan | undefined): Promise<void> {
    const { session, ledger } = this.#ports
    const { task } = this.#run
    const { offsets, timesMs, queues, texts } = jobs.get(task)!
    if (texts.length === 0) return
    await session.transact(this.#life, `merging partition ${partition}`, async (transaction) => {
      const isDead = deadJobs(span === undefined ? [] : await ledger.deadMarks(transaction, task, span))
      const ordinals = ordinalsOf(offsets)
      const chosen = texts.flatMap((_, i) => (isApplied(applied, offsets[i]!, queues[i]!) && !isDead(offsets[i]!, ordinals[i]!) ? [i] : []))
      if (chosen.length === 0) return
      const of = <T>(values: readonly T[]) => chosen.map((i) => values[i]!)
      const lines = jobLinesOf(task, partition, { offsets: of(offsets), timesMs: of(timesMs), texts: of(texts) })
      const bad = await writeIsolating(this.#check.sink as unknown as TransactionalSink, transaction, [lines])
      for (const { offset, error } of bad) this.#findings.note(`partition ${partition}, offset ${offset}: ${error}`)
    })
  }

  #checkSignal(): void {
    if (this.#signal.aborted) throw new ForebayError('FB_INTERRUPTED', 'the comparison was stopped before its end; run it again')
  }
}

/** The range goes from where the pipeline began, or the log begins, to the floor. */
function coversHistory(ranges: readonly ReplayRange[], history: History): boolean {
  const range = ranges.find(({ partition }) => partition === history.partition)
  return range !== undefined && range.firstOffset <= firstApplied(history) && range.lastOffset >= range.floor
}

function historyRange(history: History, ranges: readonly ReplayRange[]): { firstOffset: bigint; lastOffset: bigint } {
  const firstOffset = firstApplied(history)
  const floor = ranges.find(({ partition }) => partition === history.partition)?.floor ?? firstOffset - 1n
  return { firstOffset, lastOffset: floor < firstOffset ? firstOffset - 1n : floor }
}

function keyOf(line: string, keyColumns: number): string {
  let end = -1
  for (let i = 0; i < keyColumns; i++) {
    end = line.indexOf('\t', end + 1)
    if (end < 0) return line
  }
  return line.slice(0, end)
}
