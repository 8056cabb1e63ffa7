/**
 * A table definition worked out: the order of the columns in a line, and what becomes of each. Pure.
 */
import pg from 'pg'
import { ForebayError } from '../../errors.ts'
import { own } from '../../own.ts'
import { keyTypes, parseColumnType, scalarTypes } from './column-types.ts'
import type { ColumnShape } from './column-types.ts'
import type { MergeMode, PostgresTableDefinition, ScalarType } from './postgres-table-definition.ts'

export interface PlannedColumn extends ColumnShape {
  readonly name: string
  /** As the pipeline says it. */
  readonly declared: string
  /** Key columns come first in a line. */
  readonly isKey: boolean
  /** How a column that is no key is merged; of no meaning in a table without a key. */
  readonly merge: MergeMode
}

export interface TablePlan {
  /** Null: found by the connection's search_path. */
  readonly schema: string | null
  readonly table: string
  readonly columns: readonly PlannedColumn[]
  /** Empty: plain inserts. */
  readonly key: readonly string[]
  /** Columns by which rows are found again; empty when none are declared and there is no default. */
  readonly identity: readonly string[]
}

const orderedTypes = scalarTypes.filter((type) => !['boolean', 'enum', 'json', 'jsonb', 'inet'].includes(type))
const typesByMode: Readonly<Record<MergeMode, readonly ScalarType[]>> = {
  first: scalarTypes,
  last: scalarTypes,
  min: orderedTypes,
  max: orderedTypes,
  add: ['int2', 'int', 'bigint', 'numeric'],
  'add-approximate': ['double'],
}

/** Throws FB_PIPELINE when the definition contradicts itself. */
export function planTable(definition: PostgresTableDefinition): TablePlan {
  const { table: name, columns, upsertOn = [], merge = {} } = definition
  const fail = (what: string): never => {
    throw new ForebayError('FB_PIPELINE', `postgresTable("${name}"): ${what}.`)
  }
  const parsed = parseTableName(name)
  if (parsed === undefined) return fail('the name is to be a table or schema.table')
  const names = Object.keys(columns)
  if (names.length === 0) fail('it needs at least one column')
  if (definition.upsertOn !== undefined && upsertOn.length === 0) fail('upsertOn needs at least one column; leave it out for plain inserts')
  if (definition.merge !== undefined && upsertOn.length === 0) fail('merge needs upsertOn: name the key columns')
  if (new Set(upsertOn).size < upsertOn.length) fail('upsertOn names a column twice')
  for (const column of upsertOn)
    if (!names.includes(column)) fail(`upsertOn names "${column}", which is no column; the columns are ${names.join(', ')}`)
  for (const column of Object.keys(merge)) {
    if (!names.includes(column)) fail(`merge names "${column}", which is no column; the columns are ${names.join(', ')}`)
    if (upsertOn.includes(column)) fail(`merge names "${column}", which is a key; leave it out of merge`)
  }
  const ordered = [...upsertOn, ...names.filter((column) => !upsertOn.includes(column))]
  const planned = ordered.map((column) =>
    planColumn(column, columns[column]!, { isKey: upsertOn.includes(column), merge: own(merge, column) ?? 'last' }, fail),
  )
  return { ...parsed, columns: planned, key: upsertOn, identity: identityOf(definition, planned, fail) }
}

/** The columns of a row that say from which event it is; found by their names where `identity` is left out. */
export const positionColumns = ['source_partition', 'source_offset'] as const

function identityOf(
  { identity, upsertOn }: PostgresTableDefinition,
  columns: readonly PlannedColumn[],
  fail: (what: string) => never,
): readonly string[] {
  if (identity === undefined) {
    if (upsertOn !== undefined) return upsertOn
    const isThere = positionColumns.every((name) => columns.some((column) => column.name === name && !column.isNullable))
    return isThere ? positionColumns : []
  }
  if (upsertOn !== undefined) return fail('identity is for tables without upsertOn, whose rows are known by their key; leave it out')
  if (identity.length === 0) return fail('identity needs at least one column; leave it out for source_partition and source_offset')
  if (new Set(identity).size < identity.length) return fail('identity names a column twice')
  for (const name of identity) {
    const column = columns.find((one) => one.name === name)
    if (column === undefined)
      return fail(`identity names "${name}", which is no column; the columns are ${columns.map((one) => one.name).join(', ')}`)
    if (column.isNullable) return fail(`identity column "${name}" must not be nullable; take the ? away`)
    if (!mayBeKey(column)) return fail(`identity column "${name}" is ${column.declared}; it is to be one of ${keyTypes.join(', ')}`)
  }
  return identity
}

function planColumn(
  name: string,
  declared: string,
  { isKey, merge }: { isKey: boolean; merge: MergeMode },
  fail: (what: string) => never,
): PlannedColumn {
  const shape = parseColumnType(String(declared))
  if (shape === undefined) return fail(`column "${name}" has the type "${declared}"; ${typesText}`)
  const { type, dimensions, isNullable } = shape
  if (isKey && isNullable) fail(`key column "${name}" must not be nullable; take the ? away`)
  if (isKey && !mayBeKey(shape)) fail(`key column "${name}" is ${declared}; a key is one of ${keyTypes.join(', ')}`)
  const types = own<readonly ScalarType[]>(typesByMode, merge)
  if (types === undefined) return fail(`merge mode "${merge}" of column "${name}" is none of ${Object.keys(typesByMode).join(', ')}`)
  if (merge === 'add' && type === 'double')
    fail(
      `column "${name}" adds doubles, whose sum depends on how events fell into flushes; declare it numeric (and alter the column to numeric), or say 'add-approximate' where the last digits do not matter`,
    )
  if (!types.includes(type) || (dimensions > 0 && merge !== 'first' && merge !== 'last'))
    fail(
      `merge mode "${merge}" of column "${name}" does not fit its type ${declared}; it fits ${types.join(', ')}${types === scalarTypes ? '' : ', and no array'}`,
    )
  return { ...shape, name, declared, isKey, merge }
}

const typesText = `the types are ${scalarTypes.join(', ')} (varchar(n), numeric(p,s) and enum(a|b) with what is in parentheses), with [] as an array, and with ? when it may be null`

function mayBeKey({ type, dimensions }: ColumnShape): boolean {
  return dimensions === 0 && keyTypes.includes(type)
}

/** `name` is a table or `schema.table`; a dot always divides the two. Undefined: it is none. */
export function parseTableName(name: string): { readonly schema: string | null; readonly table: string } | undefined {
  const parts = name.split('.')
  const table = parts.pop()!
  const [schema = null] = parts
  return table === '' || schema === '' || parts.length > 1 ? undefined : { schema, table }
}

/** The table as SQL names it. */
export function quotedTable({ schema, table }: { schema: string | null; table: string }): string {
  return schema === null ? pg.escapeIdentifier(table) : `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(table)}`
}
