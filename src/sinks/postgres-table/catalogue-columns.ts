/** The columns of a table as the catalogue has them, domains resolved to what they are made of. */
import type pg from 'pg'
import { columnTypes, dimensionsMax, scalarTypes, typeText } from './column-types.ts'
import type { ColumnShape } from './column-types.ts'
import { charsMaxOf, numericDigits } from './field-limit.ts'
import type { ScalarType } from './postgres-table-definition.ts'

export interface FoundColumn {
  readonly name: string
  /** Of the column, or of the elements of its array: `int4`; with its schema when it is no type of Postgres itself. */
  readonly type: string
  /** What a text is cast to: `integer`, `integer[]`. */
  readonly quotedType: string
  /** The length, precision or scale; -1: none. */
  readonly typmod: number
  /** 0: no array. */
  readonly dimensions: number
  readonly labels: readonly string[] | null
  /** A check of the table or of a domain holds it. */
  readonly isChecked: boolean
  /** Texts of other bytes are equal for it. */
  readonly isFolding: boolean
  /** A sequence behind its default that this role may not use. */
  readonly deniedSequence: string | null
  readonly isNotNull: boolean
  readonly isIdentity: boolean
  readonly isFilled: boolean
  readonly isGenerated: boolean
  readonly mayInsert: boolean
  readonly mayUpdate: boolean
  readonly maySelect: boolean
}

/** The type behind `oid`, however many domains lie over it; what each of them says holds. */
const behind = (oid: string, typmod: string) => `lateral (with recursive d as (
    select t.oid, t.typtype, t.typbasetype, t.typtypmod, ${typmod} as mod, t.typndims, t.typnotnull, t.typdefault, 0 as depth
      from pg_catalog.pg_type t where t.oid = ${oid}
    union all select t.oid, t.typtype, t.typbasetype, t.typtypmod, case when d.typtypmod < 0 then d.mod else d.typtypmod end, t.typndims,
        t.typnotnull, t.typdefault, d.depth + 1
      from d join pg_catalog.pg_type t on t.oid = d.typbasetype where d.typtype = 'd'
  ) select d.oid, d.mod, d.depth > 0 as "isDomain", (select max(typndims) from d) as dims, (select bool_or(typnotnull) from d) as "isNotNull",
      (select bool_or(typdefault is not null) from d) as "isFilled" from d order by depth desc limit 1)`

const findColumns = `select a.attname as name, case when n.nspname = 'pg_catalog' then t.typname::text else format_type(t.oid, null) end as type,
    format_type(b.oid, null) as "quotedType", e.mod as typmod,
    case when b.oid = e.oid then 0 else greatest(a.attndims, b.dims, 1) end as dimensions,
    case when t.typtype = 'e' then (select array_agg(l.enumlabel::text order by l.enumsortorder) from pg_catalog.pg_enum l where l.enumtypid = t.oid) end as labels,
    b."isDomain" or e."isDomain" or exists (select from pg_catalog.pg_constraint c where c.conrelid = a.attrelid and c.contype = 'c' and a.attnum = any(c.conkey)) as "isChecked",
    coalesce((select not l.collisdeterministic from pg_catalog.pg_collation l where l.oid = a.attcollation), false) as "isFolding",
    (select s.oid::regclass::text from pg_catalog.pg_attrdef f join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_attrdef'::regclass and d.objid = f.oid
        join pg_catalog.pg_class s on d.refclassid = 'pg_catalog.pg_class'::regclass and s.oid = d.refobjid
      where f.adrelid = a.attrelid and f.adnum = a.attnum
        and case when s.relkind = 'S' then not has_sequence_privilege(s.oid, 'usage, update') end limit 1) as "deniedSequence",
    a.attnotnull or b."isNotNull" as "isNotNull", a.attidentity <> '' as "isIdentity",
    a.atthasdef or a.attidentity <> '' or b."isFilled" as "isFilled", a.attgenerated <> '' or a.attidentity = 'a' as "isGenerated",
    has_column_privilege(a.attrelid, a.attnum, 'insert') as "mayInsert", has_column_privilege(a.attrelid, a.attnum, 'update') as "mayUpdate",
    has_column_privilege(a.attrelid, a.attnum, 'select') as "maySelect"
  from pg_catalog.pg_attribute a cross join ${behind('a.atttypid', 'a.atttypmod')} b
  left join pg_catalog.pg_type l on l.typarray = b.oid
  cross join ${behind('coalesce(l.oid, b.oid)', 'b.mod')} e
  join pg_catalog.pg_type t on t.oid = e.oid join pg_catalog.pg_namespace n on n.oid = t.typnamespace
  where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`

/** `oid`: of the table. */
export async function readColumns(client: pg.ClientBase, oid: string): Promise<FoundColumn[]> {
  const { rows } = await client.query<FoundColumn>(findColumns, [oid])
  return rows
}

const reasons: Readonly<Record<string, string>> = {
  interval: 'an interval has no one text; keep it as a number of seconds',
  money: 'its text depends on the locale of the session; keep it as numeric',
  timetz: 'a time of day has no zone without a day; keep it as timestamptz',
}

export type Declaration =
  | { readonly declared: string; readonly reason?: undefined }
  | { readonly declared?: undefined; readonly reason: string }

/** What a pipeline is to declare for the column, without its question mark; or why no type fits. */
export function declarationFor({ type, typmod, dimensions, labels }: FoundColumn): Declaration {
  if (dimensions > dimensionsMax) return { reason: `an array of ${dimensions} dimensions; forebay takes ${dimensionsMax} at most` }
  const shape = scalarFor(type, typmod, labels)
  if (shape !== undefined) return { declared: typeText({ sizes: [], labels: [], ...shape, dimensions }) }
  return { reason: Object.hasOwn(reasons, type) ? reasons[type]! : `forebay has no type for ${type}` }
}

type Scalar = Pick<ColumnShape, 'type'> & Partial<Pick<ColumnShape, 'sizes' | 'labels'>>

function scalarFor(type: string, typmod: number, labels: readonly string[] | null): Scalar | undefined {
  // A label with the sign that divides them can only be told as text.
  if (labels !== null) return labels.some((label) => label.includes('|')) ? { type: 'text' } : { type: 'enum', labels }
  const charsMax = charsMaxOf(typmod)
  if (type === 'bpchar' || (type === 'varchar' && charsMax === undefined)) return { type: 'text' }
  if (type === 'varchar') return { type, sizes: [charsMax!] }
  if (type === 'numeric') return numericFor(typmod)
  if (type === 'json' || type === 'jsonb') return { type }
  const found = scalarTypes.find((one) => columnTypes[one].held[0] === type)
  return found === undefined || found === 'enum' ? undefined : { type: found, sizes: timeSizes(found, typmod) }
}

function numericFor(typmod: number): Scalar {
  const digits = numericDigits(typmod)
  // Other scales round to tens, or have more digits than the precision: no size of a declaration says so.
  if (digits === undefined || digits.scale < 0 || digits.scale > digits.precision) return { type: 'numeric' }
  return { type: 'numeric', sizes: digits.scale === 0 ? [digits.precision] : [digits.precision, digits.scale] }
}

function timeSizes(type: ScalarType, typmod: number): number[] {
  return typmod >= 0 && type.startsWith('time') ? [typmod] : []
}
