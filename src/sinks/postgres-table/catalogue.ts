/**
 * Does the table in the database fit what the pipeline declares? Asked once, at start: only the database can know.
 */
import type pg from 'pg'
import { ForebayError } from '../../errors.ts'
import { own } from '../../own.ts'
import { limitOf } from './field-limit.ts'
import type { FieldLimit } from './field-limit.ts'
import type { BaseColumnType } from './postgres-table-definition.ts'
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
  readonly persistence: string
  readonly isRowSecured: boolean
}

interface ColumnRow {
  readonly name: string
  readonly type: string
  readonly quotedType: string
  /** The length, precision or scale; -1: none. */
  readonly typmod: number
  readonly labels: readonly string[] | null
  readonly isEnum: boolean
  readonly isDomain: boolean
  readonly isChecked: boolean
  /** Texts of other bytes are equal for it. */
  readonly isFolding: boolean
  /** A sequence behind its default that this role may not use. */
  readonly deniedSequence: string | null
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

const findColumns = `select a.attname as name, b.typname as type, format_type(b.oid, null) as "quotedType", b.typtype = 'e' as "isEnum",
    t.typtype = 'd' as "isDomain", case when t.typtype = 'd' then t.typtypmod else a.atttypmod end as typmod,
    (select array_agg(e.enumlabel::text) from pg_catalog.pg_enum e where e.enumtypid = b.oid) as labels,
    t.typtype = 'd' or exists (select from pg_catalog.pg_constraint c where c.conrelid = a.attrelid and c.contype = 'c' and a.attnum = any(c.conkey)) as "isChecked",
    coalesce((select not l.collisdeterministic from pg_catalog.pg_collation l where l.oid = a.attcollation), false) as "isFolding",
    (select s.oid::regclass::text from pg_catalog.pg_attrdef f join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_attrdef'::regclass and d.objid = f.oid
        join pg_catalog.pg_class s on d.refclassid = 'pg_catalog.pg_class'::regclass and s.oid = d.refobjid
      where f.adrelid = a.attrelid and f.adnum = a.attnum 
        and case when s.relkind = 'S' then not has_sequence_privilege(s.oid, 'usage, update') end limit 1) as "deniedSequence",
    a.attnotnull or t.typnotnull as "isNotNull",
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

const findRules = `select rulename as name from pg_catalog.pg_rewrite
  where ev_class = $1 and ev_enabled <> 'D' and ev_type = any(case when $2 then '{2,3}' else '{3}' end::"char"[]) order by rulename limit 1`

// Rows of a partition that is unlogged or elsewhere would not keep pace with the watermarks either.
const findOddPartition = `select c.oid::regclass::text as name, c.relkind = 'f' as "isForeign" from pg_partition_tree($1::oid) p
  join pg_catalog.pg_class c on c.oid = p.relid where c.oid <> $1 and (c.relkind = 'f' or c.relpersistence = 'u') limit 1`

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
  if (found.kind === 'f')
    fail('is a foreign table, whose rows are not written in the transaction of the watermarks; name a table of this database')
  if (found.kind !== 'r' && found.kind !== 'p') fail('is not a table (but a view, say); name the table itself')
  if (found.persistence !== 'p' && !isScratch)
    fail(
      'is unlogged or temporary: a crash of Postgres would empty it while the watermarks stay; use an ordinary table (ALTER TABLE … SET LOGGED)',
    )
  if (found.isRowSecured) fail('has row-level security for this role, which COPY cannot obey; grant the role BYPASSRLS or switch it off')
  const isUpsert = plan.key.length > 0
  if (!isScratch) await checkRewriting(client, found.oid, isUpsert, fail)
  const { rows: columns } = await client.query<ColumnRow>(findColumns, [found.oid])
  for (const column of plan.columns) {
    checkColumn(column, columns, isUpsert, fail)
    checkPrivileges(
      name,
      columns.find((one) => one.name === column.name)!,
      { isUpsert, isUpdated: isUpsert && !column.isKey },
      fail,
    )
  }
  const written = new Set(plan.columns.map((column) => column.name))
  for (const { name: other, isNotNull, isFilled, deniedSequence } of columns) {
    if (deniedSequence !== null && !written.has(other))
      fail(`fills the column "${other}" from a sequence that this role may not use; grant usage on sequence ${deniedSequence} to it`)
    if (isNotNull && !isFilled && !written.has(other))
      fail(
        `has the column "${other}", NOT NULL and without a default, which the pipeline does not write; add it to columns or give it a default`,
      )
  }
  if (isUpsert) await checkUniqueKey(client, found.oid, plan.key, fail)
  const inPlan = columns.flatMap((column) =>
    plan.columns.filter(({ name: one }) => one === column.name).map((planned) => ({ ...planned, ...column })),
  )
  const limits = inPlan.flatMap((column) => {
    const limit = limitOf(column)
    return limit === undefined ? [] : [[column.name, limit] as const]
  })
  const hasChecks = inPlan.some(({ isKey, isChecked }) => isChecked && !isKey)
  const cast = columns.filter((column) => written.has(column.name) && (column.isEnum || column.type === 'uuid'))
  // A temporary schema has another name on every connection.
  const schema = isScratch ? (plan.schema ?? found.schema) : found.schema
  const castByColumn = new Map(cast.map((column) => [column.name, column.quotedType]))
  return { schema, table: plan.table, castByColumn, limitByColumn: new Map(limits), hasChecks }
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
  if (column.isKey && isUpsert && isFoldingKey(found))
    fail(
      `has the key column "${column.name}" of type ${found.type}, for which different values are the same key (trailing spaces, rounded times, or a collation that is not deterministic); alter it to ${types[0]}`,
    )
  if (found.isGenerated) fail(`generates the column "${column.name}" itself; take it out of columns`)
  if (found.isNotNull && column.isNullable)
    fail(`has the column "${column.name}" NOT NULL, but the pipeline declares ${column.type}?; take the ? away or drop NOT NULL`)
}

/** Dates have milliseconds. */
function isFoldingKey({ type, typmod, isFolding }: ColumnRow): boolean {
  return isFolding || type === 'bpchar' || (type === 'timestamptz' && typmod >= 0 && typmod < 3)
}

function checkPrivileges(
  table: string,
  found: ColumnRow,
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

async function checkUniqueKey(client: pg.ClientBase, oid: string, key: readonly string[], fail: (what: string) => never): Promise<void> {
  const { rows } = await client.query<{ key: string[] }>(findUniqueKeys, [oid])
  const isFound = rows.some((index) => index.key.length === key.length && key.every((column) => index.key.includes(column)))
  if (!isFound) fail(`has no unique index on (${key.join(', ')}) that is neither partial nor deferrable; create one for upsertOn`)
}
