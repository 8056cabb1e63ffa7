/**
 * Writes jobs as rows one after the other, in few statements: a block of code in the server goes through them, so that none costs a
 * round trip. It takes its rows and gives its results through settings of the transaction, which every role may set; a
 * function or a temporary table would need a right. It keeps nothing between two writes.
 */
import type { JobLines } from '../../grid/segment.ts'
import type { PostgresTransaction, Said } from '../../ledger/postgres-transaction.ts'
import type { FoundTable } from './catalogue.ts'
import { fieldArrays } from './field-arrays.ts'
import type { RefusedJob } from '../sink.ts'
import type { TablePlan } from './table-plan.ts'
import { fieldsSetting, oneByOneText, refusedSetting } from './table-statements.ts'

/** Rows, and about the bytes, of one block at most. */
const rowsMax = 5000
const bytesMax = 4 * 1024 * 1024

export class OneByOne {
  readonly #fill: string
  readonly #columns: readonly number[]
  readonly #forgiving: string
  readonly #strict: string

  constructor(plan: TablePlan, found: FoundTable) {
    this.#columns = plan.columns.map((_, i) => i)
    this.#fill = `select ${this.#columns.map((i) => `set_config('${fieldsSetting(i)}', $${i + 1}, true)`).join(', ')}`
    this.#forgiving = oneByOneText(plan, found, { isForgiving: true })
    this.#strict = oneByOneText(plan, found, { isForgiving: false })
  }

  /** Writes all; the first that is refused fails the transaction, as with any statement. */
  async writeAll(transaction: PostgresTransaction, jobs: readonly JobLines[]): Promise<void> {
    for (const block of blocksOf(jobs)) await this.#run(transaction, this.#strict, block)
  }

  /** Writes what is not refused for its data; gives the others. */
  async writeEach(transaction: PostgresTransaction, jobs: readonly JobLines[]): Promise<RefusedJob[]> {
    const refused: RefusedJob[] = []
    let first = 0
    for (const block of blocksOf(jobs)) {
      await this.#run(transaction, this.#forgiving, block)
      const { rows } = await transaction.query<{ refused: string }>({ text: `select current_setting('${refusedSetting}') as refused` })
      for (const { at, ...said } of JSON.parse(rows[0]!.refused) as (Said & { at: number })[]) {
        refused.push({ index: first + at, error: transaction.sentenceOf(said) })
      }
      first += block.reduce((sum, { count }) => sum + count, 0)
    }
    return refused
  }

  async #run(transaction: PostgresTransaction, text: string, block: readonly JobLines[]): Promise<void> {
    await transaction.query({ name: `forebay-fields-${this.#columns.length}`, text: this.#fill, values: fieldArrays(block, this.#columns) })
    await transaction.query({ text })
  }
}

/** The jobs in parts that one block takes. */
function* blocksOf(jobs: readonly JobLines[]): Generator<JobLines[]> {
  let block: JobLines[] = []
  let [rows, bytes] = [0, 0]
  for (const lines of jobs.flatMap((one) => [...piecesOf(one)])) {
    if (block.length > 0 && (rows + lines.count > rowsMax || bytes + lines.bytes.length > bytesMax)) {
      yield block
      block = []
      rows = bytes = 0
    }
    block.push(lines)
    rows += lines.count
    bytes += lines.bytes.length
  }
  if (block.length > 0) yield block
}

/** In halves until each is small enough, or a single job. */
function* piecesOf(lines: JobLines): Generator<JobLines> {
  if (lines.count <= 1 || (lines.count <= rowsMax && lines.bytes.length <= bytesMax)) return yield lines
  const middle = lines.count >> 1
  yield* piecesOf(lines.slice(0, middle))
  yield* piecesOf(lines.slice(middle, lines.count))
}
