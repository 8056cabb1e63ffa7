import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import type { PostgresPool } from '../../src/offsets/postgres-pool.ts'
import { PostgresTransaction } from '../../src/offsets/postgres-transaction.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table.ts'
import type { PostgresTable } from '../../src/sinks/postgres-table.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let pool: PostgresPool

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  await database.query(`create type mood as enum ('calm', 'wild');
    create table plain (i int, b bigint, t text, v varchar(3), o boolean, d double precision, n numeric, z timestamptz, j jsonb, m mood, u uuid);
    create table merged (k text, q int, f text, l int, mi bigint, ma numeric, ad bigint, tm text, u uuid, m mood, primary key (k, q));
    create table "Odd ""name""" ("a b" int);
    create table strict (id int generated always as identity, need int not null, given int not null default 1, small int, doubled int generated always as (small * 2) stored);
    create table partial (k int); create unique index on partial (k) where k > 0;
    create table deferred (k int unique deferrable);
    create unlogged table fleeting (k int);
    create view seen as select 1 as k;
    create table secured (k int); alter table secured enable row level security; alter table secured force row level security`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

type Definition = Omit<PostgresTableDefinition, 'kind'>

function tableOf(definition: Definition): Promise<PostgresTable> {
  return pool.use('testing', (client) => createPostgresTable({ kind: 'postgres-table', ...definition }, client))
}

/** Jobs as they arrive: through a segment. */
function sectionOf(table: PostgresTable, jobs: readonly unknown[]): JobLines {
  const text = jobs.map((job) => `${table.encode(job)}\n`).join('')
  const draft = { task: 'a', kind: 'job' as const, offsets: jobs.map((_, i) => BigInt(i)), timesMs: jobs.map(() => 0), text }
  const head = { scope: 's', partition: 0, queue: 0, owner: 'o', repair: 0, lo: -1n, hi: BigInt(jobs.length) }
  return decodeSegment(encodeSegment(head, [draft], 'secret'), 'secret')!.sections[0]!
}

function write(table: PostgresTable, ...sections: readonly (readonly unknown[])[]): Promise<void> {
  const jobs = sections.map((section) => sectionOf(table, section))
  return pool.use('testing', async (client) => {
    await client.query('begin')
    await table.write(new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing'), jobs)
    await client.query('commit')
  })
}

describe('a plain table', () => {
  const columns = {
    i: 'int',
    b: 'bigint',
    t: 'text?',
    v: 'text',
    o: 'boolean',
    d: 'double',
    n: 'numeric',
    z: 'timestamptz',
    j: 'json',
    m: 'text',
    u: 'text?',
  } as const
  const row = {
    i: -5,
    b: 2n ** 63n - 1n,
    t: 'x',
    v: 'abc',
    o: true,
    d: 1e-300,
    n: '1.50',
    z: new Date(1e12),
    j: { a: ['\\"\n', null] },
    m: 'calm',
    u: null,
  }

  it('stores every type as it was given', async () => {
    const table = await tableOf({ table: 'plain', columns })
    await write(table, [row], [{ ...row, t: null, u: '6ecd8c99-4036-403d-bf84-cf8400f67836' }])
    const rows = await database.query('select * from plain')
    expect(rows).toEqual([
      { ...row, b: '9223372036854775807' },
      { ...row, b: '9223372036854775807', t: null, u: '6ecd8c99-4036-403d-bf84-cf8400f67836' },
    ])
  })

  it('stores any text, byte for byte', async () => {
    await database.query('truncate plain')
    const table = await tableOf({ table: 'plain', columns: { i: 'int', t: 'text' } })
    const texts = fc
      .sample(fc.string({ unit: 'binary', maxLength: 60 }), { numRuns: 500, seed: 7 })
      .map((text) => text.replaceAll('\0', '\\'))
    await write(
      table,
      [...texts, '\\N', '\\.', '', 'a\\nb'].map((t, i) => ({ i, t })),
    )
    const rows = await database.query<{ t: string }>('select t from plain order by i')
    expect(rows.map(({ t }) => t)).toEqual([...texts, '\\N', '\\.', '', 'a\\nb'])
  })

  it('calls a row that the table refuses a bad job', async () => {
    const table = await tableOf({ table: 'plain', columns })
    await expect(write(table, [row, { ...row, v: 'too long' }])).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
    await expect(write(table, [row, { ...row, m: 'angry' }])).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
  })

  it('calls a table that went missing no fault of the jobs', async () => {
    await database.query('create table brief (k int)')
    const table = await tableOf({ table: 'brief', columns: { k: 'int' } })
    await database.query('drop table brief')
    await expect(write(table, [{ k: 1 }])).rejects.toMatchObject({ code: 'FB_SCHEMA' })
  })

  it('takes names that need quotes', async () => {
    await write(await tableOf({ table: 'public.Odd "name"', columns: { 'a b': 'int' } }), [{ 'a b': 3 }])
    expect(await database.query('select * from "Odd ""name"""')).toEqual([{ 'a b': 3 }])
  })
})

describe('a table with a key', () => {
  const definition: Definition = {
    table: 'merged',
    columns: { f: 'text?', k: 'text', q: 'int', l: 'int?', mi: 'bigint?', ma: 'numeric?', ad: 'bigint?', tm: 'text?' },
    upsertOn: ['k', 'q'],
    merge: { f: 'first', mi: 'min', ma: 'max', ad: 'add', tm: 'max' },
  }
  const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { freq: 3 })
  const job = fc.record({
    k: fc.constantFrom('a', 'B', 'é\t', '\\N', ''),
    q: fc.integer({ min: 0, max: 1 }),
    f: maybe(fc.string({ maxLength: 3 }).map((text) => text.replaceAll('\0', ''))),
    l: maybe(fc.integer({ min: -5, max: 5 })),
    mi: maybe(fc.bigInt(-(2n ** 60n), 2n ** 60n)),
    ma: maybe(fc.integer({ min: -999, max: 999 }).map((n) => (n / 100).toFixed(2))),
    ad: maybe(fc.integer({ min: -1000, max: 1000 })),
    tm: maybe(fc.constantFrom('a', 'B', 'é', '\uffff', '\u{10000}', '')),
  })

  it('ends the same however the jobs are cut into flushes and sections', async () => {
    const table = await tableOf(definition)
    const stored = async (flushes: readonly (readonly (readonly unknown[])[])[]) => {
      await database.query('truncate merged')
      for (const sections of flushes) await write(table, ...sections.filter((section) => section.length > 0))
      return database.query('select * from merged order by k collate "C", q')
    }
    await fc.assert(
      fc.asyncProperty(fc.array(job, { maxLength: 12 }), fc.nat(12), fc.nat(12), async (jobs, first, second) => {
        const oneByOne = await stored(jobs.map((one) => [[one]]))
        expect(await stored([[jobs]])).toEqual(oneByOne)
        expect(await stored([[jobs.slice(0, first)], [jobs.slice(first, first + second), jobs.slice(first + second)]])).toEqual(oneByOne)
      }),
      { numRuns: 40, seed: 11 },
    )
  })

  it('makes the candles a person would', async () => {
    await database.query(
      'create table candles (s text, m int, o bigint, h bigint, l bigint, c bigint, v bigint, n bigint, primary key (s, m))',
    )
    const table = await tableOf({
      table: 'candles',
      columns: { s: 'text', m: 'int', o: 'bigint', h: 'bigint', l: 'bigint', c: 'bigint', v: 'bigint', n: 'bigint' },
      upsertOn: ['s', 'm'],
      merge: { o: 'first', h: 'max', l: 'min', c: 'last', v: 'add', n: 'add' },
    })
    const trade = (p: number, v: number) => ({ s: 'A', m: 1, o: p, h: p, l: p, c: p, v, n: 1 })
    await write(table, [trade(100, 5), trade(120, 1)])
    await write(table, [trade(90, 2), trade(110, 3)])
    expect(await database.query('select * from candles')).toEqual([
      { s: 'A', m: 1, o: '100', h: '120', l: '90', c: '110', v: '11', n: '4' },
    ])
  })

  it('replaces the row when nothing is said about merging, nulls included', async () => {
    await database.query('truncate merged')
    const table = await tableOf({
      table: 'merged',
      columns: { k: 'text', q: 'int', f: 'text?', u: 'text?', m: 'text?' },
      upsertOn: ['q', 'k'],
    })
    await write(table, [{ k: 'a', q: 1, f: 'x', u: '6ecd8c99-4036-403d-bf84-cf8400f67836', m: 'wild' }])
    await write(table, [{ k: 'a', q: 1, f: null, u: null, m: 'calm' }])
    expect(await database.query('select f, u, m from merged')).toEqual([{ f: null, u: null, m: 'calm' }])
  })

  it('calls a sum that the column cannot hold a bad job', async () => {
    const table = await tableOf(definition)
    const nulls = { f: null, l: null, mi: null, ma: null, tm: null }
    const half = { ...nulls, k: 'sum', q: 0, ad: 2n ** 62n }
    await expect(write(table, [half, half])).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
  })
})

describe('the check of the catalogue', () => {
  it.each<[string, string, Definition]>([
    ['a missing table', 'does not exist', { table: 'nowhere', columns: { k: 'int' } }],
    ['a missing schema', 'does not exist', { table: 'no.where', columns: { k: 'int' } }],
    ['a view', 'is not a table', { table: 'seen', columns: { k: 'int' } }],
    ['an unlogged table', 'unlogged', { table: 'fleeting', columns: { k: 'int' } }],
    ['a missing column', 'no column "z"', { table: 'merged', columns: { z: 'int' } }],
    ['another type', "declare it 'bigint'", { table: 'plain', columns: { b: 'text' } }],
    ['a narrower type', 'of type int4', { table: 'plain', columns: { i: 'bigint' } }],
    ['a column that must be given', '"need"', { table: 'strict', columns: { small: 'int' } }],
    ['a nullable column that must not be', 'drop NOT NULL', { table: 'strict', columns: { need: 'int?' } }],
    ['a generated column', 'generates the column "doubled"', { table: 'strict', columns: { need: 'int', doubled: 'int' } }],
    ['an identity column', 'generates the column "id"', { table: 'strict', columns: { need: 'int', id: 'int' } }],
    ['a key without a unique index', 'unique index on (i)', { table: 'plain', columns: { i: 'int' }, upsertOn: ['i'] }],
    ['a part of a unique index', 'unique index on (k)', { table: 'merged', columns: { k: 'text', q: 'int' }, upsertOn: ['k'] }],
    ['a partial index', 'unique index on (k)', { table: 'partial', columns: { k: 'int' }, upsertOn: ['k'] }],
    ['a deferrable index', 'unique index on (k)', { table: 'deferred', columns: { k: 'int' }, upsertOn: ['k'] }],
    [
      'an order that text has not',
      'not the order of its text',
      { table: 'merged', columns: { k: 'text', q: 'int', m: 'text' }, upsertOn: ['k', 'q'], merge: { m: 'max' } },
    ],
  ])('names %s', async (_, sentence, definition) => {
    await expect(tableOf(definition)).rejects.toMatchObject({ code: 'FB_CATALOGUE', message: expect.stringContaining(sentence) })
  })

  it('accepts columns that Postgres fills itself', async () => {
    await write(await tableOf({ table: 'strict', columns: { need: 'int', small: 'int' } }), [{ need: 1, small: 2 }])
    expect(await database.query('select * from strict')).toEqual([{ id: 1, need: 1, given: 1, small: 2, doubled: 4 }])
  })

  it('names missing privileges and row-level security', async () => {
    const role = `limited_${process.pid}`
    await database.query(`create role ${role}; grant select, insert on merged to ${role}; grant insert on secured to ${role}`)
    const limited = (definition: Definition) =>
      pool.use('testing', async (client) => {
        await client.query(`begin; set local role ${role}`)
        const error: unknown = await createPostgresTable({ kind: 'postgres-table', ...definition }, client).catch(
          (caught: unknown) => caught,
        )
        await client.query('rollback')
        return error
      })
    const columns = { k: 'text', q: 'int', l: 'int' } as const
    expect(await limited({ table: 'merged', columns })).toMatchObject({ label: 'table merged' })
    expect(await limited({ table: 'merged', columns, upsertOn: ['k', 'q'] })).toMatchObject({
      code: 'FB_CATALOGUE',
      message: expect.stringContaining('UPDATE the column "l"'),
    })
    expect(await limited({ table: 'plain', columns: { i: 'int' } })).toMatchObject({
      code: 'FB_CATALOGUE',
      message: expect.stringContaining('INSERT'),
    })
    expect(await limited({ table: 'secured', columns: { k: 'int' } })).toMatchObject({
      code: 'FB_CATALOGUE',
      message: expect.stringContaining('row-level security'),
    })
    await database.query(`drop owned by ${role}; drop role ${role}`)
  })
})
