/**
 * Writes jobs as rows of a table of the ledger's database, in the transaction of the flush: exactly once.
 *
 * A job is a line of COPY text. Plain tables get the bytes of the segments as they are; tables with a key get one row a key, merged
 * in memory first. It keeps nothing between two flushes.
 */
import { createHash } from 'node:crypto'
import type pg from 'pg'
import { ForebayError } from '../../errors.ts'
import type { PostgresTransaction } from '../../ledger/postgres-transaction.ts'
import { checkCatalogue } from './catalogue.ts'
import type { FoundTable } from './catalogue.ts'
import { rowEncoder } from './row-encoder.ts'
import { RowMerger } from './merge.ts'
import type { PostgresTableDefinition } from './postgres-table-definition.ts'
import { OneByOne } from './postgres-table-one-by-one.ts'
import { screen } from './postgres-table-screen.ts'
import type { TransactionalSink } from '../running-sink.ts'
import type { RefusedJob } from '../sink.ts'
import { planTable } from './table-plan.ts'
import type { TablePlan } from './table-plan.ts'
import { copyText, swingText, upsertText } from './table-statements.ts'

export type PostgresTable = TransactionalSink<unknown, PostgresTransaction>

/** Chunks of one COPY at most that are sent as they are. */
const chunksMax = 256
/** Rows of one upsert statement at most. */
const upsertRowsMax = 10_000
const valueCharsMax = 60

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
    write: plan.key.length === 0 ? copyRows(plan, found) : mergeRows(plan, found, oneByOne),
    screen: (transaction, jobs) => screen(plan, found, transaction, jobs, { withOthers: true }),
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

/**
 * Rows of one key become one row before they are written. Where that could hide from the table what it would have refused had the
 * jobs come in several flushes, they are taken apart: what is written must not depend on how events fell into flushes.
 */
function mergeRows(plan: TablePlan, found: FoundTable, oneByOne: OneByOne): PostgresTable['write'] {
  const text = upsertText(plan, found)
  const swings = swingText(plan, found)
  const name = statementName(text)
  return async (transaction, jobs) => {
    const merger = new RowMerger(plan.columns, found.limitByColumn)
    for (const section of jobs) merger.add(section.bytes)
    if (jobs.reduce((sum, { count }) => sum + count, 0) > 1) {
      refuseMisfit(plan, merger)
      if (found.hasChecks) refuseFirst(await screen(plan, found, transaction, jobs))
      const values = swings === undefined ? undefined : merger.swings()
      if (swings !== undefined && values !== undefined) {
        const { rows } = await transaction.query<{ isBeyond: boolean }>({ name: statementName(swings), text: swings, values })
        if (found.hasChecks || rows[0]?.isBeyond === true) return oneByOne.writeAll(transaction, jobs)
      }
    }
    for (const values of merger.batches(upsertRowsMax)) await transaction.query({ name, text, values })
  }
}

function refuseMisfit({ table }: TablePlan, { misfit }: RowMerger): void {
  if (misfit === undefined) return
  const { column, value } = misfit
  throw new ForebayError(
    'FB_BAD_JOB',
    `Column "${column}" of table ${table} does not take ${JSON.stringify(value.slice(0, valueCharsMax))}, one of several jobs written together.`,
  )
}

function refuseFirst([first]: readonly RefusedJob[]): void {
  if (first !== undefined) throw new ForebayError('FB_BAD_JOB', first.error)
}

function statementName(text: string): string {
  return `forebay-${createHash('sha256').update(text).digest('hex').slice(0, 24)}`
}
