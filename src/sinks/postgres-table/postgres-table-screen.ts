/**
 * Finds in one statement the jobs of a batch that the table refuses by their values alone: of the wrong type, too long, out of
 * range, or against a check. What depends on other rows (unique indexes, foreign keys) or on triggers is not seen.
 *
 * Types and checks are read anew in each transaction: a column that was widened a moment ago refuses nothing. Before PostgreSQL 16
 * the server cannot be asked, and nothing is found.
 */
import pg from 'pg'
import { isForebayError } from '../../errors.ts'
import type { JobLines } from '../../grid/segment.ts'
import type { PostgresTransaction, Said } from '../../ledger/postgres-transaction.ts'
import { own } from '../../own.ts'
import type { FoundTable } from './catalogue.ts'
import { decodeField } from './copy-text.ts'
import type { BaseColumnType } from './postgres-table-definition.ts'
import type { RefusedJob } from '../sink.ts'
import { quotedTable } from './table-plan.ts'
import type { TablePlan } from './table-plan.ts'

interface TableRules {
  readonly canAsk: boolean
  /** Types by column, as SQL writes them, with their lengths. */
  readonly types: Readonly<Record<string, string>>
  readonly checks: readonly { readonly name: string; readonly columns: readonly string[] | null; readonly condition: string }[]
}

const readRules = `select current_setting('server_version_num')::int >= 160000 as "canAsk",
    (select json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) from pg_catalog.pg_attribute a
      where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped) as types,
    (select coalesce(json_agg(json_build_object('name', c.conname, 'condition', pg_get_expr(c.conbin, c.conrelid), 'columns',
        (select json_agg(a.attname) from pg_catalog.pg_attribute a where a.attrelid = c.conrelid and a.attnum = any(c.conkey))) order by c.conname), '[]')
      from pg_catalog.pg_constraint c where c.conrelid = to_regclass($1) and c.contype = 'c') as checks`

/** Types whose every value the encoder has seen to, by what the pipeline declares. */
const safeTypes: Readonly<Record<BaseColumnType, RegExp>> = {
  int: /^(integer|bigint|numeric)$/,
  bigint: /^(bigint|numeric)$/,
  text: /^(text|character varying)$/,
  boolean: /^boolean$/,
  double: /^double precision$/,
  numeric: /^numeric$/,
  timestamptz: /^timestamp(\(\d\))? with time zone$/,
  json: /^json$/,
}

/** The jobs of `jobs` that are refused, by their index among all of them, ascending. */
export async function screen(
  plan: TablePlan,
  found: FoundTable,
  transaction: PostgresTransaction,
  jobs: readonly JobLines[],
): Promise<RefusedJob[]> {
  const { rows: rules } = await transaction.query<Record<keyof TableRules, never>>({ text: readRules, values: [quotedTable(found)] })
  const screening = screeningOf(plan, rules[0] as unknown as TableRules)
  if (screening === undefined) return []
  const { text, columns } = screening
  const values: (string | null)[][] = columns.map(() => [])
  for (const line of jobs.flatMap((lines) => lines.lines())) {
    const fields = line.split('\t')
    columns.forEach((column, i) => values[i]!.push(decodeField(fields[column]!)))
  }
  try {
    const { rows } = await transaction.attempt(() => transaction.query<Said & { at: number }>({ text, values }))
    return rows.map(({ at, ...said }) => ({ index: at, error: transaction.sentenceOf(said) }))
  } catch (error) {
    // A check that fails by itself (a division by zero), or that needs more than the columns: then one at a time.
    if (isForebayError(error, 'FB_BAD_JOB') || isForebayError(error, 'FB_SCHEMA')) return []
    throw error
  }
}

interface Screened {
  readonly name: string
  /** As SQL writes it. */
  readonly type: string
  /** Place of its field in a line. */
  readonly at: number
  readonly mayFail: boolean
}

/** The statement, and which fields of a line are its parameters; undefined when there is nothing to be asked. */
function screeningOf(
  { columns, table }: TablePlan,
  { canAsk, types, checks }: TableRules,
): { text: string; columns: number[] } | undefined {
  const written = new Set(columns.map(({ name }) => name))
  if (!canAsk || [...written].some((name) => own(types, name) === undefined)) return undefined
  const judged = checks.filter((check) => check.columns?.every((name) => written.has(name)))
  const inChecks = new Set(judged.flatMap((check) => check.columns ?? []))
  const screened = columns
    .map(({ name, type }, at): Screened => ({ name, type: types[name]!, at, mayFail: !safeTypes[type].test(types[name]!) }))
    .filter(({ name, mayFail }) => mayFail || inChecks.has(name))
  return screened.length === 0 ? undefined : { text: screenText(table, screened, judged), columns: screened.map(({ at }) => at) }
}

function screenText(table: string, columns: readonly Screened[], checks: TableRules['checks']): string {
  const fields = columns.map((_, i) => `c${i}`).join(', ')
  const failing = columns.flatMap(({ name, type, mayFail }, i) =>
    mayFail ? [{ i, name: pg.escapeLiteral(name), type: pg.escapeLiteral(type) }] : [],
  )
  const firstBad = failing.map(({ i, type }) => `when not pg_input_is_valid(c${i}, ${type}) then ${i}`).join(' ')
  const pick = (of: (one: (typeof failing)[0]) => string) =>
    `case bad ${failing.map((one) => `when ${one.i} then ${of(one)}`).join(' ')} end`
  const values = columns.map(({ name, type }, i) => `c${i}::${type} as ${pg.escapeIdentifier(name)}`).join(', ')
  const ofTypes = `select n, e.sql_error_code, e.message || ' (column "' || ${pick(({ name }) => name)} || '")', e.detail, e.hint, null::text
      from given, pg_input_error_info(${pick(({ i }) => `c${i}`)}, ${pick(({ type }) => type)}) e where bad is not null`
  const broken = checks.map(({ name, condition }) => `when not (${condition}) then ${pg.escapeLiteral(name)}`).join(' ')
  const ofChecks = `select n, '23514', ${pg.escapeLiteral(`new row for relation "${table}" violates check constraint `)} || '"' || broken || '"', null, null, broken
      from (select "forebay:n" as n, case ${broken} end as broken from typed) x where broken is not null`
  return `with given as materialized (
      select n, ${fields}, ${failing.length === 0 ? 'null::int' : `case ${firstBad} end`} as bad
      from unnest(${columns.map((_, i) => `$${i + 1}::text[]`).join(', ')}) with ordinality as x (${fields}, n)
    ), typed as materialized (
      select n as "forebay:n", ${values} from given where bad is null
    ), refused (n, code, message, detail, hint, "constraint") as (
      ${[failing.length === 0 ? [] : ofTypes, checks.length === 0 ? [] : ofChecks].flat().join(' union all ')}
    ) select (n - 1)::int as at, code, message, detail, hint, "constraint" from refused order by n`
}
