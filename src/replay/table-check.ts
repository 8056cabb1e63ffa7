/**
 * The port to a table that is compared with its events, inside its own database. What is called for is gathered in temporary
 * tables of one connection: they are gone when the connection is.
 */
import type { JobLines } from '../grid/segment.ts'
import type { LedgerTransaction } from '../ledger/ledger.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import type { Comparison } from './findings.ts'

/** Offsets of a partition, the first excluded and the last included. */
export interface OffsetSpan {
  readonly partition: number
  readonly after: bigint
  readonly upTo: bigint
}

export interface Mended {
  readonly rows: number
  /** Rows that the table would not take, and why. */
  readonly refused: readonly { readonly offset: bigint; readonly error: string }[]
}

/** A table of plain inserts. Rows are known again by their identity columns. */
export interface PlainTableCheck<Tx extends LedgerTransaction> {
  readonly table: string
  /** The rows say of which event they are; otherwise rows of unknown identity cannot be seen. */
  readonly seesPosition: boolean
  /** Makes the temporary tables anew. */
  prepare(transaction: Tx): Promise<void>
  /** Lines as `expectedLine` makes them. Throws FB_BAD_JOB. */
  addRows(transaction: Tx, jobs: readonly JobLines[]): Promise<void>
  /** Events of the key that is compared. */
  addOffsets(transaction: Tx, offsets: readonly bigint[]): Promise<void>
  compare(transaction: Tx, span: OffsetSpan, listMax: number): Promise<Comparison>
  /** Inserts what is missing; looks again which that is. */
  mend(transaction: Tx, span: OffsetSpan): Promise<Mended>
}

/** A table with one row a key. */
export interface MergedTableCheck<Tx extends LedgerTransaction> {
  readonly table: string
  /** Key columns: the first fields of a line. */
  readonly keyColumns: number
  /** Merges the jobs of the log as the live table's sink does. */
  readonly sink: TransactionalSink<unknown, Tx>
  prepare(transaction: Tx): Promise<void>
  /** Marks keys as touched; lines of key fields, each ended by a newline. */
  addKeys(transaction: Tx, lines: Buffer): Promise<void>
  /** Keeps the rows of the touched keys (or every row, when `isWhole`) as this transaction sees them; resolves to their number. */
  keepRows(transaction: Tx, isWhole: boolean): Promise<number>
  compare(transaction: Tx, isWhole: boolean, listMax: number): Promise<Comparison>
}

/** A line for `addRows`. `isSpared`: dead-lettered, so it may be missing. */
export function expectedLine(at: { partition: number; offset: bigint; ordinal: number; isSpared: boolean }, text: string): string {
  return `${at.partition}\t${at.offset}\t${at.ordinal}\t${at.isSpared ? 't' : 'f'}\t${text}`
}
