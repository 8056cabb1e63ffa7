/** What the comparison of a table sees, type by type, in a real Postgres. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import { jobLinesOf } from '../../src/replay/range-converter.ts'
import { expectedLine } from '../../src/replay/table-check.ts'
import { createMergedTableCheck, createPlainTableCheck } from '../../src/replay/postgres-table-check.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let pool: PostgresPool

const definition: PostgresTableDefinition = {
  table: 'kinds',
  columns: {
    source_partition: 'int',
    source_offset: 'bigint',
    t: 'text?',
    v: 'text?',
    o: 'boolean?',
    d: 'double?',
    n: 'numeric?',
    z: 'timestamptz?',
    j: 'json?',
    b: 'json?',
    m: 'text?',
    u: 'text?',
  },
}
const full = {
  t: 'tab\tand "quote" \\ and\nline',
  v: 'abc',
  o: true,
  d: 0.1,
  n: '1.50',
  z: new Date('2026-01-31T09:30:00.123Z'),
  j: { a: [1, null, '\u0001'] },
  b: { z: 1, a: '\\' },
  m: 'calm',
  u: '7f0f7ba9-5a6c-4d2c-9f3e-0d1c2b3a4f5e',
}
const empty = { t: null, v: null, o: null, d: null, n: null, z: null, j: null, b: null, m: null, u: null }
const jobs = [0, 1, 2, 3].map((n) => ({ source_partition: 0, source_offset: BigInt(n), ...(n % 2 === 0 ? full : empty) }))

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  await database.query(`create type mood as enum ('calm', 'wild');
    create table kinds (id int generated always as identity, source_partition int, source_offset bigint, t text, v varchar(5), o boolean, d double precision,
      n numeric(9, 1), z timestamptz, j json, b jsonb, m mood, u uuid);
    create table trades (trade text not null, size int not null check (size > 0), unique (size));
    create table sums (k text primary key, total double precision, best numeric, note text)`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

const origin = { pipeline: 'p', epoch: 1, topic: 't' }

/** Compares the table with `rows`, whose n-th is of offset n; mends when asked to. */
function check(of: PostgresTableDefinition, rows: readonly unknown[], { mends = false, spared = [] as readonly number[] } = {}) {
  return pool.use('testing', async (client) => {
    const table = await createPostgresTable(of, client)
    const checked = await createPlainTableCheck(of, client, { isOfKey: false })
    await client.query('begin')
    const transaction = new PostgresTransaction(client, origin, 'testing')
    await checked.prepare(transaction)
    const texts = rows.map((row, n) =>
      expectedLine({ partition: 0, offset: BigInt(n), ordinal: 0, isSpared: spared.includes(n) }, table.encode(row)),
    )
    await checked.addRows(transaction, [jobLinesOf('a', 0, { offsets: rows.map((_, n) => BigInt(n)), timesMs: rows.map(() => 0), texts })])
    const span = { partition: 0, after: -1n, upTo: BigInt(rows.length - 1) }
    const comparison = await checked.compare(transaction, span, 10)
    const mended = mends ? await checked.mend(transaction, span) : undefined
    await client.query('commit')
    return { ...comparison, mended }
  })
}

function write(of: PostgresTableDefinition, rows: readonly unknown[]): Promise<void> {
  return pool.use('testing', async (client) => {
    const table = await createPostgresTable(of, client)
    await client.query('begin')
    const texts = rows.map((row) => table.encode(row))
    const lines = jobLinesOf('a', 0, { offsets: rows.map((_, n) => BigInt(n)), timesMs: rows.map(() => 0), texts })
    await table.write(new PostgresTransaction(client, origin, 'testing'), [lines])
    await client.query('commit')
  })
}

describe('A plain table', () => {
  beforeEach(() => database.query('truncate kinds, trades'))

  it('is found right with every type, nulls and what a column rounds', async () => {
    await write(definition, jobs)
    expect(await check(definition, jobs)).toMatchObject({ missing: 0, extra: 0, different: 0, differences: [] })
  })

  it('differs in any single column, also from or to null', async () => {
    const changes = [
      "t = 'x'",
      'v = null',
      'o = false',
      'd = 0.2',
      'n = 1.6',
      "z = z + '1ms'",
      "j = '{}'",
      "b = '{}'",
      "m = 'wild'",
      'u = null',
    ]
    for (const change of changes) {
      await database.query('truncate kinds')
      await write(definition, jobs)
      await database.query(`update kinds set ${change} where source_offset = 2`)
      const { different, missing, extra, differences } = await check(definition, jobs)
      expect({ change, different, missing, extra }).toEqual({ change, different: 1, missing: 0, extra: 0 })
      expect(differences[0]).toMatchObject({ offset: 2n, identity: { source_partition: '0', source_offset: '2' } })
      expect(differences[0]!.found).not.toEqual(differences[0]!.expected)
    }
    await database.query(`update kinds set n = 0 where source_offset = 1`)
    expect(await check(definition, jobs)).toMatchObject({ different: 2 })
  })

  it('is mended where rows are missing, but not beside a row that nothing calls for', async () => {
    await write(definition, jobs)
    await database.query(`delete from kinds where source_offset in (0, 1); update kinds set o = false where source_offset = 2`)
    expect(await check(definition, jobs, { mends: true })).toMatchObject({ missing: 2, different: 1, extra: 0, mended: { rows: 2 } })
    expect(await check(definition, jobs, { mends: true })).toMatchObject({ missing: 0, different: 1, extra: 0, mended: { rows: 0 } })
  })

  it('counts equal rows, and may lack dead letters', async () => {
    const two = [...jobs, ...jobs].map((row, n) => ({ ...row, source_offset: BigInt(n >> 1) }))
    await write(definition, two)
    expect(await check(definition, two)).toMatchObject({ missing: 0, extra: 0 })
    await database.query('delete from kinds where id = (select min(id) from kinds)')
    expect(await check(definition, two)).toMatchObject({ missing: 1, extra: 0, different: 0 })
    expect(await check(definition, two, { spared: [0, 1] })).toMatchObject({ missing: 0, extra: 0, different: 0 })
    await database.query('delete from kinds where source_offset = 0')
    expect(await check(definition, two, { spared: [0, 1] })).toMatchObject({ missing: 0, extra: 0, different: 0 })
    expect(await check(definition, two, { mends: true })).toMatchObject({ missing: 2, mended: { rows: 2 } })
  })

  it('is known by declared columns, and tells which missing row it does not take', async () => {
    const of: PostgresTableDefinition = {
      table: 'trades',
      columns: { trade: 'text', size: 'int' },
      identity: ['trade'],
    }
    const trades = ['a', 'b', 'c', 'd'].map((trade, n) => ({ trade, size: n + 1 }))
    await write(of, trades)
    await database.query(`delete from trades where trade in ('a', 'b'); insert into trades values ('stranger', 2)`)
    const { missing, extra, mended } = await check(of, trades, { mends: true })
    expect({ missing, extra }).toEqual({ missing: 2, extra: 0 })
    expect(mended).toMatchObject({ rows: 1, refused: [{ offset: 1n, error: expect.stringContaining('unique') }] })
    const nameless = { table: 'trades', columns: of.columns } as const
    await expect(check(nameless, trades)).rejects.toMatchObject({ code: 'FB_PIPELINE' })
  })
})

describe('A merged table', () => {
  const of: PostgresTableDefinition = {
    table: 'sums',
    columns: { k: 'text', total: 'double?', best: 'numeric?', note: 'text?' },
    upsertOn: ['k'],
    merge: { total: 'add-approximate', best: 'max', note: 'last' },
  }
  const adds = Array.from({ length: 60 }, (_, n) => ({ k: `k${n % 3}`, total: 0.1, best: `${n}.50`, note: n % 2 === 0 ? null : 'x' }))
  const compare = (isWhole: boolean, touched: readonly string[]) =>
    pool.use('testing', async (client) => {
      const checked = await createMergedTableCheck(of, client)
      const transaction = new PostgresTransaction(client, origin, 'testing')
      await client.query('begin')
      await checked.prepare(transaction)
      await checked.addKeys(transaction, Buffer.from(touched.map((key) => `${key}\n`).join('')))
      const rows = await checked.keepRows(transaction, isWhole)
      for (const add of adds) {
        const texts = [checked.sink.encode(add)]
        await checked.sink.write(transaction, [jobLinesOf('a', 0, { offsets: [0n], timesMs: [0], texts })])
      }
      const comparison = await checked.compare(transaction, isWhole, 10)
      await client.query('commit')
      return { rows, ...comparison }
    })

  it('is compared by the keys that are touched, or as a whole, whatever the order of adding', async () => {
    await write(of, adds)
    expect(await compare(true, [])).toMatchObject({ rows: 3, missing: 0, extra: 0, different: 0 })
    await database.query(
      `update sums set best = best + 1 where k = 'k1'; insert into sums values ('k9', 1, 1, null); delete from sums where k = 'k2'`,
    )
    expect(await compare(false, ['k0', 'k0'])).toMatchObject({ rows: 1, missing: 0, extra: 0, different: 0 })
    expect(await compare(false, ['k1', 'k2'])).toMatchObject({ rows: 1, missing: 1, extra: 0, different: 1 })
    const { differences, ...counts } = await compare(true, [])
    expect(counts).toMatchObject({ missing: 1, extra: 1, different: 1 })
    expect(differences.map(({ identity }) => identity['k']).toSorted()).toEqual(['k1', 'k2', 'k9'])
  })
})
