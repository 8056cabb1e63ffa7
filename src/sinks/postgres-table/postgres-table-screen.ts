/**
 * Finds in one statement the jobs of a batch that the table refuses: for a value of the wrong type, too long or out of range, for a
 * check, and, where each job is to be judged as if it came alone, for a unique index or a foreign key. It may overlook some: what
 * depends on triggers, for instance. Before PostgreSQL 16 the server cannot be asked, and nothing is found.
 *
 * A refusal has the words of the server; for those that it is not asked to say, they are put together here, in English.
 */
import pg from 'pg'
import { isForebayError } from '../../errors.ts'
import type { JobLines } from '../../grid/segment.ts'
import type { PostgresTransaction, Said } from '../../ledger/postgres-transaction.ts'
import { own } from '../../own.ts'
import type { FoundTable } from './catalogue.ts'
import { isSeenTo } from './column-types.ts'
import { fieldArrays } from './field-arrays.ts'
import type { RefusedJob } from '../sink.ts'
import { quotedTable } from './table-plan.ts'
import type { TablePlan } from './table-plan.ts'
import { readRules } from './postgres-table-rules.ts'
import type { Check, ForeignKey, TableRules, UniqueIndex } from './postgres-table-rules.ts'

/**
 * The jobs of `jobs` that are refused, by their index among all of them, ascending. `withOthers`: also for other rows, those of
 * the table and earlier ones of `jobs`; left out, for their values alone.
 */
export async function screen(
  plan: TablePlan,
  found: FoundTable,
  transaction: PostgresTransaction,
  jobs: readonly JobLines[],
  { withOthers = false } = {},
): Promise<RefusedJob[]> {
  const screening = screeningOf(plan, found, await readRules(transaction, found), withOthers)
  if (screening === undefined) return []
  try {
    const statement = { text: screening.text, values: fieldArrays(jobs, screening.columns) }
    const { rows } = await transaction.attempt(() => transaction.query<Said & { at: number }>(statement))
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

interface Screening {
  /** As messages name it, and as SQL does. */
  readonly name: string
  readonly table: string
  readonly columns: readonly Screened[]
  readonly checks: readonly Check[]
  readonly unique: UniqueIndex | undefined
  readonly foreignKeys: readonly ForeignKey[]
}

/** The statement, and which fields of a line are its parameters; undefined when there is nothing to be asked. */
function screeningOf(
  plan: TablePlan,
  found: FoundTable,
  rules: TableRules,
  withOthers: boolean,
): { text: string; columns: number[] } | undefined {
  const { columns } = plan
  const { types } = rules
  if (!rules.canAsk || columns.some(({ name }) => own(types, name) === undefined)) return undefined
  const checks = judgedChecks(plan, rules)
  const others = withOthers && checks.length === rules.checks.length ? judgedOthers(plan, rules) : { unique: undefined, foreignKeys: [] }
  const needed = new Set([
    ...checks.flatMap((check) => check.columns ?? []),
    ...(others.unique?.columns ?? []),
    ...others.foreignKeys.flatMap(({ keys }) => keys.map(({ column }) => column)),
  ])
  const screened = columns
    .map((column, at): Screened => ({ name: column.name, type: types[column.name]!, at, mayFail: !isSeenTo(column, types[column.name]!) }))
    .filter(({ name, mayFail }) => mayFail || needed.has(name))
  if (screened.length === 0) return undefined
  return {
    text: screenText({ name: plan.table, table: quotedTable(found), columns: screened, checks, ...others }),
    columns: screened.map(({ at }) => at),
  }
}

/** Those up to the first that cannot be judged: a row is refused for the first one that it breaks. */
function judgedChecks({ columns }: TablePlan, { checks, isEnglish, isRewriting }: TableRules): readonly Check[] {
  if (!isEnglish || isRewriting) return []
  const written = new Set(columns.map(({ name }) => name))
  return upTo(checks, (check) => check.columns?.every((name) => written.has(name)) === true)
}

/**
 * Other rows are judged where nothing else can decide in between: one unique index at most, in which a row is looked up before its
 * foreign keys are. Under a key that index is the key, which refuses nothing; a foreign key of columns that are merged is not judged, since
 * the row may never hold the job's value.
 */
function judgedOthers(plan: TablePlan, rules: TableRules): Pick<Screening, 'unique' | 'foreignKeys'> {
  const isWritten = (name: string) => plan.columns.some((column) => column.name === name && (column.isKey || column.merge === 'last'))
  const [unique, ...more] = rules.uniqueIndexes
  const isUpsert = plan.key.length > 0
  if (!rules.isPlain || !rules.isEnglish || more.length > 0) return { unique: undefined, foreignKeys: [] }
  const isJudged = unique === undefined || isUpsert || (unique.isJudgeable && unique.columns.every(isWritten))
  if (!isJudged) return { unique: undefined, foreignKeys: [] }
  const foreignKeys = upTo(rules.foreignKeys, ({ isJudgeable, keys }) => isJudgeable && keys.every(({ column }) => isWritten(column)))
  // A row that an unknown foreign key refuses takes no place in the index.
  const isOpen = foreignKeys.length < rules.foreignKeys.length
  return { unique: isUpsert || isOpen ? undefined : unique, foreignKeys: isOpen && unique !== undefined && !isUpsert ? [] : foreignKeys }
}

function upTo<T>(all: readonly T[], isGood: (one: T) => boolean): readonly T[] {
  const end = all.findIndex((one) => !isGood(one))
  return end < 0 ? all : all.slice(0, end)
}

const { escapeIdentifier: quoted, escapeLiteral: literal } = pg
/** Names of the statement's own beside those of columns. */
const place = '"forebay:n"'

/** The steps of the statement: rows as given, with their types, and judged; then one query for each kind of refusal. */
function screenText(screening: Screening): string {
  const { columns, checks, unique, foreignKeys } = screening
  const fields = columns.map((_, i) => `c${i}`).join(', ')
  const failing = columns.flatMap(({ mayFail, type }, i) =>
    mayFail ? [`when not pg_input_is_valid(c${i}, ${literal(type)}) then ${i}`] : [],
  )
  const values = columns.map(({ name, type }, i) => `c${i}::${type} as ${quoted(name)}`).join(', ')
  const broken = checks.map(({ name, condition }) => `when not (${condition}) then ${literal(name)}`)
  const refusals = [
    failing.length > 0 ? [ofTypes(columns)] : [],
    checks.length > 0 ? [ofChecks(screening.name)] : [],
    unique === undefined ? [] : [ofUnique(unique)],
    foreignKeys.map((key, i) => ofForeignKey(screening.name, key, i, unique)),
  ].flat()
  return `with given as materialized (select n, ${fields}, ${caseOf(failing, 'int')} as bad
      from unnest(${columns.map((_, i) => `$${i + 1}::text[]`).join(', ')}) with ordinality as x (${fields}, n)
    ), typed as materialized (select n as ${place}, ${values} from given where bad is null
    ), checked as materialized (select *, ${caseOf(broken, 'text')} as "forebay:broken" from typed
    ), linked as (${linkedText(screening)}
    ), ranked as (select *, ${firstText(unique)} as "forebay:first" from linked
    ), refused (n, code, message, detail, hint, "constraint") as (${refusals.join(' union all ')}
    ) select (n - 1)::int as at, code, message, detail, hint, "constraint" from refused order by n`
}

function caseOf(branches: readonly string[], type: string): string {
  return branches.length === 0 ? `null::${type}` : `case ${branches.join(' ')} end`
}

/** Rows that their own values do not refuse, with the first foreign key that finds nothing, and whether the table has their unique key. */
function linkedText({ table, unique, foreignKeys }: Screening): string {
  const missing = foreignKeys.map(({ keys }, i) => {
    const isSet = keys.map(({ column }) => `x.${quoted(column)} is not null`).join(' and ')
    return `when ${isSet} and f${i}.${keys[0]!.parent} is null then ${i}`
  })
  const parents = foreignKeys.map(({ from, keys }, i) => {
    const isSame = keys.map(({ column, parent, operator }) => `f${i}.${parent} ${operator} x.${quoted(column)}`)
    return `left join ${from} f${i} on ${isSame.join(' and ')}`
  })
  return `select x.*, ${caseOf(missing, 'int')} as "forebay:missing", ${unique === undefined ? 'false' : `u.${quoted(unique.columns[0]!)} is not null`} as "forebay:there"
    from checked x ${parents.join(' ')} ${unique === undefined ? '' : `left join only ${table} u on ${sameKey(unique)}`} where x."forebay:broken" is null`
}

function sameKey({ columns }: UniqueIndex): string {
  return columns.map((name) => `u.${quoted(name)} operator(pg_catalog.=) x.${quoted(name)}`).join(' and ')
}

/** The first row of each unique key that nothing else refuses: it is written, those behind it are not. */
function firstText(unique: UniqueIndex | undefined): string {
  if (unique === undefined) return 'null::bigint'
  const key = unique.columns.map((name) => quoted(name)).join(', ')
  return `min(${place}) filter (where "forebay:missing" is null and not "forebay:there") over (partition by ${key})`
}

/** Whether a ranked row is in its unique index already; nulls are distinct. */
function isTaken({ columns }: UniqueIndex): string {
  const isSet = columns.map((name) => `${quoted(name)} is not null`).join(' and ')
  return `(${isSet} and ("forebay:there" or coalesce("forebay:first" < ${place}, false)))`
}

function ofTypes(columns: readonly Screened[]): string {
  const pick = (of: (column: Screened) => string) => {
    const branches = columns.flatMap((column, i) => (column.mayFail ? [`when ${i} then ${of(column)}`] : []))
    return `case bad ${branches.join(' ')} end`
  }
  const field = `case bad ${columns.flatMap(({ mayFail }, i) => (mayFail ? [`when ${i} then c${i}`] : [])).join(' ')} end`
  return `select n, e.sql_error_code, e.message || ' (column "' || ${pick(({ name }) => literal(name))} || '")', e.detail, e.hint, case e.sql_error_code when '23514' then 'of a domain' end
      from given, pg_input_error_info(${field}, ${pick(({ type }) => literal(type))}) e where bad is not null`
}

function ofChecks(table: string): string {
  const message = literal(`new row for relation "${table}" violates check constraint "`)
  return `select ${place}, '23514', ${message} || "forebay:broken" || '"', null, null, "forebay:broken" from checked where "forebay:broken" is not null`
}

function ofUnique(unique: UniqueIndex): string {
  const message = literal(`duplicate key value violates unique constraint "${unique.name}"`)
  const detail = toldKey(unique.text, unique.columns, ' already exists.')
  return `select ${place}, '23505', ${message}, ${detail}, null, ${literal(unique.name)} from ranked where ${isTaken(unique)}`
}

function ofForeignKey(table: string, { name, parent, keys, isTold }: ForeignKey, index: number, unique: UniqueIndex | undefined): string {
  const message = literal(`insert or update on table "${table}" violates foreign key constraint "${name}"`)
  const columns = keys.map(({ column }) => column)
  const end = ` is not present in table "${parent}".`
  const detail = isTold ? toldKey(columns.join(', '), columns, end) : literal(`Key${end}`)
  const isOther = unique === undefined ? '' : ` and not ${isTaken(unique)}`
  return `select ${place}, '23503', ${message}, ${detail}, null, ${literal(name)} from ranked where "forebay:missing" = ${index}${isOther}`
}

/** The key of a row as messages tell it: values are written as the server writes them. */
function toldKey(names: string, columns: readonly string[], end: string): string {
  const values = columns.map((name) => `format('%s', ${quoted(name)})`).join(` || ', ' || `)
  return `${literal(`Key (${names})=(`)} || ${values} || ${literal(`)${end}`)}`
}
