/** Which dead letters may go, on real Postgres. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { forgetResolvedLetters, lettersForgottenMax } from '../../src/dead-letters/resolved-letters.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { createSchema } from '../../src/ledger/schema.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let pool: PostgresPool
const kept = { pipeline: 'p', topic: 't', keptMs: 3_600_000 }
const logStarts = new Map([
  [0, 50n],
  [1, 0n],
])

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  await pool.use('making the schema', (client) => createSchema(client))
  await database.query(`insert into forebay.floors (pipeline, partition, floor) values ('p', 0, 100), ('p', 1, 100)`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

async function bury(name: string, of: { partition?: number; offset: number; resolution: string | null; hoursAgo: number; topic?: string }) {
  const { partition = 0, offset, resolution, hoursAgo, topic = 't' } = of
  await database.query(
    `insert into forebay.dead_letters (pipeline, epoch, topic, partition, queue, "offset", ordinal, error, is_payload_cut, resolution, resolved_at)
     values ('p', 1, $1, $2, 0, $3, 0, $4, false, $5::text, case when $5::text is null then null else now() - $6 * interval '1 hour' end)`,
    [topic, partition, offset, name, resolution, hoursAgo],
  )
}

const left = async () =>
  (await database.query<{ error: string }>('select error from forebay.dead_letters order by error')).map(({ error }) => error)

it('lets go of resolved letters that are old, below the floor, and not needed to excuse a row that is missing', async () => {
  await bury('open', { offset: 1, resolution: null, hoursAgo: 99 })
  await bury('redriven, old', { offset: 2, resolution: 'redriven', hoursAgo: 2 })
  await bury('redriven, new', { offset: 3, resolution: 'redriven', hoursAgo: 0 })
  await bury('redriven, above the floor', { offset: 101, resolution: 'redriven', hoursAgo: 2 })
  await bury('redriven, at the floor', { offset: 100, resolution: 'redriven', hoursAgo: 2 })
  await bury('discarded, lost by the log', { offset: 49, resolution: 'discarded', hoursAgo: 2 })
  await bury('discarded, still in the log', { offset: 50, resolution: 'discarded', hoursAgo: 2 })
  await bury('discarded, in another partition', { partition: 1, offset: 5, resolution: 'discarded', hoursAgo: 2 })
  await bury('redriven, of another topic', { offset: 4, resolution: 'redriven', hoursAgo: 2, topic: 'other' })
  expect(await forgetResolvedLetters(pool, { ...kept, logStarts })).toBe(3)
  expect(await left()).toEqual([
    'discarded, in another partition',
    'discarded, still in the log',
    'open',
    'redriven, above the floor',
    'redriven, new',
    'redriven, of another topic',
  ])
})

it('keeps discarded ones of a partition whose beginning is not known, and deletes a bounded number at a time', async () => {
  await database.query('delete from forebay.dead_letters')
  await bury('discarded', { offset: 1, resolution: 'discarded', hoursAgo: 2 })
  await database.query(`insert into forebay.dead_letters (pipeline, epoch, topic, partition, queue, "offset", ordinal, error, is_payload_cut, resolution, resolved_at)
    select 'p', 1, 't', 0, 0, 2, n, 'many', false, 'redriven', now() - interval '2 hours' from generate_series(1, ${lettersForgottenMax + 5}) n`)
  expect(await forgetResolvedLetters(pool, { ...kept, logStarts: new Map() })).toBe(lettersForgottenMax)
  expect(await forgetResolvedLetters(pool, { ...kept, logStarts: new Map() })).toBe(5)
  expect(await left()).toEqual(['discarded'])
})
