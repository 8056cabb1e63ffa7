/**
 * Finds the bad jobs of a batch inside one transaction (rule 10).
 *
 * A batch that was refused is screened first: the sink names in one statement what is refused by its values alone. For the rest,
 * bisection: halves are tried under a savepoint until a failing one holds a single job. n jobs with one bad among them cost at most
 * 2 * log2(n) tries: once the first half is written, the bad job is in the second, which is halved without trying it as a whole.
 * Many bad jobs would cost a try each, and more: after `triesMax` of them the sink writes the rest of the batch job by job.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { JobLines } from '../grid/segment.ts'
import type { DeadLetter, LedgerTransaction } from '../ledger/ledger.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import type { RefusedJob } from '../sinks/sink.ts'

/** Enough for two or three bad jobs in a batch of thousands. */
export const triesMax = 64

/** Writes every good job of `jobs`, in order, and returns the bad ones as dead letters. Throws what is not FB_BAD_JOB. */
export async function writeIsolating(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  jobs: readonly JobLines[],
): Promise<DeadLetter[]> {
  if (jobs.length === 0) return []
  try {
    await transaction.attempt(() => sink.write(transaction, jobs))
    return []
  } catch (error) {
    if (!isForebayError(error, 'FB_BAD_JOB')) throw error
    const [first, second] = halvesOf(jobs)
    return second.length === 0 ? first.map((lines) => deadLetterOf(lines, error)) : writeRefused(sink, transaction, jobs)
  }
}

/** As `writeIsolating`, of a batch that was refused as a whole a moment ago: it is not tried as a whole again. */
export async function writeRefused(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  jobs: readonly JobLines[],
): Promise<DeadLetter[]> {
  const bisection = new Bisection(sink, transaction)
  const screened = (await sink.screen?.(transaction, jobs)) ?? []
  if (screened.length === 0) return bisection.writeRefused(jobs)
  const others = await bisection.write(withoutJobs(jobs, screened))
  return [...lettersOf(jobs, screened), ...others]
}

class Bisection {
  readonly #sink: TransactionalSink
  readonly #transaction: LedgerTransaction
  #tries = 0

  constructor(sink: TransactionalSink, transaction: LedgerTransaction) {
    this.#sink = sink
    this.#transaction = transaction
  }

  async write(jobs: readonly JobLines[]): Promise<DeadLetter[]> {
    if (jobs.length === 0) return []
    if (this.#tries >= triesMax && this.#sink.writeEach !== undefined) {
      return lettersOf(jobs, await this.#sink.writeEach(this.#transaction, jobs))
    }
    this.#tries++
    try {
      await this.#transaction.attempt(() => this.#sink.write(this.#transaction, jobs))
      return []
    } catch (error) {
      if (!isForebayError(error, 'FB_BAD_JOB')) throw error
      const [first, second] = halvesOf(jobs)
      if (second.length === 0) return first.map((lines) => deadLetterOf(lines, error))
      return this.#writeHalves(first, second)
    }
  }

  async writeRefused(jobs: readonly JobLines[]): Promise<DeadLetter[]> {
    const [first, second] = halvesOf(jobs)
    // A single job is tried in any case: only its own failure makes a dead letter, and tells why.
    return second.length === 0 ? this.write(first) : this.#writeHalves(first, second)
  }

  async #writeHalves(first: readonly JobLines[], second: readonly JobLines[]): Promise<DeadLetter[]> {
    const letters = await this.write(first)
    return [...letters, ...(letters.length === 0 ? await this.writeRefused(second) : await this.write(second))]
  }
}

/** `refused` by section: sections with the index of their first job. */
function bySection(jobs: readonly JobLines[], refused: readonly RefusedJob[]): { lines: JobLines; refused: RefusedJob[] }[] {
  let [start, next] = [0, 0]
  return jobs.map((lines) => {
    const own: RefusedJob[] = []
    for (; next < refused.length && refused[next]!.index < start + lines.count; next++) {
      own.push({ ...refused[next]!, index: refused[next]!.index - start })
    }
    start += lines.count
    return { lines, refused: own }
  })
}

/** The runs of jobs between those of `refused`. */
function withoutJobs(jobs: readonly JobLines[], refused: readonly RefusedJob[]): JobLines[] {
  return bySection(jobs, refused).flatMap(({ lines, refused: own }) => {
    const ends = [...own.map(({ index }) => index), lines.count]
    const runs = ends.map((end, i) => [i === 0 ? 0 : ends[i - 1]! + 1, end] as const)
    return lines.slices(runs.filter(([from, to]) => from < to))
  })
}

export function lettersOf(jobs: readonly JobLines[], refused: readonly RefusedJob[]): DeadLetter[] {
  return bySection(jobs, refused).flatMap(({ lines, refused: own }) => {
    const singles = lines.slices(own.map(({ index }) => [index, index + 1] as const))
    return singles.map((single, i) => deadLetterOf(single, own[i]!.error))
  })
}

/** Two parts with half of the jobs each; the second is empty when there is but one job. */
function halvesOf(jobs: readonly JobLines[]): [JobLines[], JobLines[]] {
  const total = jobs.reduce((sum, lines) => sum + lines.count, 0)
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

function deadLetterOf(lines: JobLines, error: unknown): DeadLetter {
  const { partition, queue, task } = lines
  return {
    partition,
    queue,
    task,
    offset: lines.offset(0),
    ordinal: lines.ordinal(0),
    eventTimeMs: lines.timeMs(0),
    error: sentenceOf(error, 1000),
    payload: lines.bytes.subarray(0, lines.bytes.length - 1),
    isPayloadCut: false,
    isJob: true,
  }
}
