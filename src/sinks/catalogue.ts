/**
 * Does the table in the database fit what the pipeline declares? Asked once, at start: only the database can know.
 */
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import { own } from '../own.ts'
import type { BaseColumnType } from './postgres-table-definition.ts'
import { quotedTable } from './table-plan.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

/** The table as it is in the catalogue. */
export interface FoundTable {
  readonly schema: string
  readonly table: string
  /** Columns to which a text must be cast by name, and the quoted type. */
  readonly castByColumn: ReadonlyMap<string, string>
}

interface TableRow {
  readonly oid: string
  readonly schema: string
  readonly kind: string
  readonly persistence: string
  readonly isRowSecured: boolean
}

interface ColumnRow {
  readonly name: string
  readonly type: string
  readonly quotedType: string
  readonly isEnum: boolean
  readonly isNotNull: boolean
  readonly isFilled: boolean
  readonly isGenerated: boolean
  readonly mayInsert: boolean
  readonly mayUpdate: boolean
  readonly maySelect: boolean
}

/** Types of the catalogue that hold every value of a declared type; the first is the one to advise. */
const typesOf: Readonly<Record<BaseColumnType, readonly string[]>> = {
  int: ['int4', 'int8', 'numeric'],
  bigint: ['int8', 'numeric'],
  text: ['text', 'varchar', 'bpchar', 'uuid'],
  boolean: ['bool'],
  double: ['float8'],
  numeric: ['numeric'],
  timestamptz: ['timestamptz'],
  json: ['jsonb', 'json'],
}
const declaredFor: Readonly<Record<string, string>> = {
  int4: 'int',
  int8: 'bigint',
  varchar: 'text',
  bpchar: 'text',
  uuid: 'text',
  text: 'text',
  bool: 'boolean',
  float8: 'double',
  jsonb: 'json',
  json: 'json',
}

const findTable = `select c.oid, n.nspname as schema, c.relkind as kind, c.relpersistence as persistence, row_security_active(c.oid) as "isRowSecured"
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)`

const findColumns = `select a.attname as name, b.typname as type, format_type(b.oid, null) as "quotedType", b.typtype = 'e' as "isEnum", a.attnotnull or t.typnotnull as "isNotNull",
    a.atthasdef or a.attidentity <> '' as "isFilled", a.attgenerated <> '' or a.attidentity = 'a' as "isGenerated",
    has_column_privilege(a.attrelid, a.attnum, 'insert') as "mayInsert", has_column_privilege(a.attrelid, a.attnum, 'update') as "mayUpdate",
    has_column_privilege(a.attrelid, a.attnum, 'select') as "maySelect"
  from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
  join pg_catalog.pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`

const findUniqueKeys = `select array(select a.attname::text from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k (attnum)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) as key
  from pg_catalog.pg_index i
  where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null`

/** Throws FB_CATALOGUE: one sentence that names table and column and the mend. `isScratch`: what a crash empties will do. */
export async function checkCatalogue(client: pg.ClientBase, plan: TablePlan, { isScratch = false } = {}): Promise<FoundTable> {
  const name = plan.schema === null ? plan.table : `${plan.schema}.${plan.table}`
  const fail = (what: string): never => {
    throw new ForebayError('FB_CATALOGUE', `Table ${name} ${what}.`)
  }
  const { rows: tables } = await client.query<TableRow>(findTable, [quotedTable(plan)])
  const found =
    tables[0] ??
    fail(
      `does not exist${plan.schema === null ? ' in the search_path of the connection' : ''}; create it, or correct the name in postgresTable`,
    )
  if (found.kind !== 'r' && found.kind !== 'p') fail('is not a table (but a view, say); name the table itself')
  if (found.persistence !== 'p' && !isScratch)
    fail(
      'is unlogged or temporary: a crash of Postgres would empty it while the watermarks stay; use an ordinary table (ALTER TABLE … SET LOGGED)',
    )
  if (found.isRowSecured) fail('has row-level security for this role, which COPY cannot obey; grant the role BYPASSRLS or switch it off')
  const { rows: columns } = await client.query<ColumnRow>(findColumns, [found.oid])
  const isUpsert = plan.key.length > 0
  for (const column of plan.columns) checkColumn(column, columns, isUpsert, fail)
  const written = new Set(plan.columns.map((column) => column.name))
  for (const { name: other, isNotNull, isFilled } of columns) {
    if (isNotNull && !isFilled && !written.has(other))
      fail(
        `has the column "${other}", NOT NULL and without a default, which the pipeline does not write; add it to columns or give it a default`,
      )
  }
  if (isUpsert) await checkUniqueKey(client, found.oid, plan.key, fail)
  const cast = columns.filter((column) => written.has(column.name) && (column.isEnum || column.type === 'uuid'))
  // A temporary schema has another name on every connection.
  const schema = isScratch ? (plan.schema ?? found.schema) : found.schema
  return { schema, table: plan.table, castByColumn: new Map(cast.map((column) => [column.name, column.quotedType])) }
}

function checkColumn(column: PlannedColumn, columns: readonly ColumnRow[], isUpsert: boolean, fail: (what: string) => never): void {
  const found = columns.find(({ name }) => name === column.name)
  if (found === undefined) return fail(`has no column "${column.name}"; it has ${columns.map(({ name }) => name).join(', ')}`)
  const types = typesOf[column.type]
  if (!types.includes(found.type) && !(column.type === 'text' && found.isEnum)) {
    const declared = own(declaredFor, found.type)
    const mend = declared === undefined ? `alter it to ${types[0]}` : `declare it '${declared}' or alter it to ${types[0]}`
    fail(`has the column "${column.name}" of type ${found.type}, but the pipeline declares ${column.type}; ${mend}`)
  }
  const isOrdered = column.merge === 'min' || column.merge === 'max'
  if (isUpsert && !column.isKey && isOrdered && column.type === 'text' && found.type !== 'text' && found.type !== 'varchar') {
    fail(
      `has the column "${column.name}" of type ${found.type}, of which ${column.merge} is not the order of its text; alter it to text or merge it by first or last`,
    )
  }
  if (found.isGenerated) fail(`generates the column "${column.name}" itself; take it out of columns`)
  if (found.isNotNull && column.isNullable)
    fail(`has the column "${column.name}" NOT NULL, but the pipeline declares ${column.type}?; take the ? away or drop NOT NULL`)
  checkPrivileges(found, isUpsert && !column.isKey, isUpsert, fail)
}

function checkPrivileges(found: ColumnRow, isUpdated: boolean, isUpsert: boolean, fail: (what: string) => never): void {
  const missing = []
  if (!found.mayInsert) missing.push('INSERT')
  if (isUpdated && !found.mayUpdate) missing.push('UPDATE')
  if (isUpsert && !found.maySelect) missing.push('SELECT')
  if (missing.length > 0) fail(`does not let this role ${missing.join(', ')} the column "${found.name}"; grant it ${missing.join(', ')}`)
}

async function checkUniqueKey(client: pg.ClientBase, oid: string, key: readonly string[], fail: (what: string) => never): Promise<void> {
  const { rows } = await client.query<{ key: string[] }>(findUniqueKeys, [oid])
  const isFound = rows.some((index) => index.key.length === key.length && key.every((column) => index.key.includes(column)))
  if (!isFound) fail(`has no unique index on (${key.join(', ')}) that is neither partial nor deferrable; create one for upsertOn`)
}
