/** Rows of a `postgresTable` on their way into a real table, as a flush takes them. */
import type { JobLines } from '../../src/grid/segment.ts'
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { jobLinesOf } from '../../src/replay/range-converter.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'

export function openTable(pool: PostgresPool, definition: Omit<PostgresTableDefinition, 'kind'>): Promise<PostgresTable> {
  return pool.use('testing', (client) => createPostgresTable({ ...definition }, client))
}

/** The n-th row is of offset n. */
export function linesOf(table: PostgresTable, rows: readonly unknown[]): JobLines {
  const texts = rows.map((row) => table.encode(row))
  return jobLinesOf('a', 0, { offsets: rows.map((_, n) => BigInt(n)), timesMs: rows.map(() => 0), texts })
}

export function inTransaction<T>(pool: PostgresPool, body: (transaction: PostgresTransaction) => Promise<T>): Promise<T> {
  return pool.use('testing', async (client) => {
    await client.query('begin')
    try {
      const result = await body(new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing'))
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback')
      throw error
    }
  })
}

export function writeRows(pool: PostgresPool, table: PostgresTable, rows: readonly unknown[]): Promise<void> {
  return inTransaction(pool, (transaction) => table.write(transaction, [linesOf(table, rows)]))
}
