/**
 * Writes jobs as rows of a table of the ledger's database, in the transaction of the flush: exactly once.
 *
 * A job is a line of COPY text. Plain tables get the bytes of the segments as they are; tables with a key get one row a key, merged
 * in memory first. It keeps nothing between two flushes.
 */
import { createHash } from 'node:crypto'
import pg from 'pg'
import type { JobLines } from '../grid/segment.ts'
import type { PostgresTransaction } from '../offsets/postgres-transaction.ts'
import { checkCatalogue } from './catalogue.ts'
import type { FoundTable } from './catalogue.ts'
import { rowEncoder } from './copy-text.ts'
import { RowMerger } from './merge.ts'
import type { BaseColumnType, PostgresTableDefinition } from './postgres-table-definition.ts'
import type { TransactionalSink } from './sink.ts'
import { planTable, quotedTable } from './table-plan.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

export type PostgresTable = TransactionalSink<unknown, PostgresTransaction>

/** Rows of one upsert statement at most. */
const upsertRowsMax = 10_000

// Without the length of a varchar or the digits of a numeric: a cast would cut or round silently, an insert refuses or rounds by the column.
const parameterTypes: Readonly<Record<BaseColumnType, string>> = {
  int: 'int8',
  bigint: 'int8',
  text: 'text',
  boolean: 'bool',
  double: 'float8',
  numeric: 'numeric',
  timestamptz: 'timestamptz',
  json: 'json',
}

/**
 * Checks the definition (FB_PIPELINE) and the table in the catalogue (FB_CATALOGUE), and makes the sink. `isScratch`: the table
 * may be a temporary one.
 */
export async function createPostgresTable(
  definition: PostgresTableDefinition,
  client: pg.ClientBase,
  { isScratch = false } = {},
): Promise<PostgresTable> {
  const plan = planTable(definition)
  const found = await checkCatalogue(client, plan, { isScratch })
  const write = plan.key.length === 0 ? copyRows(plan, found) : mergeRows(plan, found)
  return { label: `table ${definition.table}`, delivery: 'exactly-once', encode: rowEncoder(definition.table, plan.columns), write }
}

function copyRows(plan: TablePlan, found: FoundTable): PostgresTable['write'] {
  const text = `copy ${quotedTable(found)} (${namesOf(plan.columns)}) from stdin`
  return async (transaction, jobs) => {
    await transaction.copyFrom(
      text,
      jobs.map((section) => section.bytes),
    )
  }
}

function mergeRows(plan: TablePlan, found: FoundTable): PostgresTable['write'] {
  const text = upsertText(plan, found)
  const name = `forebay-${createHash('sha256').update(text).digest('hex').slice(0, 24)}`
  return async (transaction, jobs: readonly JobLines[]) => {
    const merger = new RowMerger(plan.columns)
    for (const section of jobs) merger.add(section.bytes)
    for (const values of merger.batches(upsertRowsMax)) await transaction.query({ name, text, values })
  }
}

function upsertText({ columns, key }: TablePlan, found: FoundTable): string {
  const parameters = columns.map((column, i) => `$${i + 1}::${parameterTypes[column.type]}[]`)
  const fields = columns.map((column, i) => castOf(column, `x.c${i}`, found))
  const updates = columns.filter((column) => !column.isKey).map((column) => `${pg.escapeIdentifier(column.name)} = ${mergedValue(column)}`)
  const action = updates.length === 0 ? 'nothing' : `update set ${updates.join(', ')}`
  const conflict = key.map((name) => pg.escapeIdentifier(name)).join(', ')
  return `insert into ${quotedTable(found)} as t (${namesOf(columns)}) select ${fields.join(', ')}
    from unnest(${parameters.join(', ')}) as x (${columns.map((_, i) => `c${i}`).join(', ')}) on conflict (${conflict}) do ${action}`
}

/** A uuid or an enum takes no text without a word; every other type has its cast for an insert. */
function castOf(column: PlannedColumn, field: string, found: FoundTable): string {
  const cast = found.castByColumn.get(column.name)
  return cast === undefined ? field : `${field}::${cast}`
}

function mergedValue({ name, type, merge }: PlannedColumn): string {
  const column = pg.escapeIdentifier(name)
  const collation = type === 'text' ? ' collate "C"' : ''
  const [old, added] = [`t.${column}`, `excluded.${column}`]
  switch (merge) {
    case 'first':
      return `coalesce(${old}, ${added})`
    case 'last':
      return added
    case 'min':
      return `least(${old}${collation}, ${added}${collation})`
    case 'max':
      return `greatest(${old}${collation}, ${added}${collation})`
    case 'add':
      return `coalesce(${old} + ${added}, ${old}, ${added})`
  }
}

function namesOf(columns: readonly PlannedColumn[]): string {
  return columns.map((column) => pg.escapeIdentifier(column.name)).join(', ')
}
