/**
 * Compares a table of the ledger's database with the rows that events call for, in that database.
 * The statements are in `table-comparison.ts`; what they compare lies in temporary tables of the connection.
 */
import type pg from 'pg'
import { ForebayError, isForebayError } from '../errors.ts'
import type { JobLines } from '../grid/segment.ts'
import type { PostgresTransaction } from '../ledger/postgres-transaction.ts'
import type { Comparison, Difference, RowText } from './findings.ts'
import type { Mended, MergedTableCheck, OffsetSpan, PlainTableCheck } from './table-check.ts'
import { checkCatalogue } from '../sinks/postgres-table/catalogue.ts'
import type { FoundTable } from '../sinks/postgres-table/catalogue.ts'
import type { PostgresTableDefinition } from '../sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../sinks/postgres-table/postgres-table.ts'
import * as comparison from '../sinks/postgres-table/table-comparison.ts'
import type { RowScope } from '../sinks/postgres-table/table-comparison.ts'
import { planTable, positionColumns } from '../sinks/postgres-table/table-plan.ts'
import type { TablePlan } from '../sinks/postgres-table/table-plan.ts'

interface ComparedRow {
  readonly identity: readonly string[]
  readonly offset: string | null
  readonly missing: number
  readonly extra: number
  readonly expected: readonly (string | null)[] | null
  readonly there: readonly (string | null)[] | null
  readonly missingSum: number
  readonly extraSum: number
  readonly differentSum: number
}

/** Throws FB_CATALOGUE when the table does not fit, FB_PIPELINE when nothing tells its rows apart. */
export async function createPlainTableCheck(
  definition: PostgresTableDefinition,
  client: pg.ClientBase,
  { isOfKey }: { isOfKey: boolean },
): Promise<PlainTableCheck<PostgresTransaction>> {
  const plan = planTable(definition)
  if (plan.identity.length === 0) {
    throw new ForebayError(
      'FB_PIPELINE',
      `postgresTable("${definition.table}"): nothing tells which row is whose, so it cannot be compared; declare identity: [columns], or add ${positionColumns.join(' and ')}.`,
    )
  }
  return new PostgresPlainCheck(definition.table, plan, await checkCatalogue(client, plan), isOfKey)
}

/** Throws FB_CATALOGUE. */
export async function createMergedTableCheck(
  definition: PostgresTableDefinition,
  client: pg.ClientBase,
): Promise<MergedTableCheck<PostgresTransaction>> {
  const plan = planTable(definition)
  const found = await checkCatalogue(client, plan)
  await client.query(comparison.createMerged(plan, found))
  const sink = await createPostgresTable({ ...definition, table: comparison.mergedTable }, client, { isScratch: true })
  return new PostgresMergedCheck(definition.table, plan, found, sink)
}

class PostgresPlainCheck implements PlainTableCheck<PostgresTransaction> {
  readonly table: string
  readonly seesPosition: boolean
  readonly #plan: TablePlan
  readonly #found: FoundTable
  readonly #scope: RowScope

  constructor(table: string, plan: TablePlan, found: FoundTable, isOfKey: boolean) {
    this.table = table
    this.#plan = plan
    this.#found = found
    this.#scope = comparison.scopeOf(plan, isOfKey)
    this.seesPosition = this.#scope.kind === 'offsets'
  }

  async prepare(transaction: PostgresTransaction): Promise<void> {
    await transaction.query({ text: comparison.createExpected(this.#plan, this.#found) })
  }

  async addRows(transaction: PostgresTransaction, jobs: readonly JobLines[]): Promise<void> {
    await transaction.copyFrom(
      comparison.copyExpected(this.#plan),
      jobs.map(({ bytes }) => bytes),
    )
  }

  async addOffsets(transaction: PostgresTransaction, offsets: readonly bigint[]): Promise<void> {
    const text = `insert into ${comparison.offsetsTable} select unnest($1::bigint[])`
    await transaction.query({ text, values: [offsets.map(String)] })
  }

  async compare(transaction: PostgresTransaction, span: OffsetSpan, listMax: number): Promise<Comparison> {
    const text = comparison.comparePlain(this.#plan, this.#found, this.#scope)
    // One row at least: the sums come with it.
    const values = [...this.#values(span), Math.max(1, listMax)]
    const { rows } = await transaction.query<ComparedRow>({ text, values })
    return comparisonOf(this.#plan, rows, listMax, span.partition)
  }

  async mend(transaction: PostgresTransaction, span: OffsetSpan): Promise<Mended> {
    const [plan, found, scope, values] = [this.#plan, this.#found, this.#scope, this.#values(span)]
    try {
      const inserted = await transaction.attempt(() => transaction.query({ text: comparison.insertMissing(plan, found, scope), values }))
      return { rows: inserted.rowCount ?? 0, refused: [] }
    } catch (error) {
      if (!isForebayError(error, 'FB_BAD_JOB')) throw error
      return this.#mendOneByOne(transaction, values)
    }
  }

  /** Some row is refused, by a unique index say: the others are written all the same. */
  async #mendOneByOne(transaction: PostgresTransaction, values: unknown[]): Promise<Mended> {
    const [plan, found] = [this.#plan, this.#found]
    const { rows } = await transaction.query<{ tid: string; offset: string }>({
      text: comparison.listMissing(plan, found, this.#scope),
      values,
    })
    const refused: { offset: bigint; error: string }[] = []
    for (const { tid, offset } of rows) {
      try {
        await transaction.attempt(() => transaction.query({ text: comparison.insertOne(plan, found), values: [tid] }))
      } catch (error) {
        if (!isForebayError(error, 'FB_BAD_JOB')) throw error
        refused.push({ offset: BigInt(offset), error: error.message })
      }
    }
    return { rows: rows.length - refused.length, refused }
  }

  #values({ partition, after, upTo }: OffsetSpan): unknown[] {
    return this.#scope.kind === 'offsets' ? [partition, String(after), String(upTo)] : []
  }
}

class PostgresMergedCheck implements MergedTableCheck<PostgresTransaction> {
  readonly table: string
  readonly keyColumns: number
  readonly sink: PostgresTable
  readonly #plan: TablePlan
  readonly #found: FoundTable

  constructor(table: string, plan: TablePlan, found: FoundTable, sink: PostgresTable) {
    this.table = table
    this.#plan = plan
    this.#found = found
    this.sink = sink
    this.keyColumns = plan.key.length
  }

  async prepare(transaction: PostgresTransaction): Promise<void> {
    await transaction.query({ text: comparison.createMerged(this.#plan, this.#found) })
  }

  async addKeys(transaction: PostgresTransaction, lines: Buffer): Promise<void> {
    await transaction.copyFrom(comparison.copyTouched(this.#plan), [lines])
  }

  async keepRows(transaction: PostgresTransaction, isWhole: boolean): Promise<number> {
    const { rowCount } = await transaction.query({ text: comparison.copyFound(this.#plan, this.#found, isWhole) })
    return rowCount ?? 0
  }

  async compare(transaction: PostgresTransaction, isWhole: boolean, listMax: number): Promise<Comparison> {
    const { rows } = await transaction.query<ComparedRow>({
      text: comparison.compareMerged(this.#plan, this.#found, isWhole),
      values: [Math.max(1, listMax)],
    })
    return comparisonOf(this.#plan, rows, listMax, null)
  }
}

function comparisonOf(plan: TablePlan, rows: readonly ComparedRow[], listMax: number, partition: number | null): Comparison {
  const [first] = rows
  if (first === undefined) return { missing: 0, extra: 0, different: 0, differences: [] }
  const names = plan.columns.map(({ name }) => name)
  const differences = rows.slice(0, listMax).map((row): Difference => ({
    partition,
    offset: row.offset === null ? null : BigInt(row.offset),
    identity: textOf(plan.identity, row.identity),
    missing: row.missing,
    extra: row.extra,
    expected: row.expected === null ? null : textOf(names, row.expected),
    found: row.there === null ? null : textOf(names, row.there),
    error: null,
  }))
  return { missing: first.missingSum, extra: first.extraSum, different: first.differentSum, differences }
}

function textOf(names: readonly string[], values: readonly (string | null)[]): RowText {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? null]))
}
