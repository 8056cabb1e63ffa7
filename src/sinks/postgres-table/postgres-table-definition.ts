/**
 * A Postgres table as a pipeline declares it. Jobs are rows, written in the transaction that advances the watermark.
 *
 * - Without `upsertOn`: plain inserts.
 * - With `upsertOn`: one row per key. A column of the row that is no key is merged by its mode, within a flush and with the row
 *   that is already there; a column that `merge` leaves out is `last`.
 */

/** What a column takes: `numeric` exact decimals (a string such as `'1.50'` keeps every digit), `json` any JSON value. */
export interface ColumnValues {
  int: number
  bigint: number | bigint
  text: string
  boolean: boolean
  double: number
  numeric: string | number | bigint
  timestamptz: Date
  json: unknown
}

export type BaseColumnType = keyof ColumnValues

/** A trailing `?` makes the column nullable: it takes null and undefined too. */
export type ColumnType = BaseColumnType | `${BaseColumnType}?`

/**
 * `last`: the value of the last job, null too. The others pass over null. `first`: the value of the first job that has one.
 * `min`, `max`: numbers, timestamps, and text by its UTF-8 bytes. `add`: whole and exact numbers, each rounded to the column's
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
