/**
 * Compares a table of plain inserts with what its events call for, and inserts what is missing when asked to.
 *
 * Works in windows of offsets: reads and converts a window's events, gathers the rows they call for in a temporary table, and has the
 * database compare. Memory holds one batch at a time. A window is repeated when the connection broke under it; since the insert
 * looks again at what is missing, in one transaction and under the repair's lock, a repeated window writes nothing twice (I1).
 */
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Converter } from '../ingest/converter.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import { writeIsolating } from '../work/isolate.ts'
import { Findings } from './findings.ts'
import type { Comparison, Difference } from './findings.ts'
import { batchBytesMax, batchEventsMax, restMs } from './pace.ts'
import { patiently } from './patience.ts'
import type { OnProgress } from './progress.ts'
import { convertRange, jobLinesOf, ordinalsOf } from './range-converter.ts'
import type { ConvertedRange, KeyFilter } from './range-converter.ts'
import { RangeReader } from './range-reader.ts'
import { deadJobs } from './replay-ledger.ts'
import type { ReplayLedger } from './replay-ledger.ts'
import { offsetCount } from './replay-range.ts'
import type { ReplayRange } from './replay-range.ts'
import type { CheckSession } from './check-session.ts'
import { expectedLine } from './table-check.ts'
import type { Mended, OffsetSpan, PlainTableCheck } from './table-check.ts'

export interface VerifyPorts<Tx extends LedgerTransaction> {
  readonly log: EventLog
  readonly clock: Clock
  readonly session: CheckSession<Tx>
  readonly ledger: ReplayLedger<Tx>
  readonly converter: Converter
}

export interface VerifyRun {
  readonly task: string
  readonly tasks: readonly string[]
  readonly ranges: readonly ReplayRange[]
  readonly filter: KeyFilter | undefined
  /** Differences listed at most; all are counted. */
  readonly listMax: number
  readonly onProgress: OnProgress
}

const windowEventsMin = 5_000
const windowEventsMax = 500_000

/** Throws FB_INTERRUPTED once `signal` aborts, FB_EPOCH_CLOSED when the pipeline was reset meanwhile, and what the ports throw. */
export async function verifyPlain<Tx extends LedgerTransaction>(
  ports: VerifyPorts<Tx>,
  check: PlainTableCheck<Tx>,
  run: VerifyRun & { readonly isRepair: boolean },
  signal: AbortSignal,
): Promise<Findings> {
  const verifying = new PlainVerifying(ports, check, run, signal)
  for (const range of run.ranges) await verifying.verify(range)
  return verifying.findings
}

interface Gathered {
  readonly upTo: bigint
  readonly events: number
  readonly rows: number
  /** Rows that the table would not take today: so many, and the first of them. */
  readonly unwritable: number
  readonly unwritableListed: readonly Difference[]
}

interface Outcome {
  readonly comparison: Comparison
  readonly mended: Mended
  readonly partition: number
}

class PlainVerifying<Tx extends LedgerTransaction> {
  readonly findings: Findings
  readonly #ports: VerifyPorts<Tx>
  readonly #check: PlainTableCheck<Tx>
  readonly #run: VerifyRun & { readonly isRepair: boolean }
  readonly #signal: AbortSignal
  /** Grows where comparing takes long, as it does without an index on the position: then few, large windows are cheaper. */
  #windowEvents = windowEventsMin
  #offsetsDone = 0

  constructor(ports: VerifyPorts<Tx>, check: PlainTableCheck<Tx>, run: VerifyRun & { readonly isRepair: boolean }, signal: AbortSignal) {
    this.#ports = ports
    this.#check = check
    this.#run = run
    this.#signal = signal
    this.findings = new Findings(run.task, check.table, run.listMax)
    if (!check.seesPosition)
      this.findings.note(
        `table ${check.table} has no columns source_partition and source_offset: rows that no event of the range calls for cannot be seen`,
      )
  }

  async verify(range: ReplayRange): Promise<void> {
    const { log, clock } = this.#ports
    await using reader = new RangeReader(log, clock, range)
    while (!reader.isAtEnd) {
      const after = reader.position
      await patiently(clock, this.#signal, async () => {
        if (reader.position !== after) reader.rewind(after)
        await this.#window(reader, after)
      })
      this.#offsetsDone += Number(reader.position - after)
      this.#tell()
    }
  }

  async #window(reader: RangeReader, after: bigint): Promise<void> {
    const { clock, session } = this.#ports
    const { partition } = reader
    const startedMs = clock.now()
    const life = await session.begin((transaction) => this.#check.prepare(transaction))
    const gathered = await this.#gather(reader, life)
    const comparedMs = clock.now()
    const span = { partition, after, upTo: gathered.upTo }
    const outcome = await session.transact(life, `comparing partition ${partition}`, (transaction) => this.#compare(transaction, span))
    this.#count(gathered, outcome)
    const tookMs = clock.now() - comparedMs
    if (tookMs > (comparedMs - startedMs) / 4) this.#windowEvents = Math.min(this.#windowEvents * 2, windowEventsMax)
    await clock.sleep(restMs(tookMs), this.#signal)
  }

  async #gather(reader: RangeReader, life: number): Promise<Gathered> {
    const { clock, session } = this.#ports
    const { tasks, filter } = this.#run
    const { partition } = reader
    let events = 0
    let rows = 0
    let unwritable = 0
    const unwritableListed: Difference[] = []
    while (!reader.isAtEnd && events < this.#windowEvents) {
      const startedMs = clock.now()
      const before = reader.position
      const slice = await reader.next({ eventsMax: batchEventsMax, bytesMax: batchBytesMax }, this.#signal)
      this.#checkSignal()
      const converted = await convertRange(this.#ports.converter, tasks, { partition, events: slice.events, filter })
      events += slice.events.length
      const span = { partition, after: before, upTo: slice.lastOffset }
      const added = await session.transact(life, `gathering rows of partition ${partition}`, (tx) => this.#add(tx, converted, span))
      rows += added.rows
      unwritable += added.unwritable.length
      unwritableListed.push(...added.unwritable.slice(0, Math.max(0, this.findings.listRoom - unwritableListed.length)))
      await clock.sleep(restMs(clock.now() - startedMs), this.#signal)
    }
    return { upTo: reader.position, events, rows, unwritable, unwritableListed }
  }

  async #add(transaction: Tx, converted: ConvertedRange, span: OffsetSpan): Promise<{ rows: number; unwritable: Difference[] }> {
    const { ledger } = this.#ports
    const { task, filter } = this.#run
    const { offsets, timesMs, texts } = converted.jobs.get(task)!
    if (filter !== undefined && converted.offsets.length > 0) await this.#check.addOffsets(transaction, converted.offsets)
    if (texts.length === 0) return { rows: 0, unwritable: [] }
    const isDead = deadJobs(await ledger.deadMarks(transaction, task, span))
    const ordinals = ordinalsOf(offsets)
    const lines = texts.map((text, i) => {
      const [offset, ordinal] = [offsets[i]!, ordinals[i]!]
      return expectedLine({ partition: span.partition, offset, ordinal, isSpared: isDead(offset, ordinal) }, text)
    })
    const gatherer = { write: (tx: Tx, jobs) => this.#check.addRows(tx, jobs) } as TransactionalSink<unknown, Tx>
    const jobs = [jobLinesOf(task, span.partition, { offsets, timesMs, texts: lines })]
    const bad = await writeIsolating(gatherer as unknown as TransactionalSink, transaction, jobs)
    const unwritable = bad.filter(({ offset, ordinal }) => !isDead(offset, ordinal))
    return {
      rows: texts.length,
      unwritable: unwritable.map(({ offset, error }) => unwritten(span.partition, offset, error)),
    }
  }

  async #compare(transaction: Tx, span: OffsetSpan): Promise<Outcome> {
    if (this.#run.isRepair) await this.#ports.ledger.guard(transaction, span)
    const comparison = await this.#check.compare(transaction, span, Math.max(0, this.findings.listRoom))
    const mended = this.#run.isRepair && comparison.missing > 0 ? await this.#check.mend(transaction, span) : { rows: 0, refused: [] }
    return { comparison, mended, partition: span.partition }
  }

  #count({ events, rows, unwritable, unwritableListed }: Gathered, { comparison, mended, partition }: Outcome): void {
    const { findings } = this
    findings.events += events
    findings.compared += rows
    findings.add(comparison)
    findings.mended += mended.rows
    findings.add({ missing: unwritable, extra: 0, different: 0, differences: unwritableListed })
    for (const { offset, error } of mended.refused)
      findings.note(`partition ${partition}, offset ${offset}: the missing row cannot be written: ${error}`)
  }

  #checkSignal(): void {
    if (this.#signal.aborted)
      throw new ForebayError('FB_INTERRUPTED', 'the comparison was stopped before its end; what was mended stays mended; run it again')
  }

  #tell(): void {
    const { ranges, isRepair, onProgress } = this.#run
    const total = ranges.reduce((sum, range) => sum + offsetCount(range), 0)
    const { events, compared: rows } = this.findings
    onProgress({ doing: `${isRepair ? 'mending' : 'comparing'} ${this.#check.table}`, done: this.#offsetsDone, total, events, rows })
  }
}

function unwritten(partition: number, offset: bigint, error: string): Difference {
  return { partition, offset, identity: {}, missing: 1, extra: 0, expected: null, found: null, error }
}
