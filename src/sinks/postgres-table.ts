/**
 * Writes jobs as rows of a table of the ledger's database, in the transaction of the flush: exactly once.
 *
 * A job is a line of COPY text. Plain tables get the bytes of the segments as they are; tables with a key get one row a key, merged
 * in memory first. It keeps nothing between two flushes.
 */
import { createHash } from 'node:crypto'
import type pg from 'pg'
import type { JobLines } from '../grid/segment.ts'
import type { PostgresTransaction } from '../offsets/postgres-transaction.ts'
import { checkCatalogue } from './catalogue.ts'
import type { FoundTable } from './catalogue.ts'
import { rowEncoder } from './copy-text.ts'
import { RowMerger } from './merge.ts'
import type { PostgresTableDefinition } from './postgres-table-definition.ts'
import { OneByOne } from './postgres-table-one-by-one.ts'
import { screen } from './postgres-table-screen.ts'
import type { TransactionalSink } from './sink.ts'
import { planTable } from './table-plan.ts'
import type { TablePlan } from './table-plan.ts'
import { copyText, upsertText } from './table-statements.ts'

export type PostgresTable = TransactionalSink<unknown, PostgresTransaction>

/** Chunks of one COPY at most that are sent as they are. */
const chunksMax = 256
/** Rows of one upsert statement at most. */
const upsertRowsMax = 10_000

/**
 * Checks the definition (FB_PIPELINE) and the table in the catalogue (FB_CATALOGUE), and makes the sink. `isScratch`: the table
 * may be a temporary one.
 */
export async function createPostgresTable(
  definition: PostgresTableDefinition,
  client: pg.ClientBase,
  { isScratch = false } = {},
): Promise<PostgresTable> {
  const plan = planTable(definition)
  const found = await checkCatalogue(client, plan, { isScratch })
  const oneByOne = new OneByOne(plan, found)
  return {
    label: `table ${definition.table}`,
    delivery: 'exactly-once',
    encode: rowEncoder(definition.table, plan.columns),
    write: plan.key.length === 0 ? copyRows(plan, found) : mergeRows(plan, found),
    screen: (transaction, jobs) => screen(plan, found, transaction, jobs),
    writeEach: (transaction, jobs) => oneByOne.writeEach(transaction, jobs),
  }
}

function copyRows(plan: TablePlan, found: FoundTable): PostgresTable['write'] {
  const text = copyText(plan, found)
  return async (transaction, jobs) => {
    const chunks = jobs.map((section) => section.bytes)
    // Each chunk waits for the socket: many small ones, the good jobs between bad ones, go together.
    await transaction.copyFrom(text, chunks.length > chunksMax ? [Buffer.concat(chunks)] : chunks)
  }
}

function mergeRows(plan: TablePlan, found: FoundTable): PostgresTable['write'] {
  const text = upsertText(plan, found)
  const name = `forebay-${createHash('sha256').update(text).digest('hex').slice(0, 24)}`
  return async (transaction, jobs: readonly JobLines[]) => {
    const merger = new RowMerger(plan.columns)
    for (const section of jobs) merger.add(section.bytes)
    for (const values of merger.batches(upsertRowsMax)) await transaction.query({ name, text, values })
  }
}
