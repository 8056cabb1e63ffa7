import type { SinkContext, SqlTransaction, WritingSink } from '../sink.ts'
import type { PostgresTransaction } from '../../ledger/postgres-transaction.ts'
import { createPostgresTable } from './postgres-table.ts'
import type { PostgresTableDefinition } from './postgres-table-definition.ts'

/** Throws FB_PIPELINE for the definition, FB_CATALOGUE for the table. */
export async function openPostgresTable(
  definition: PostgresTableDefinition,
  { database }: Pick<SinkContext, 'database'>,
): Promise<WritingSink> {
  const table = await database.use(`checking table ${definition.table}`, (client) => createPostgresTable(definition, client))
  const of = (transaction: SqlTransaction) => transaction as unknown as PostgresTransaction
  return {
    write: (transaction, { sections }) => table.write(of(transaction), sections),
    screen: (transaction, { sections }) => table.screen!(of(transaction), sections),
    writeEach: (transaction, { sections }) => table.writeEach!(of(transaction), sections),
  }
}
