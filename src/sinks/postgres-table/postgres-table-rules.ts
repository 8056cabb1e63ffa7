/**
 * What a table refuses rows for, as its catalogue says at this moment: types, checks, unique indexes and foreign keys.
 *
 * Judgeable is what a statement can judge before the rows are written, with the same verdict and the same words as if each row
 * were written by itself. Triggers of the table may change rows or write others, so what they could touch is not judgeable.
 */
import type { PostgresTransaction } from '../../ledger/postgres-transaction.ts'
import type { FoundTable } from './catalogue.ts'
import { quotedTable } from './table-plan.ts'

export interface Check {
  readonly name: string
  readonly columns: readonly string[] | null
  readonly condition: string
}

export interface UniqueIndex {
  readonly name: string
  readonly columns: readonly string[]
  /** The columns as messages name them. */
  readonly text: string
  readonly isJudgeable: boolean
}

export interface ForeignKey {
  readonly name: string
  /** The table it names, as messages do. */
  readonly parent: string
  /** The same as SQL does, with `only` where its children do not count. */
  readonly from: string
  readonly keys: readonly { readonly column: string; readonly parent: string; readonly operator: string }[]
  /** Whether messages may tell values of it. */
  readonly isTold: boolean
  readonly isJudgeable: boolean
}

export interface TableRules {
  /** Whether the server can be asked what a type takes: PostgreSQL 16 and newer. */
  readonly canAsk: boolean
  /** Whether its messages are in English. */
  readonly isEnglish: boolean
  /** Types by column, as SQL writes them, with their lengths. */
  readonly types: Readonly<Record<string, string>>
  /** In the order in which they are looked at. */
  readonly checks: readonly Check[]
  /** Whether triggers may change a row before it is checked. */
  readonly isRewriting: boolean
  /** Whether it is one table, without triggers: rows are refused for what they and other rows are. */
  readonly isPlain: boolean
  readonly uniqueIndexes: readonly UniqueIndex[]
  /** In the order in which they are looked at. */
  readonly foreignKeys: readonly ForeignKey[]
}

const isFolding = (collation: string) =>
  `exists (select from pg_catalog.pg_collation l where l.oid = ${collation} and not l.collisdeterministic)`
const isEnabled = (trigger: string) => `${trigger}.tgenabled in ('O', 'A')`

const checks = `select coalesce(json_agg(json_build_object('name', c.conname, 'condition', pg_get_expr(c.conbin, c.conrelid), 'columns',
    (select json_agg(a.attname) from pg_catalog.pg_attribute a where a.attrelid = c.conrelid and a.attnum = any(c.conkey))) order by c.conname), '[]')
  from pg_catalog.pg_constraint c where c.conrelid = r.oid and c.contype = 'c'`

const triggers = `pg_catalog.pg_trigger t where not t.tgisinternal and ${isEnabled('t')}
  and (t.tgrelid = r.oid or t.tgrelid in (select p.relid from pg_partition_tree(r.oid) p))`

// A row of pg_index as JSON: before PostgreSQL 15 it does not know whether nulls are distinct.
const uniqueIndexes = `select coalesce(json_agg(json_build_object('name', x.relname, 'columns', k.columns, 'text', k.text, 'isJudgeable',
    i.indisunique and not i.indisexclusion and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null
      and m.amname = 'btree' and coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'false' and k."isUsual") order by i.indexrelid), '[]')
  from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = x.relam
  cross join lateral (select json_agg(a.attname order by k.n) as columns, string_agg(pg_get_indexdef(i.indexrelid, k.n::int, true), ', ' order by k.n) as text,
      bool_and(coalesce(o.opcdefault and not ${isFolding('k.coll')} and has_column_privilege(i.indrelid, k.attnum, 'select'), false)) as "isUsual"
    from unnest((i.indkey::int2[])[0:i.indnkeyatts - 1], i.indclass::oid[], i.indcollation::oid[]) with ordinality k (attnum, opclass, coll, n)
    left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum left join pg_catalog.pg_opclass o on o.oid = k.opclass
    where k.n <= i.indnkeyatts) k
  where i.indrelid = r.oid and i.indisready and (i.indisunique or i.indisexclusion)`

const foreignKeys = `select coalesce(json_agg(json_build_object('name', c.conname, 'parent', p.relname, 'from',
    case p.relkind when 'r' then 'only ' else '' end || p.oid::regclass, 'keys', k.keys, 'isTold', k."isTold", 'isJudgeable',
    c.confrelid <> c.conrelid and not c.condeferred and (c.confmatchtype = 's' or cardinality(c.conkey) = 1) and p.relkind in ('r', 'p')
      and not row_security_active(p.oid) and k."isUsual") order by t.tgname), '[]')
  from pg_catalog.pg_constraint c join pg_catalog.pg_class p on p.oid = c.confrelid
  join pg_catalog.pg_trigger t on t.tgconstraint = c.oid and t.tgrelid = c.conrelid and t.tgtype & 4 = 4 and ${isEnabled('t')}
  cross join lateral (select json_agg(json_build_object('column', a.attname, 'parent', quote_ident(b.attname),
        'operator', format('operator(%I.%s)', s.nspname, o.oprname)) order by k.n) as keys,
      bool_and(has_column_privilege(c.conrelid, k.own, 'select')) as "isTold",
      bool_and(has_column_privilege(c.confrelid, k.parent, 'select') and not ${isFolding('a.attcollation')} and not ${isFolding('b.attcollation')}) as "isUsual"
    from unnest(c.conkey, c.confkey, c.conpfeqop) with ordinality k (own, parent, operator, n)
    join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.own join pg_catalog.pg_attribute b on b.attrelid = c.confrelid and b.attnum = k.parent
    join pg_catalog.pg_operator o on o.oid = k.operator join pg_catalog.pg_namespace s on s.oid = o.oprnamespace) k
  where c.conrelid = r.oid and c.contype = 'f'`

const read = `select current_setting('server_version_num')::int >= 160000 as "canAsk",
    lower(current_setting('lc_messages')) ~ '^(c|posix|en[^.]*)?([.].*)?$' as "isEnglish",
    (select json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) from pg_catalog.pg_attribute a
      where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped) as types,
    (${checks}) as checks, exists (select from ${triggers} and t.tgtype & 3 = 3) as "isRewriting",
    (select k.relkind = 'r' from pg_catalog.pg_class k where k.oid = r.oid) and not exists (select from ${triggers}) as "isPlain",
    (${uniqueIndexes}) as "uniqueIndexes", (${foreignKeys}) as "foreignKeys" from (select to_regclass($1) as oid) r`

/** As of this transaction: a column that was widened a moment ago refuses nothing. */
export async function readRules(transaction: PostgresTransaction, found: FoundTable): Promise<TableRules> {
  const statement = { name: 'forebay-rules', text: read, values: [quotedTable(found)] }
  const { rows } = await transaction.query<Record<keyof TableRules, never>>(statement)
  return rows[0]!
}
