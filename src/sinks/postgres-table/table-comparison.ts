/**
 * SQL that compares the rows that events call for with the rows that are there, in the database: null-safe, each row counted.
 * Pure. What is called for lies in temporary tables of the connection; their own columns begin with `forebay:`.
 */
import pg from 'pg'
import type { FoundTable } from './catalogue.ts'
import { positionColumns, quotedTable } from './table-plan.ts'
import type { PlannedColumn, TablePlan } from './table-plan.ts'

/** Rows that are called for: with partition, offset and ordinal of their job. */
export const expectedTable = 'pg_temp.forebay_expected'
/** Offsets of the events of a key. */
export const offsetsTable = 'pg_temp.forebay_offsets'
/** Keys of a merged table that the range touches. */
export const touchedTable = 'pg_temp.forebay_touched'
/** Rows of a merged table as they were when the watermarks were read. */
export const foundCopyTable = 'pg_temp.forebay_found'
/** Rows that the whole log calls for. */
export const mergedTable = 'pg_temp.forebay_merged'

/** Which rows of the live table belong to what is compared. */
export type RowScope =
  /** The table says of which event each row is: `$1` partition, `$2` and `$3` the offsets (exclusive, inclusive). */
  | { readonly kind: 'offsets'; readonly isOfKey: boolean }
  /** It does not: only rows that carry an identity which is called for. */
  | { readonly kind: 'identity' }

export function scopeOf(plan: TablePlan, isOfKey: boolean): RowScope {
  const hasPosition = positionColumns.every((name) => plan.columns.some((column) => column.name === name))
  return hasPosition ? { kind: 'offsets', isOfKey } : { kind: 'identity' }
}

/** Statements that make the empty temporary tables for a plain table. */
export function createExpected(plan: TablePlan, found: FoundTable): string {
  const own = `null::int as "forebay:partition", null::bigint as "forebay:offset", null::int as "forebay:ordinal", false as "forebay:spared"`
  return `drop table if exists ${expectedTable}, ${offsetsTable};
    create temp table forebay_expected as select ${own}, ${namesOf(plan.columns)} from ${quotedTable(found)} where false;
    create temp table forebay_offsets ("offset" bigint not null)`
}

export function copyExpected(plan: TablePlan): string {
  return `copy ${expectedTable} ("forebay:partition", "forebay:offset", "forebay:ordinal", "forebay:spared", ${namesOf(plan.columns)}) from stdin`
}

/** Statements that make the empty temporary tables for a table with a key. */
export function createMerged(plan: TablePlan, found: FoundTable): string {
  const live = quotedTable(found)
  return `drop table if exists ${touchedTable}, ${foundCopyTable}, ${mergedTable};
    create temp table forebay_touched as select ${keysOf(plan)} from ${live} where false;
    create temp table forebay_merged (like ${live} including all)`
}

export function copyTouched(plan: TablePlan): string {
  return `copy ${touchedTable} (${keysOf(plan)}) from stdin`
}

/** Copies the rows of the touched keys, or all of them. */
export function copyFound(plan: TablePlan, found: FoundTable, isWhole: boolean): string {
  const where = isWhole ? '' : `where exists (select from ${touchedTable} k where ${equalKeys(plan.key, found, 'k', 't')})`
  return `create temp table forebay_found as select ${namesOf(plan.columns)} from ${quotedTable(found)} t ${where}`
}

/**
 * Compares; one row an identity that differs: `identity` and rows as text arrays, counts, and sums over all of them. The last
 * parameter is how many are listed.
 */
export function comparePlain(plan: TablePlan, found: FoundTable, scope: RowScope): string {
  const limit = scope.kind === 'offsets' ? '$4' : '$1'
  return `with ${plainDifference(plan, found, scope)} ${listing(plan, limit)}`
}

/** Inserts what is missing, but nothing of an identity of which a row is there that is not called for. */
export function insertMissing(plan: TablePlan, found: FoundTable, scope: RowScope): string {
  return `with ${plainDifference(plan, found, scope)}, ${chosenRows(plan)}
    insert into ${quotedTable(found)} (${namesOf(plan.columns)}) select ${namesOf(plan.columns)}
    from ${expectedTable} e where e.ctid in (select tid from chosen) order by "forebay:offset", "forebay:ordinal"`
}

/** Where the rows that `insertMissing` inserts are. */
export function listMissing(plan: TablePlan, found: FoundTable, scope: RowScope): string {
  return `with ${plainDifference(plan, found, scope)}, ${chosenRows(plan)}
    select tid::text as tid, "forebay:offset"::text as "offset", "forebay:ordinal" as ordinal
    from ${expectedTable} e join chosen on e.ctid = chosen.tid order by "forebay:offset", "forebay:ordinal"`
}

/** Inserts the one row at `$1`. */
export function insertOne(plan: TablePlan, found: FoundTable): string {
  return `insert into ${quotedTable(found)} (${namesOf(plan.columns)}) select ${namesOf(plan.columns)} from ${expectedTable} where ctid = $1::tid`
}

/** As `comparePlain`, of the copies that `copyFound` and the merging of the log made; `$1` is how many are listed. */
export function compareMerged(plan: TablePlan, found: FoundTable, isWhole: boolean): string {
  const ofTouched = isWhole ? '' : `where exists (select from ${touchedTable} k where ${equalKeys(plan.key, found, 'k', 't')})`
  const expected = `select 'e' as side, null::bigint as o, false as s, null::tid as tid, ${valuesOf(plan)} from ${mergedTable} t ${ofTouched}`
  const there = `select 'f', null, false, null::tid, ${valuesOf(plan)} from ${foundCopyTable} t`
  return `with ${differenceOf(plan, expected, there)} ${listing(plan, '$1')}`
}

function plainDifference(plan: TablePlan, found: FoundTable, scope: RowScope): string {
  const expected = `select 'e' as side, "forebay:offset" as o, "forebay:spared" as s, t.ctid as tid, ${valuesOf(plan)} from ${expectedTable} t`
  const there = `select 'f', ${offsetOf(scope)}, false, null::tid, ${valuesOf(plan)} from ${quotedTable(found)} t where ${conditionOf(plan, found, scope)}`
  return differenceOf(plan, expected, there)
}

function conditionOf(plan: TablePlan, found: FoundTable, scope: RowScope): string {
  if (scope.kind === 'identity') return `exists (select from ${expectedTable} k where ${equalKeys(plan.identity, found, 'k', 't')})`
  const ofKey = scope.isOfKey ? ` and t.source_offset in (select k."offset" from ${offsetsTable} k)` : ''
  return `t.source_partition = $1 and t.source_offset > $2 and t.source_offset <= $3${ofKey}`
}

function offsetOf(scope: RowScope): string {
  return scope.kind === 'offsets' ? 't.source_offset::bigint' : 'null::bigint'
}

/** `off`: the rows of which there are not as many as there should be. Grouping takes two nulls for equal. */
function differenceOf({ columns }: TablePlan, expected: string, there: string): string {
  const all = columns.map((_, i) => `c${i}`).join(', ')
  return `counted as (
      select ${all}, min(o) as o, count(*) filter (where side = 'e' and not s) as required, count(*) filter (where side = 'e' and s) as spared,
        count(*) filter (where side = 'f') as there, array_agg(tid) filter (where side = 'e' and not s) as tids
      from (${expected} union all ${there}) x group by ${all}
    ), off as materialized (
      select ${all}, o, tids, greatest(required - there, 0) as missing, greatest(there - required - spared, 0) as extra
      from counted where there < required or there > required + spared
    )`
}

function chosenRows(plan: TablePlan): string {
  const identity = identityColumns(plan).join(', ')
  return `mendable as (select ${identity} from off group by ${identity} having sum(extra) = 0),
    chosen as (select unnest(tids[1:missing::int]) as tid from off join mendable using (${identity}) where missing > 0)`
}

function listing(plan: TablePlan, limit: string): string {
  const identity = identityColumns(plan)
  const row = `array[${plan.columns.map((_, i) => `c${i}::text`).join(', ')}]`
  // Rows of unequal text: JSON keeps them apart, where array_agg of arrays would make a matrix.
  return `, judged as (
      select array[${identity.map((c) => `${c}::text`).join(', ')}] as identity, min(o) as o, sum(missing) as missing, sum(extra) as extra,
        (array_agg(to_json(${row})) filter (where missing > 0))[1] as expected, (array_agg(to_json(${row})) filter (where extra > 0))[1] as there
      from off group by ${identity.join(', ')}
    ) select identity, o::text as "offset", missing::float8 as missing, extra::float8 as extra, expected, there,
        (sum(greatest(missing - extra, 0)) over ())::float8 as "missingSum", (sum(greatest(extra - missing, 0)) over ())::float8 as "extraSum",
        (sum(least(missing, extra)) over ())::float8 as "differentSum"
      from judged order by o, identity limit ${limit}`
}

function identityColumns({ columns, identity }: TablePlan): string[] {
  return identity.map((name) => `c${columns.findIndex((column) => column.name === name)}`)
}

function valuesOf({ columns }: TablePlan): string {
  return columns.map((column, i) => `${valueOf(column)} as c${i}`).join(', ')
}

/** json has no equality of its own; sums of doubles depend on the order of adding. */
function valueOf({ name, type, merge, isKey }: PlannedColumn): string {
  const column = `t.${pg.escapeIdentifier(name)}`
  if (type === 'json') return `${column}::text`
  if (merge === 'add-approximate' && !isKey) return `to_char(${column}, '9.999999999EEEE')`
  return column
}

/** A domain of an enum has no equality of its own, its enum has. */
function equalKeys(names: readonly string[], { castByColumn }: FoundTable, a: string, b: string): string {
  return names
    .map((name) => {
      const [column, cast] = [pg.escapeIdentifier(name), castByColumn.has(name) ? `::${castByColumn.get(name)}` : '']
      return `${a}.${column}${cast} = ${b}.${column}${cast}`
    })
    .join(' and ')
}

function keysOf({ key }: TablePlan): string {
  return key.map((name) => pg.escapeIdentifier(name)).join(', ')
}

function namesOf(columns: readonly PlannedColumn[]): string {
  return columns.map((column) => pg.escapeIdentifier(column.name)).join(', ')
}
