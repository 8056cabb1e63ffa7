/**
 * A Postgres table as a pipeline declares it. Jobs are rows, written in the transaction that advances the watermark.
 *
 * - Without `upsertOn`: plain inserts.
 * - With `upsertOn`: one row per key. A column of the row that is no key is merged by its mode, within a flush and with the row
 *   that is already there; a column that `merge` leaves out is `last`.
 */

/** What a column of each type takes; `columnTypes` says what is refused. Names of one type stand together. */
export interface ColumnValues {
  int2: number
  smallint: number
  int: number
  int4: number
  integer: number
  bigint: number | bigint | string
  int8: number | bigint | string
  float4: number
  real: number
  double: number
  float8: number
  /** Exact decimals: a string such as `'1.50'` keeps every digit. */
  numeric: string | number | bigint
  decimal: string | number | bigint
  boolean: boolean
  bool: boolean
  text: string
  uuid: string
  /** `'2026-11-28'`. */
  date: string
  /** `'09:30:00.000001'`. */
  time: string
  /** A `Date` is written as its time in UTC; a string such as `'2026-11-28T09:30:00.000001'` has no zone. */
  timestamp: Date | string
  /** A string such as `'2026-11-28T09:30:00.000001Z'` has its zone. */
  timestamptz: Date | string
  json: unknown
  jsonb: unknown
  bytea: Uint8Array
  inet: string
}

/** Types with sizes, and enums, by the name before the parenthesis. */
interface SizedValues {
  varchar: string
  numeric: string | number | bigint
  decimal: string | number | bigint
  time: string
  timestamp: Date | string
  timestamptz: Date | string
}

type SizedType =
  | `${Exclude<keyof SizedValues, 'numeric' | 'decimal'>}(${number})`
  | `${'numeric' | 'decimal'}(${number}${'' | `,${number}`})`
type ElementType = keyof ColumnValues | SizedType | `enum(${string})`

/** A trailing `[]` or `[][]` makes an array of it, a trailing `?` a column that may be null: it takes null and undefined too. */
export type ColumnType = `${ElementType}${'' | '[]' | '[][]'}${'' | '?'}`

type LabelsOf<Labels extends string> = Labels extends `${infer First}|${infer Rest}` ? First | LabelsOf<Rest> : Labels

type ElementValue<Type extends string> = Type extends keyof ColumnValues
  ? ColumnValues[Type]
  : Type extends `enum(${infer Labels})`
    ? LabelsOf<Labels>
    : Type extends `${infer Name extends keyof SizedValues}(${string})`
      ? SizedValues[Name]
      : never

type ArrayValue<Type extends string> = Type extends `${infer Element}[][]`
  ? readonly (readonly (ElementValue<Element> | null)[])[]
  : Type extends `${infer Element}[]`
    ? readonly (ElementValue<Element> | null)[]
    : ElementValue<Type>

/** The value of a column that is declared so. An element of an array may be null. */
export type ValueOf<Type extends ColumnType> = Type extends `${infer Rest}?` ? ArrayValue<Rest> | null | undefined : ArrayValue<Type>

/** The types that differ in more than their name; `columnTypes` has the facts of each. */
export type ScalarType =
  | 'int2'
  | 'int'
  | 'bigint'
  | 'float4'
  | 'double'
  | 'numeric'
  | 'boolean'
  | 'text'
  | 'varchar'
  | 'uuid'
  | 'enum'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'json'
  | 'jsonb'
  | 'bytea'
  | 'inet'

/**
 * `last`: the value of the last job, null too. The others pass over null. `first`: the value of the first job that has one.
 * `min`, `max`: numbers, days, times, uuids, bytes, and text by its UTF-8 bytes. `add`: whole and exact numbers, each rounded to the column's
 * digits. `add-approximate`: doubles, whose sum rounds at each step, so that its last digits depend on how events fell into flushes.
 * "First" and "last" follow the order of the log within one event key; events of different keys have no order.
 */
export type MergeMode = 'first' | 'last' | 'min' | 'max' | 'add' | 'add-approximate'

export interface PostgresTableDefinition {
  /** The table's name, or `schema.table`; exactly as in the catalogue, without quotes. */
  readonly table: string
  readonly columns: Readonly<Record<string, ColumnType>>
  /** The columns of a unique index; never nullable. */
  readonly upsertOn?: readonly string[]
  readonly merge?: Readonly<Record<string, MergeMode>>
  /**
   * Columns that tell the rows of one event from those of every other, for `forebay replay --verify`; never nullable. Default:
   * `upsertOn`, else `source_partition` and `source_offset` where the table has both. Only of tables without `upsertOn`.
   */
  readonly identity?: readonly string[]
}
