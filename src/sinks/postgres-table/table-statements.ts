/**
 * The statements that write a table. Pure.
 *
 * Three ways to the same rows: COPY for plain tables, one upsert of merged rows for tables with a key, and either of them job by
 * job where the jobs cannot be judged together. Variables of the blocks begin with `forebay_`, or a column could be taken for one.
 */
import pg from 'pg'
import { isJobStateSql } from '../../database/sql-states.ts'
import type { FoundTable } from './catalogue.ts'
import { columnTypes } from './column-types.ts'
import { printDecimal } from './field-limit.ts'
import { quotedTable } from './table-plan.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

/** What a text of the column is taken for. Arrays come as text: a list of arrays would be one array more. */
function parameterOf({ type, dimensions }: PlannedColumn): string {
  return dimensions > 0 ? 'text' : columnTypes[type].parameter
}

/** COPY of all columns, in the order of a line. */
export function copyText(plan: TablePlan, found: FoundTable): string {
  return `copy ${quotedTable(found)} (${namesOf(plan.columns)}) from stdin`
}

/** One row a key; a parameter for each column, an array of its values. */
export function upsertText(plan: TablePlan, found: FoundTable): string {
  const { columns } = plan
  const parameters = columns.map((column, i) => `$${i + 1}::${parameterOf(column)}[]`)
  const fields = columns.map((column, i) => castOf(column, `x.c${i}`, found))
  return `insert into ${quotedTable(found)} as t (${namesOf(columns)}) select ${fields.join(', ')}
    from unnest(${parameters.join(', ')}) as x (${columns.map((_, i) => `c${i}`).join(', ')}) ${conflictOf(plan)}`
}

/**
 * Whether some sum would, job by job, have gone beyond its column on its way: a parameter for each key column, then for each sum that
 * can overflow its lows and highs (`RowMerger.swings`). Undefined: no sum can.
 */
export function swingText(plan: TablePlan, found: FoundTable): string | undefined {
  const keys = plan.columns.filter((column) => column.isKey)
  const sums = plan.columns.flatMap(({ name, merge, isKey }) => {
    const { scale, unitsMax } = found.limitByColumn.get(name) ?? {}
    if (isKey || merge !== 'add' || unitsMax === undefined) return []
    return [{ old: `coalesce(t.${pg.escapeIdentifier(name)}, 0)`, max: printDecimal({ units: unitsMax, scale: scale ?? 0 }) }]
  })
  if (sums.length === 0) return undefined
  const arrays = [...keys.map((column) => `${parameterOf(column)}[]`), ...sums.flatMap(() => ['numeric[]', 'numeric[]'])]
  const fields = [...keys.map((_, i) => `k${i}`), ...sums.flatMap((_, i) => [`low${i}`, `high${i}`])]
  const isSame = keys.map(
    (column, i) => `${castOf(column, `t.${pg.escapeIdentifier(column.name)}`, found)} = ${castOf(column, `x.k${i}`, found)}`,
  )
  const isBeyond = sums.map(({ old, max }, i) => `${old} + x.low${i} < -${max} or ${old} + x.high${i} > ${max}`)
  return `select exists (select from unnest(${arrays.map((type, i) => `$${i + 1}::${type}`).join(', ')}) as x (${fields.join(', ')})
    left join ${quotedTable(found)} t on ${isSame.join(' and ')} where ${isBeyond.join(' or ')}) as "isBeyond"`
}

/** Settings of the transaction through which a block of code takes rows and gives results: it has no parameters. */
export const fieldsSetting = (column: number) => `forebay.c${column}`
export const refusedSetting = 'forebay.refused'

/**
 * A block that writes each row by itself, in order; the `fieldsSetting` of each column has its fields, an array of text.
 * `isForgiving`: rows that are refused for their data leave nothing and are told in `refusedSetting`, as an array of what
 * Postgres said with their index `at`; else the first one fails the block.
 */
export function oneByOneText(plan: TablePlan, found: FoundTable, { isForgiving }: { isForgiving: boolean }): string {
  const { columns } = plan
  const values = columns.map((column, i) => castOf(column, `forebay_row.c${i}::${parameterOf(column)}`, found))
  const insert = `insert into ${quotedTable(found)} as t (${namesOf(columns)}) values (${values.join(', ')})${plan.key.length === 0 ? '' : ` ${conflictOf(plan)}`};`
  const fields = columns.map((_, i) => `current_setting('${fieldsSetting(i)}')::text[]`)
  const rows = `select * from unnest(${fields.join(', ')}) with ordinality as x (${columns.map((_, i) => `c${i}`).join(', ')}, n)`
  const body = isForgiving ? forgiving(insert) : insert
  return `do $forebay$ declare forebay_row record; forebay_refused json[]; forebay_state text; forebay_message text; forebay_detail text;
    forebay_hint text; forebay_constraint text; begin
    for forebay_row in ${rows} order by n loop
      ${body}
    end loop;
    perform set_config('${refusedSetting}', array_to_json(coalesce(forebay_refused, '{}'))::text, true);
  end $forebay$`
}

function forgiving(insert: string): string {
  return `begin ${insert}
      exception when others then
        get stacked diagnostics forebay_state = returned_sqlstate, forebay_message = message_text, forebay_detail = pg_exception_detail,
          forebay_hint = pg_exception_hint, forebay_constraint = constraint_name;
        if not (${isJobStateSql('forebay_state', 'forebay_constraint')}) then raise; end if;
        forebay_refused := forebay_refused || json_build_object('at', forebay_row.n - 1, 'code', forebay_state, 'message', forebay_message,
          'detail', forebay_detail, 'hint', forebay_hint, 'constraint', forebay_constraint);
      end;`
}

/** A uuid, an enum or an array takes no text without a word; every other type has its cast for an insert. */
function castOf(column: PlannedColumn, field: string, found: FoundTable): string {
  const cast = found.castByColumn.get(column.name)
  return cast === undefined ? field : `${field}::${cast}`
}

function conflictOf({ columns, key }: TablePlan): string {
  const updates = columns.filter((column) => !column.isKey).map((column) => `${pg.escapeIdentifier(column.name)} = ${mergedValue(column)}`)
  const action = updates.length === 0 ? 'nothing' : `update set ${updates.join(', ')}`
  return `on conflict (${key.map((name) => pg.escapeIdentifier(name)).join(', ')}) do ${action}`
}

function mergedValue({ name, type, merge }: PlannedColumn): string {
  const column = pg.escapeIdentifier(name)
  const collation = type === 'text' || type === 'varchar' ? ' collate "C"' : ''
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
    case 'add-approximate':
      return `coalesce(${old} + ${added}, ${old}, ${added})`
  }
}

function namesOf(columns: readonly PlannedColumn[]): string {
  return columns.map((column) => pg.escapeIdentifier(column.name)).join(', ')
}
