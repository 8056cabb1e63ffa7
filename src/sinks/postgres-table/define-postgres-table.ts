import { isForebayError } from '../../errors.ts'
import { rowEncoder } from './row-encoder.ts'
import type { ColumnType, MergeMode, PostgresTableDefinition, ValueOf } from './postgres-table-definition.ts'
import type { Sink, SinkContext } from '../sink.ts'
import { openPostgresTable } from './open-postgres-table.ts'
import { planTable } from './table-plan.ts'

export type Columns = Readonly<Record<string, ColumnType>>

/** A row of a table with these columns: every column is named, nullable ones may be null or undefined. */
export type RowOf<C extends Columns> = { [Name in keyof C]: ValueOf<C[Name]> }

type KeyColumn<C extends Columns> = { [Name in keyof C]: C[Name] extends `${string}?` ? never : Name }[keyof C] & string

type Whole = 'int2' | 'smallint' | 'int' | 'int4' | 'integer' | 'bigint' | 'int8'
type Exact = Whole | 'numeric' | 'decimal' | `${'numeric' | 'decimal'}(${string})`
type Double = 'double' | 'float8'
type Timed = 'date' | 'time' | 'timestamp' | 'timestamptz' | `${'time' | 'timestamp' | 'timestamptz'}(${number})`
type Ordered = Exact | Double | Timed | 'float4' | 'real' | 'text' | `varchar(${number})` | 'uuid' | 'bytea'

type ModeOf<Type extends ColumnType> =
  | 'first'
  | 'last'
  | (Type extends `${Ordered}${'' | '?'}` ? 'min' | 'max' : never)
  | (Type extends `${Exact}${'' | '?'}` ? 'add' : never)
  | (Type extends `${Double}${'' | '?'}` ? 'add-approximate' : never)

export interface PostgresTableOptions<C extends Columns, Key extends KeyColumn<C>> {
  /**
   * Type of each column that jobs fill, such as `int8`, `varchar(40)`, `enum(open|shut)`; a trailing `[]` makes it an array, a trailing `?`
   * nullable. Columns that the table fills itself (a default, an identity, generated) may be left out. The README lists the types.
   */
  readonly columns: C
  /** Key columns, of a unique index: one row each, merged. Default: plain inserts. */
  readonly upsertOn?: readonly Key[]
  /** How a column that is no key is merged with the row already there; `last` when left out. */
  readonly merge?: { readonly [Name in Exclude<keyof C, Key>]?: ModeOf<C[Name]> }
  /**
   * Columns that tell the rows of one event from those of every other, so that `forebay replay --verify` can compare. Default:
   * `upsertOn`, else `source_partition` and `source_offset` where the table has both. Only of tables without `upsertOn`.
   */
  readonly identity?: readonly KeyColumn<NoInfer<C>>[]
}

/**
 * A table of the ledger's database; rows are written in the transaction that advances the watermark, exactly once.
 * `table` is a name or `schema.table`. What only the catalogue knows is checked when a node starts (FB_CATALOGUE).
 */
export function postgresTable<const C extends Columns, const Key extends KeyColumn<C> = never>(
  table: string,
  options: PostgresTableOptions<C, Key>,
): Sink<RowOf<C>> {
  const { columns, upsertOn, merge, identity } = options
  const merged = merge as Readonly<Record<string, MergeMode>> | undefined
  const definition: PostgresTableDefinition = {
    table,
    columns,
    ...(upsertOn === undefined ? {} : { upsertOn }),
    ...(merged === undefined ? {} : { merge: merged }),
    ...(identity === undefined ? {} : { identity }),
  }
  let encode: ((row: unknown) => string) | undefined
  return Object.freeze({
    kind: 'postgres-table',
    label: `table ${table}`,
    delivery: 'exactly-once',
    traits: { table: definition },
    problems: () => tableProblems(definition),
    encode: (row: RowOf<C>) => (encode ??= rowEncoder(table, planTable(definition).columns))(row),
    open: (context: SinkContext) => openPostgresTable(definition, context),
  })
}

function tableProblems(definition: PostgresTableDefinition): string[] {
  try {
    planTable(definition)
    return []
  } catch (error) {
    if (isForebayError(error)) return [error.message]
    throw error
  }
}
