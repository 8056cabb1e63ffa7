/**
 * Writes jobs as rows one after the other, in few statements: a block of code in the server goes through them, so that none costs a
 * round trip. It takes its rows and gives its results through settings of the transaction, which every role may set; a
 * function or a temporary table would need a right. It keeps nothing between two writes.
 */
import type { JobLines } from '../../grid/segment.ts'
import type { PostgresTransaction, Said } from '../../ledger/postgres-transaction.ts'
import type { FoundTable } from './catalogue.ts'
import { decodeField } from './copy-text.ts'
import type { RefusedJob } from '../sink.ts'
import type { TablePlan } from './table-plan.ts'
import { oneByOneText, refusedSetting, rowsSetting } from './table-statements.ts'

/** Rows, and about the characters, of one block at most. */
const rowsMax = 1000
const charsMax = 4 * 1024 * 1024

export class OneByOne {
  readonly #forgiving: string
  readonly #strict: string

  constructor(plan: TablePlan, found: FoundTable) {
    this.#forgiving = oneByOneText(plan, found, { isForgiving: true })
    this.#strict = oneByOneText(plan, found, { isForgiving: false })
  }

  /** Writes all; the first that is refused fails the transaction, as with any statement. */
  async writeAll(transaction: PostgresTransaction, jobs: readonly JobLines[]): Promise<void> {
    for (const { rows } of blocksOf(jobs)) await this.#run(transaction, this.#strict, rows)
  }

  /** Writes what is not refused for its data; gives the others. */
  async writeEach(transaction: PostgresTransaction, jobs: readonly JobLines[]): Promise<RefusedJob[]> {
    const refused: RefusedJob[] = []
    for (const { first, rows } of blocksOf(jobs)) {
      await this.#run(transaction, this.#forgiving, rows)
      const { rows: results } = await transaction.query<{ refused: string }>({
        text: `select current_setting('${refusedSetting}') as refused`,
      })
      for (const { at, ...said } of JSON.parse(results[0]!.refused) as (Said & { at: number })[]) {
        refused.push({ index: first + at, error: transaction.sentenceOf(said) })
      }
    }
    return refused
  }

  async #run(transaction: PostgresTransaction, text: string, rows: string): Promise<void> {
    await transaction.query({ text: `select set_config('${rowsSetting}', $1, true)`, values: [rows] })
    await transaction.query({ text })
  }
}

/** The jobs as JSON of the blocks; `first` is the index of a block's first job. */
function* blocksOf(jobs: readonly JobLines[]): Generator<{ first: number; rows: string }> {
  let rows: string[] = []
  let chars = 0
  let first = 0
  for (const line of jobs.flatMap((lines) => lines.lines())) {
    const row = JSON.stringify(Object.fromEntries(line.split('\t').map((field, i) => [`c${i}`, decodeField(field)])))
    if (rows.length >= rowsMax || (rows.length > 0 && chars + row.length > charsMax)) {
      yield { first, rows: `[${rows.join(',')}]` }
      first += rows.length
      rows = []
      chars = 0
    }
    rows.push(row)
    chars += row.length
  }
  if (rows.length > 0) yield { first, rows: `[${rows.join(',')}]` }
}
