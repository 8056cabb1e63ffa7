/**
 * Finds the bad jobs of a batch by bisection, inside one transaction (rule 10): halves are tried under a savepoint until
 * a failing one holds a single job. n jobs with one bad among them cost at most 2 * log2(n) tries: once the first half is
 * written, the bad job is in the second, which is halved without trying it as a whole.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { JobLines } from '../grid/segment.ts'
import type { DeadLetter, LedgerTransaction } from '../offsets/ledger.ts'
import type { TransactionalSink } from '../sinks/sink.ts'

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
    if (second.length === 0) return first.map((lines) => deadLetterOf(lines, error))
    return writeHalves(sink, transaction, first, second)
  }
}

/** As `writeIsolating`, of a batch that was refused as a whole a moment ago: it is not tried as a whole again. */
export async function writeRefused(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  jobs: readonly JobLines[],
): Promise<DeadLetter[]> {
  const [first, second] = halvesOf(jobs)
  // A single job is tried in any case: only its own failure makes a dead letter, and tells why.
  return second.length === 0 ? writeIsolating(sink, transaction, first) : writeHalves(sink, transaction, first, second)
}

async function writeHalves(
  sink: TransactionalSink,
  transaction: LedgerTransaction,
  first: readonly JobLines[],
  second: readonly JobLines[],
): Promise<DeadLetter[]> {
  const letters = await writeIsolating(sink, transaction, first)
  const write = letters.length === 0 ? writeRefused : writeIsolating
  return [...letters, ...(await write(sink, transaction, second))]
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
    error: sentenceOf(error, 1000),
    payload: lines.bytes.subarray(0, lines.bytes.length - 1),
    isPayloadCut: false,
    isJob: true,
  }
}
