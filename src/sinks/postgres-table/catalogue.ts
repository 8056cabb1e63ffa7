/**
 * Does the table in the database fit what the pipeline declares? Asked once, at start: only the database can know.
 */
import pg from 'pg'
import { ForebayError } from '../../errors.ts'
import { declarationFor, readColumns } from './catalogue-columns.ts'
import type { FoundColumn } from './catalogue-columns.ts'
import { columnTypes } from './column-types.ts'
import { arrayLimit, charsMaxOf, limitOf, numericDigits } from './field-limit.ts'
import type { FieldLimit } from './field-limit.ts'
import { quotedTable } from './table-plan.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

/** The table as it is in the catalogue. */
export interface FoundTable {
  readonly schema: string
  readonly table: string
  /** Columns to which a text must be cast by name, and the quoted type. */
  readonly castByColumn: ReadonlyMap<string, string>
  /** What columns take that do not take all of their declared type. */
  readonly limitByColumn: ReadonlyMap<string, FieldLimit>
  /** Some column that is no key is bound by a check, of the table or of its domain. */
  readonly hasChecks: boolean
}

interface TableRow {
  readonly oid: string
  readonly schema: string
  readonly kind: string
  /** A trigger of a view that writes what is inserted. */
  readonly isInsertable: boolean
  readonly persistence: string
  readonly isRowSecured: boolean
}

// A trigger of type 64 (instead of) and 4 (insert), where it fires.
const selectTable = `select c.oid, n.nspname as schema, c.relkind as kind, c.relpersistence as persistence, row_security_active(c.oid) as "isRowSecured",
    exists (select from pg_catalog.pg_trigger g where g.tgrelid = c.oid and g.tgtype & 68 = 68 and g.tgenabled in ('O', 'A')) as "isInsertable"
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)`

const findUniqueKeys = `select array(select a.attname::text from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k (attnum)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) as key
  from pg_catalog.pg_index i
  where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null`

const findRules = `select rulename as name from pg_catalog.pg_rewrite
  where ev_class = $1 and ev_enabled <> 'D' and ev_type = any(case when $2 then '{2,3}' else '{3}' end::"char"[]) order by rulename limit 1`

// Rows of a partition that is unlogged or elsewhere would not keep pace with the watermarks either.
const findOddPartition = `select c.oid::regclass::text as name, c.relkind = 'f' as "isForeign" from pg_partition_tree($1::oid) p
  join pg_catalog.pg_class c on c.oid = p.relid where c.oid <> $1 and (c.relkind = 'f' or c.relpersistence = 'u') limit 1`

/** Throws FB_CATALOGUE when there is no such table. */
export async function findTable(client: pg.ClientBase, name: Pick<TablePlan, 'schema' | 'table'>): Promise<TableRow> {
  const { rows } = await client.query<TableRow>(selectTable, [quotedTable(name)])
  if (rows[0] !== undefined) return rows[0]
  const { schema, table } = name
  const dotted = `${schema ?? ''}.${table}`
  if (schema !== null) {
    const { rows: odd } = await client.query<TableRow>(selectTable, [pg.escapeIdentifier(dotted)])
    if (odd[0] !== undefined)
      throw failure(
        name,
        `is read as the table ${table} of the schema ${schema}, which does not exist; a table with a dot in its name cannot be named, so rename it`,
      )
  }
  const where = schema === null ? ' in the search_path of the connection' : ''
  throw failure(name, `does not exist${where}; create it, or correct the name in postgresTable`)
}

function failure({ schema, table }: Pick<TablePlan, 'schema' | 'table'>, what: string): ForebayError {
  return new ForebayError('FB_CATALOGUE', `Table ${schema === null ? table : `${schema}.${table}`} ${what}.`)
}

/** Throws FB_CATALOGUE: one sentence that names table and column and the mend. `isScratch`: what a crash empties will do. */
export async function checkCatalogue(client: pg.ClientBase, plan: TablePlan, { isScratch = false } = {}): Promise<FoundTable> {
  const name = plan.schema === null ? plan.table : `${plan.schema}.${plan.table}`
  const fail = (what: string): never => {
    throw failure(plan, what)
  }
  const found = await findTable(client, plan)
  checkKind(found, plan, fail)
  if (found.persistence !== 'p' && !isScratch)
    fail(
      'is unlogged or temporary: a crash of Postgres would empty it while the watermarks stay; use an ordinary table (ALTER TABLE … SET LOGGED)',
    )
  if (found.isRowSecured) fail('has row-level security for this role, which COPY cannot obey; grant the role BYPASSRLS or switch it off')
  const isUpsert = plan.key.length > 0
  if (!isScratch) await checkRewriting(client, found.oid, isUpsert, fail)
  const columns = await readColumns(client, found.oid)
  for (const column of plan.columns) {
    checkColumn(column, columns, isUpsert, fail)
    checkPrivileges(
      name,
      columns.find((one) => one.name === column.name)!,
      { isUpsert, isUpdated: isUpsert && !column.isKey },
      fail,
    )
  }
  const names = new Set(plan.columns.map((column) => column.name))
  for (const { name: other, isNotNull, isFilled, deniedSequence } of columns) {
    if (deniedSequence !== null && !names.has(other))
      fail(`fills the column "${other}" from a sequence that this role may not use; grant usage on sequence ${deniedSequence} to it`)
    if (isNotNull && !isFilled && !names.has(other))
      fail(
        `has the column "${other}", NOT NULL and without a default, which the pipeline does not write; add it to columns or give it a default`,
      )
  }
  if (isUpsert) await checkUniqueKey(client, found.oid, plan.key, fail)
  const written = plan.columns.map((planned) => ({ planned, found: columns.find(({ name: one }) => one === planned.name)! }))
  const limits = written.flatMap(({ planned, found: column }) => {
    const limit = limitFor(planned, column)
    return limit === undefined ? [] : [[planned.name, limit] as const]
  })
  const hasChecks = written.some(({ planned, found: column }) => column.isChecked && !planned.isKey)
  const cast = written.filter(({ found: column }) => column.labels !== null || column.type === 'uuid' || column.dimensions > 0)
  // A temporary schema has another name on every connection.
  const schema = isScratch ? (plan.schema ?? found.schema) : found.schema
  const castByColumn = new Map(cast.map(({ found: column }) => [column.name, column.quotedType]))
  return { schema, table: plan.table, castByColumn, limitByColumn: new Map(limits), hasChecks }
}

/** What the encoder has seen to needs no second look. */
function limitFor({ type, sizes, merge }: PlannedColumn, found: FoundColumn): FieldLimit | undefined {
  const limit = limitOf(found)
  const isSeenTo = type === 'varchar' || type === 'enum' || type === 'uuid' || type === 'jsonb' || (type === 'numeric' && sizes.length > 0)
  if (limit === undefined || (isSeenTo && merge !== 'add')) return undefined
  return found.dimensions === 0 ? limit : arrayLimit(limit)
}

/** Ordinary and partitioned tables, and views of which a trigger takes the rows. */
function checkKind({ kind, isInsertable }: TableRow, { key }: TablePlan, fail: (what: string) => never): void {
  if (kind === 'r' || kind === 'p') return
  if (kind === 'f')
    fail('is a foreign table, whose rows are not written in the transaction of the watermarks; name a table of this database')
  if (kind === 'm') fail('is a materialized view, into which nothing can be written; name an ordinary table')
  if (kind !== 'v') fail('is not a table (but a sequence, an index or a type); name an ordinary table')
  if (!isInsertable) fail('is a view without an INSTEAD OF INSERT trigger; name the table behind it, or create the trigger')
  if (key.length > 0)
    fail('is a view, which has no unique index for upsertOn; name the table behind it, or leave upsertOn out and let the trigger merge')
}

/** Rules rewrite an INSERT, and COPY passes them by; with them, or another kind of partition, it is open what a flush writes. */
async function checkRewriting(client: pg.ClientBase, oid: string, isUpsert: boolean, fail: (what: string) => never): Promise<void> {
  const { rows: rules } = await client.query<{ name: string }>(findRules, [oid, isUpsert])
  if (rules[0] !== undefined)
    fail(`has the rule "${rules[0].name}", which rewrites or loses what is written; drop the rule (a trigger may do what it does)`)
  const { rows: partitions } = await client.query<{ name: string; isForeign: boolean }>(findOddPartition, [oid])
  const [odd] = partitions
  if (odd !== undefined)
    fail(
      odd.isForeign
        ? `has the foreign partition ${odd.name}, whose rows are not written in the transaction of the watermarks; detach it`
        : `has the unlogged partition ${odd.name}, which a crash of Postgres empties; ALTER TABLE ${odd.name} SET LOGGED`,
    )
}

function checkColumn(column: PlannedColumn, columns: readonly FoundColumn[], isUpsert: boolean, fail: (what: string) => never): void {
  const found = columns.find(({ name }) => name === column.name)
  if (found === undefined) return fail(`has no column "${column.name}"; it has ${columns.map(({ name }) => name).join(', ')}`)
  checkType(column, found, fail)
  const { type, merge } = column
  if (
    isUpsert &&
    !column.isKey &&
    (merge === 'min' || merge === 'max') &&
    type === 'text' &&
    found.type !== 'text' &&
    found.type !== 'varchar'
  ) {
    fail(
      `has the column "${column.name}" of type ${found.type}, of which ${merge} is not the order of its text; alter it to text or merge it by first or last`,
    )
  }
  if (column.isKey && isUpsert && isFoldingKey(column, found))
    fail(
      `has the key column "${column.name}" of type ${found.type}, for which different values are the same key (trailing spaces, rounded times, or a collation that is not deterministic); ${isTimed(found) ? `declare it '${declarationFor(found).declared}' or alter` : 'alter'} it to ${columnTypes[type].held[0]}`,
    )
  if (found.isGenerated) fail(`generates the column "${column.name}" itself; take it out of columns`)
  if (found.isNotNull && column.isNullable)
    fail(`has the column "${column.name}" NOT NULL, but the pipeline declares ${column.declared}; take the ? away or drop NOT NULL`)
}

function checkType(column: PlannedColumn, found: FoundColumn, fail: (what: string) => never): void {
  const { held } = columnTypes[column.type]
  const isArray = column.dimensions > 0
  const isHeld = found.labels === null ? held.includes(found.type) : column.type === 'enum' || column.type === 'text'
  const { declared, reason } = declarationFor(found)
  const name = `${found.labels === null ? found.type : `enum ${found.type}`}${'[]'.repeat(found.dimensions)}`
  if (!isHeld || isArray !== found.dimensions > 0) {
    const alter = held[0] === 'enum' ? 'an enum' : `${held[0]}${'[]'.repeat(column.dimensions)}`
    const mend =
      declared === undefined ? `${reason}; leave it out, or alter it to ${alter}` : `declare it '${declared}' or alter it to ${alter}`
    fail(`has the column "${column.name}" of type ${name}, but the pipeline declares ${column.declared}; ${mend}`)
  }
  const wider = widerThan(column, found)
  if (wider !== undefined)
    fail(
      `has the column "${column.name}" that takes ${wider}, but the pipeline declares ${column.declared}; declare it '${declared}' or alter it`,
    )
}

/** What the column takes when that is less than the sizes, or the labels, that are declared; undefined: it takes them all. */
function widerThan({ type, sizes, labels }: PlannedColumn, found: FoundColumn): string | undefined {
  if (type === 'enum' && found.labels !== null) {
    const strange = labels.filter((label) => !found.labels!.includes(label))
    return strange.length === 0 ? undefined : `${found.labels.join(', ')}, and not ${strange.join(', ')}`
  }
  const [size, scale = 0] = sizes
  if (size === undefined) return undefined
  if (type === 'varchar') {
    const charsMax = found.type === 'varchar' ? charsMaxOf(found.typmod) : undefined
    return charsMax !== undefined && charsMax < size ? `${charsMax} characters` : undefined
  }
  if (type === 'numeric') {
    const digits = numericDigits(found.typmod)
    const isNarrow = digits !== undefined && (digits.precision - digits.scale < size - scale || digits.scale < scale)
    return isNarrow ? `numeric(${digits.precision},${digits.scale})` : undefined
  }
  return found.typmod >= 0 && found.typmod < size ? `${found.typmod} digits behind the second` : undefined
}

const secondDigitsMax = 6

function isFoldingKey({ type, sizes }: PlannedColumn, found: FoundColumn): boolean {
  if (found.isFolding || found.type === 'bpchar') return true
  return isTimed(found) && type !== 'date' && found.typmod >= 0 && found.typmod < (sizes[0] ?? secondDigitsMax)
}

function isTimed({ type }: FoundColumn): boolean {
  return type === 'time' || type === 'timestamp' || type === 'timestamptz'
}

function checkPrivileges(
  table: string,
  found: FoundColumn,
  { isUpsert, isUpdated }: { isUpsert: boolean; isUpdated: boolean },
  fail: (what: string) => never,
): void {
  const missing = []
  if (!found.mayInsert) missing.push('INSERT')
  if (isUpdated && !found.mayUpdate) missing.push('UPDATE')
  if (isUpsert && !found.maySelect) missing.push('SELECT')
  if (missing.length > 0)
    fail(`does not let this role ${missing.join(', ')} the column "${found.name}"; GRANT ${missing.join(', ')} ON ${table} to it`)
}

/** Column names of the unique indexes that an upsert can use. */
export async function readUniqueKeys(client: pg.ClientBase, oid: string): Promise<string[][]> {
  const { rows } = await client.query<{ key: string[] }>(findUniqueKeys, [oid])
  return rows.map(({ key }) => key)
}

async function checkUniqueKey(client: pg.ClientBase, oid: string, key: readonly string[], fail: (what: string) => never): Promise<void> {
  const keys = await readUniqueKeys(client, oid)
  const isFound = keys.some((one) => one.length === key.length && key.every((column) => one.includes(column)))
  if (!isFound) fail(`has no unique index on (${key.join(', ')}) that is neither partial nor deferrable; create one for upsertOn`)
}
