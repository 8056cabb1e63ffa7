/**
 * Finds the bad jobs of a batch inside one transaction (rule 10).
 *
 * A batch that was refused is screened first: the sink names in one statement what is refused by its values alone. For the rest,
 * bisection: halves are tried under a savepoint until a failing one holds a single job. n jobs with one bad among them cost at most
 * 2 * log2(n) tries: once the first half is written, the bad job is in the second, which is halved without trying it as a whole.
 * Many bad jobs would cost a try each, and more: where they lie close, and after `triesMax` tries in any case, the sink writes the rest
 * of the batch job by job. The next batch of a task begins with what was right for the one before.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { JobLines } from '../grid/segment.ts'
import type { DeadLetter, LedgerTransaction } from '../ledger/ledger.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import type { RefusedJob } from '../sinks/sink.ts'

/** Enough for two or three bad jobs in a batch of thousands. */
export const triesMax = 64
/** Bad jobs that lie closer than so many jobs cost more tries than to write each job by itself. */
const crowdedSpan = 200
/** Fewer tell nothing yet. */
const crowdedMin = 3
/** From so many refused jobs of the last batch on the next is screened at once: a screening costs more than a try that goes well. */
const screenedMin = 20

/** What the last batches of a task were like, kept from one search to the next: a batch is like the one before it. */
export interface BadJobHabit {
  /** Jobs that were refused; then the next batch is screened before it is tried. */
  refused: number
  /** Of these the ones that no screening saw; when they lay close, the next batch is written job by job at once. */
  isCrowded: boolean
}

/** Writes every good job of `jobs`, in order, and returns the bad ones as dead letters. Throws what is not FB_BAD_JOB. */
export async function writeIsolating(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  jobs: readonly JobLines[],
  habit: BadJobHabit = { refused: 0, isCrowded: false },
): Promise<DeadLetter[]> {
  if (jobs.length === 0) return []
  if (habit.refused >= screenedMin && sink.screen !== undefined) return search(sink, transaction, jobs, { habit, isRefused: false })
  try {
    await transaction.attempt(() => sink.write(transaction, jobs))
    Object.assign(habit, { refused: 0, isCrowded: false })
    return []
  } catch (error) {
    if (!isForebayError(error, 'FB_BAD_JOB')) throw error
    return search(sink, transaction, jobs, { habit, isRefused: true, error })
  }
}

/** As `writeIsolating`, of a batch that was refused as a whole a moment ago: it is not tried as a whole again. */
export async function writeRefused(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  jobs: readonly JobLines[],
  habit: BadJobHabit = { refused: 0, isCrowded: false },
): Promise<DeadLetter[]> {
  return search(sink, transaction, jobs, { habit, isRefused: true })
}

interface Known {
  readonly habit: BadJobHabit
  /** Whether the batch was refused as a whole, and why, if that is known. */
  readonly isRefused: boolean
  readonly error?: unknown
}

async function search(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  jobs: readonly JobLines[],
  known: Known,
): Promise<DeadLetter[]> {
  const { habit, isRefused, error } = known
  const count = countOf(jobs)
  if (count === 1 && error !== undefined) return jobs.flatMap((lines) => deadLettersOf(lines, [sentenceOf(error, 1000)]))
  const bisection = new Bisection(sink, transaction, habit.isCrowded)
  const screened = (await sink.screen?.(transaction, jobs)) ?? []
  const { others, letters } = screened.length === 0 ? { others: jobs, letters: [] } : parted(jobs, screened)
  const more = await (isRefused && screened.length === 0 ? bisection.writeRefused(others) : bisection.write(others))
  Object.assign(habit, { refused: letters.length + more.length, isCrowded: bisection.isCrowded })
  return [...letters, ...more]
}

class Bisection {
  readonly #sink: TransactionalSink
  readonly #transaction: LedgerTransaction
  #isCrowded: boolean
  #tries = 0
  /** Jobs of which is known what they are, and the bad ones among them. */
  #settled = 0
  #bad = 0

  constructor(sink: TransactionalSink, transaction: LedgerTransaction, isCrowded: boolean) {
    this.#sink = sink
    this.#transaction = transaction
    this.#isCrowded = isCrowded
  }

  /** Whether bad jobs lie so close that each job is better written by itself. */
  get isCrowded(): boolean {
    return this.#bad >= crowdedMin && this.#bad * crowdedSpan > this.#settled
  }

  async write(jobs: readonly JobLines[]): Promise<DeadLetter[]> {
    if (jobs.length === 0) return []
    const isEach = this.#isCrowded || this.isCrowded || this.#tries >= triesMax
    if (isEach && this.#sink.writeEach !== undefined) return this.#writeEach(jobs)
    this.#tries++
    try {
      await this.#transaction.attempt(() => this.#sink.write(this.#transaction, jobs))
      this.#settled += countOf(jobs)
      return []
    } catch (error) {
      if (!isForebayError(error, 'FB_BAD_JOB')) throw error
      const [first, second] = halvesOf(jobs)
      if (second.length > 0) return this.#writeHalves(first, second)
      this.#settled++
      this.#bad++
      return first.flatMap((lines) => deadLettersOf(lines, [sentenceOf(error, 1000)]))
    }
  }

  async writeRefused(jobs: readonly JobLines[]): Promise<DeadLetter[]> {
    const [first, second] = halvesOf(jobs)
    // A single job is tried in any case: only its own failure makes a dead letter, and tells why.
    return second.length === 0 || this.#isCrowded ? this.write(jobs) : this.#writeHalves(first, second)
  }

  async #writeHalves(first: readonly JobLines[], second: readonly JobLines[]): Promise<DeadLetter[]> {
    const letters = await this.write(first)
    return [...letters, ...(letters.length === 0 ? await this.writeRefused(second) : await this.write(second))]
  }

  async #writeEach(jobs: readonly JobLines[]): Promise<DeadLetter[]> {
    const refused = await this.#sink.writeEach!(this.#transaction, jobs)
    this.#settled += countOf(jobs)
    this.#bad += refused.length
    return parted(jobs, refused).letters
  }
}

function countOf(jobs: readonly JobLines[]): number {
  return jobs.reduce((sum, { count }) => sum + count, 0)
}

/** The jobs that are not refused, and those that are as dead letters. */
function parted(jobs: readonly JobLines[], refused: readonly RefusedJob[]): { others: JobLines[]; letters: DeadLetter[] } {
  let [start, next] = [0, 0]
  const others: JobLines[] = []
  const letters: DeadLetter[] = []
  for (const lines of jobs) {
    const [good, bad]: [number[], number[]] = [[], []]
    const errors: string[] = []
    for (let i = 0; i < lines.count; i++) {
      if (refused[next]?.index !== start + i) good.push(i)
      else {
        bad.push(i)
        errors.push(refused[next++]!.error)
      }
    }
    start += lines.count
    if (good.length > 0) others.push(lines.pick(good))
    if (bad.length > 0) letters.push(...deadLettersOf(lines.pick(bad), errors))
  }
  return { others, letters }
}

export function lettersOf(jobs: readonly JobLines[], refused: readonly RefusedJob[]): DeadLetter[] {
  return parted(jobs, refused).letters
}

/** Two parts with half of the jobs each; the second is empty when there is but one job. */
function halvesOf(jobs: readonly JobLines[]): [JobLines[], JobLines[]] {
  const total = countOf(jobs)
  const first: JobLines[] = []
  const second: JobLines[] = []
  let room = Math.max(1, Math.floor(total / 2))
  for (const lines of jobs) {
    const taken = Math.min(room, lines.count)
    if (taken > 0) first.push(lines.slice(0, taken))
    if (taken < lines.count) second.push(lines.slice(taken, lines.count))
    room -= taken
  }
  return [first, second]
}

function deadLettersOf(lines: JobLines, errors: readonly string[]): DeadLetter[] {
  const { partition, queue, task } = lines
  return lines.lineBytes().map((bytes, i) => ({
    partition,
    queue,
    task,
    offset: lines.offset(i),
    ordinal: lines.ordinal(i),
    eventTimeMs: lines.timeMs(i),
    error: errors[i]!,
    payload: bytes.subarray(0, -1),
    isPayloadCut: false,
    isJob: true,
  }))
}
