import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { writeRefused } from '../../src/work/isolate.ts'
import { copyExamples, copyText } from '../support/copy-texts.ts'
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
    create extension postgres_fdw; create server far foreign data wrapper postgres_fdw; create foreign table distant (k int) server far;
    create table ruled (k int); create rule elsewhere as on insert to ruled do instead nothing;
    create table all_days (k int) partition by list (k); create unlogged table odd_days partition of all_days default;
    create table far_and_near (k int) partition by list (k); create foreign table far_days partition of far_and_near default server far;
    create table padded (k char(3) primary key); create table rounded (k timestamptz(2) primary key);
    create collation no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table folded (k text collate no_case primary key);
    create table secured (k int); alter table secured enable row level security; alter table secured force row level security`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

type Definition = Omit<PostgresTableDefinition, 'kind'>

function tableOf(definition: Definition, of = pool): Promise<PostgresTable> {
  return of.use('testing', (client) => createPostgresTable({ ...definition }, client))
}

/** Jobs as they arrive: through a segment. */
function sectionOf(table: PostgresTable, jobs: readonly unknown[]): JobLines {
  const text = jobs.map((job) => `${table.encode(job)}\n`).join('')
  const draft = { task: 'a', kind: 'job' as const, offsets: jobs.map((_, i) => BigInt(i)), timesMs: jobs.map(() => 0), text }
  const head = { scope: 's', partition: 0, queue: 0, owner: 'o', repair: 0, lo: -1n, hi: BigInt(jobs.length) }
  return decodeSegment(encodeSegment(head, [draft], 'secret'), 'secret')!.sections[0]!
}

function write(table: PostgresTable, ...sections: readonly (readonly unknown[])[]): Promise<void> {
  return writeIn(pool, table, ...sections)
}

function writeIn(of: PostgresPool, table: PostgresTable, ...sections: readonly (readonly unknown[])[]): Promise<void> {
  const jobs = sections.map((section) => sectionOf(table, section))
  return of.use('testing', async (client) => {
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

  it('reads back what COPY, an upsert and a write of each row stored, at the lengths where the encoder changes its way', async () => {
    await database.query(
      'create table said (i int, t text, o text, j json); create table said_once (i int primary key, t text, o text, j json)',
    )
    const columns = { i: 'int', t: 'text', o: 'text?', j: 'json' } as const
    const [plain, keyed] = [await tableOf({ table: 'said', columns }), await tableOf({ table: 'said_once', columns, upsertOn: ['i'] })]
    const row = fc.tuple(copyText(), fc.option(copyText()))
    const rows = [...copyExamples.map((text) => [text, text] as const), ...fc.sample(row, { numRuns: 1500, seed: 21 })]
    const jobs = rows.map(([t, o], i) => ({ i, t, o, j: [t, o] }))
    const isStored = async (table: string) => {
      const stored = await database.query<{ t: string; o: string | null; j: unknown }>(`select t, o, j from ${table} order by i`)
      expect(stored).toEqual(jobs.map(({ t, o, j }) => ({ t, o, j })))
      await database.query(`truncate ${table}`)
    }
    await write(plain, jobs.slice(0, 700), jobs.slice(700))
    await isStored('said')
    await write(keyed, jobs)
    await isStored('said_once')
    await pool.use('testing', async (client) => {
      await client.query('begin')
      const transaction = new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing')
      expect(await plain.writeEach!(transaction, [sectionOf(plain, jobs)])).toEqual([])
      await client.query('commit')
    })
    await isStored('said')
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

  /** Writes a flush as a node does: together, and when it is refused again with its bad jobs isolated; gives those by their place. */
  async function flush(table: PostgresTable, jobs: readonly { at: number; job: unknown }[]): Promise<number[]> {
    if (jobs.length === 0) return []
    const lines = [
      sectionOf(
        table,
        jobs.map(({ job }) => job),
      ),
    ]
    const inTransaction = <T>(body: (transaction: PostgresTransaction) => Promise<T>) =>
      pool.use('testing', async (client) => {
        await client.query('begin; set constraints all immediate')
        const result = await body(new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing'))
        await client.query('commit')
        return result
      })
    try {
      await inTransaction((transaction) => table.write(transaction, lines))
      return []
    } catch (error) {
      if (!isForebayError(error, 'FB_BAD_JOB')) throw error
      const letters = await inTransaction((transaction) => writeRefused(table as unknown as TransactionalSink, transaction, lines))
      return letters.map(({ offset }) => jobs[Number(offset)]!.at)
    }
  }

  /** Rows and bad jobs, of one flush for each job and of flushes cut at `cuts`. */
  async function isSameHoweverCut(name: string, table: PostgresTable, jobs: readonly unknown[], cuts: readonly number[]): Promise<void> {
    const placed = jobs.map((job, at) => ({ at, job }))
    const result = async (ends: readonly number[]) => {
      await database.query(`truncate ${name}`)
      const bad: number[] = []
      for (const [i, end] of ends.entries()) bad.push(...(await flush(table, placed.slice(ends[i - 1] ?? 0, end))))
      return { bad: bad.toSorted((a, b) => a - b), rows: await database.query(`select * from ${name} order by k`) }
    }
    const apart = await result(jobs.map((_, i) => i + 1))
    expect(await result([jobs.length])).toEqual(apart)
    const sorted = [...new Set(cuts.map((cut) => Math.min(cut, jobs.length)))].toSorted((a, b) => a - b)
    expect(await result([...sorted, jobs.length])).toEqual(apart)
  }

  it('adds to a numeric of two digits what each job is worth there, together or apart', async () => {
    await database.query('drop table if exists cents; create table cents (k int primary key, total numeric(12,2))')
    const table = await tableOf({ table: 'cents', columns: { k: 'int', total: 'numeric' }, upsertOn: ['k'], merge: { total: 'add' } })
    const jobs = ['0.004', '0.005', '0.006', '-0.005', '1.115', '2.345'].flatMap((total, k) =>
      Array.from({ length: 10 }, () => ({ k, total })),
    )
    await isSameHoweverCut('cents', table, jobs, [3, 17, 18, 40])
    const totals = await database.query<{ total: string }>('select total from cents order by k')
    expect(totals.map(({ total }) => total)).toEqual(['0.00', '0.10', '0.10', '-0.10', '11.20', '23.50'])
  })

  it.each<[string, string, PostgresTableDefinition['merge'] & object, fc.Arbitrary<unknown>]>([
    [
      'sums beyond numeric(4,2)',
      'v numeric(4,2)',
      { v: 'add' },
      fc.integer({ min: -99_999, max: 99_999 }).map((n) => (n / 1000).toFixed(3)),
    ],
    [
      'sums that all grow, beyond numeric(3,1)',
      'v numeric(3,1)',
      { v: 'add' },
      fc.integer({ min: 0, max: 5000 }).map((n) => (n / 100).toFixed(2)),
    ],
    ['sums of a numeric with a negative scale', 'v numeric(3,-1)', { v: 'add' }, fc.integer({ min: -5000, max: 5000 }).map(String)],
    ['sums beyond an int', 'v int', { v: 'add' }, fc.constantFrom(2 ** 31 - 1, -(2 ** 31), 2 ** 30, -(2 ** 30), 1, -1, 0)],
    ['ints that add up in an int8', 'v bigint', { v: 'add' }, fc.constantFrom(2 ** 31 - 1, -(2 ** 31), 2 ** 30)],
    [
      'the greatest of a numeric',
      'v numeric(3,1)',
      { v: 'max' },
      fc.integer({ min: -20_000, max: 20_000 }).map((n) => (n / 100).toFixed(2)),
    ],
    ['the last of a varchar', 'v varchar(2)', { v: 'last' }, fc.constantFrom('a', 'ab', 'abc', 'ab ', '😀😀', '😀😀😀')],
    ['the first of an enum', 'v mood', { v: 'first' }, fc.constantFrom('calm', 'wild', 'angry')],
    [
      'the last of a uuid',
      'v uuid',
      { v: 'last' },
      fc.constantFrom(
        '6ecd8c99-4036-403d-bf84-cf8400f67836',
        '6ECD8C99-4036-403D-BF84-CF8400F67836',
        '{6ecd8c994036403dbf84cf8400f67836}',
        'none',
      ),
    ],
    ['the last of a jsonb', 'v jsonb', { v: 'last' }, fc.constantFrom({ a: 1 }, '\0', '\ud800', '\\u0000', [null])],
    ['the last of a domain', 'v even', { v: 'last' }, fc.integer({ min: -3, max: 4 })],
    ['the least time of seconds', 'v timestamptz(0)', { v: 'min' }, fc.integer({ min: 0, max: 4000 }).map((ms) => new Date(ms))],
    ['the last of a checked column', 'v int check (v >= 0)', { v: 'last' }, fc.integer({ min: -2, max: 3 })],
    ['sums of a checked column', 'v int check (v between 0 and 9)', { v: 'add' }, fc.integer({ min: -4, max: 7 })],
  ])('ends the same, letters too, however jobs are cut into flushes: %s', async (what, column, merge, value) => {
    const type = (['uuid', 'jsonb', 'enum', 'varchar'].find((one) => what.includes(one)) ?? 'number') as string
    const declared = what.includes('time')
      ? 'timestamptz?'
      : type === 'jsonb'
        ? 'json?'
        : type !== 'number'
          ? 'text?'
          : column.includes('numeric')
            ? 'numeric?'
            : 'int?'
    await database.query(`do $$ begin create domain even as int check (value % 2 = 0); exception when duplicate_object then null; end $$;
      drop table if exists cut; create table cut (k int primary key, ${column}, n bigint)`)
    const table = await tableOf({
      table: 'cut',
      columns: { k: 'int', v: declared as 'int?', n: 'int' },
      upsertOn: ['k'],
      merge: { ...merge, n: 'add' },
    })
    const job = fc.record({ k: fc.integer({ min: 0, max: 1 }), v: fc.option(value, { freq: 6 }), n: fc.integer({ min: 1, max: 3 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(job, { minLength: 2, maxLength: 10 }), fc.array(fc.nat(10), { maxLength: 2 }), async (jobs, cuts) =>
        isSameHoweverCut('cut', table, jobs, cuts),
      ),
      { numRuns: 25, seed: 5 },
    )
  })

  it('takes sums beyond a column apart in a large batch too, where each job counts', async () => {
    await database.query('drop table if exists cut; create table cut (k int primary key, v int, n bigint)')
    const table = await tableOf({ table: 'cut', columns: { k: 'int', v: 'int', n: 'int' }, upsertOn: ['k'], merge: { v: 'add', n: 'add' } })
    const jobs = Array.from({ length: 600 }, (_, i) => ({ k: i % 3, v: (i % 2 === 0 ? 1 : -1) * (i % 5) * 2 ** 28, n: 1 }))
    await isSameHoweverCut('cut', table, jobs, [100, 350])
  })

  it('takes columns by any name, written together, one by one and screened', async () => {
    const names = ['constructor', '__proto__', 'toString', 't', 'x', 'n', 'c0', 'forebay:n', 'forebay_row', 'select', 'a"b']
    const quoted = names.map((name) => pg.escapeIdentifier(name))
    await database.query(
      `drop table if exists named; create table named (${quoted.map((name) => `${name} int check (${name} < 100)`).join(', ')}, primary key (${quoted[0]}))`,
    )
    const columns = Object.fromEntries(names.map((name) => [name, 'int' as const]))
    const merge = Object.fromEntries(names.slice(1).map((name) => [name, 'add' as const]))
    const table = await tableOf({ table: 'named', columns, upsertOn: [names[0]!], merge })
    const job = (last: number) => Object.fromEntries(names.map((name, i) => [name, i === names.length - 1 ? last : i]))
    expect(
      await flush(
        table,
        [job(1), job(100), job(2), job(-1)].map((one, at) => ({ at, job: one })),
      ),
    ).toEqual([1])
    const sums = names.map((name, i): [string, number] => [name, i === 0 ? 0 : i === names.length - 1 ? 2 : i * 3])
    expect(await database.query('select * from named')).toEqual([Object.fromEntries(sums)])
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

describe('a database whose order of text is not that of its bytes', () => {
  it('keeps the least and the greatest text by its characters, however jobs are cut into flushes', async () => {
    const german = await createTestDatabase("template template0 encoding 'UTF8' locale_provider icu icu_locale 'de-u-kn-true' locale 'C'")
    const own = testPool(german.url)
    try {
      const columns = 'k int primary key, least text, most text, named text collate "de-x-icu"'
      await german.query(`create table kept (${columns}); create table every (k int, v text)`)
      // The database itself would say otherwise: z before ä, a10 after a9.
      expect(await german.query(`select 'ä' < 'z' as a, 'a9' < 'a10' as b, 'a' < 'B' as c`)).toEqual([{ a: true, b: true, c: true }])
      const table = await tableOf(
        {
          table: 'kept',
          columns: { k: 'int', least: 'text?', most: 'text?', named: 'text?' },
          upsertOn: ['k'],
          merge: { least: 'min', most: 'max', named: 'max' },
        },
        own,
      )
      const every = await tableOf({ table: 'every', columns: { k: 'int', v: 'text?' } }, own)
      const word = fc.oneof(
        fc.constantFrom('a', 'A', 'ä', 'Ä', 'b', 'B', 'z', 'Z', 'a9', 'a10', 'ß', 'ss', '-a', ' a', '', '\uffff', '\u{10000}', 'a\u0308'),
        copyText(),
      )
      const job = fc.record({ k: fc.nat(1), v: fc.option(word, { freq: 5 }) })
      await fc.assert(
        fc.asyncProperty(fc.array(job, { minLength: 1, maxLength: 10 }), fc.array(fc.nat(10), { maxLength: 3 }), async (jobs, cuts) => {
          await german.query('truncate every')
          await writeIn(own, every, jobs)
          const bounds = (v: string) => `min(${v} collate "C") as least, max(${v} collate "C") as most, max(${v} collate "C") as named`
          const expected = await german.query(`select k, ${bounds('v')} from every group by k order by k`)
          const rows = jobs.map(({ k, v }) => ({ k, least: v, most: v, named: v }))
          const apart = rows.map((_, i) => i + 1)
          for (const ends of [apart, [rows.length], [...cuts.toSorted((a, b) => a - b), rows.length]]) {
            await german.query('truncate kept')
            for (const [i, end] of ends.entries()) {
              const flush = rows.slice(ends[i - 1] ?? 0, end)
              if (flush.length > 0) await writeIn(own, table, flush)
            }
            expect(await german.query('select k, least, most, named from kept order by k')).toEqual(expected)
          }
        }),
        { numRuns: 40, seed: 13 },
      )
    } finally {
      await own[Symbol.asyncDispose]()
      await german.drop()
    }
  })
})

describe('the check of the catalogue', () => {
  it.each<[string, string, Definition]>([
    ['a missing table', 'does not exist', { table: 'nowhere', columns: { k: 'int' } }],
    ['a missing schema', 'does not exist', { table: 'no.where', columns: { k: 'int' } }],
    ['a view', 'is a view without', { table: 'seen', columns: { k: 'int' } }],
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
    ['a foreign table', 'foreign table', { table: 'distant', columns: { k: 'int' } }],
    ['a rule', 'has the rule "elsewhere"', { table: 'ruled', columns: { k: 'int' } }],
    ['an unlogged partition', 'unlogged partition odd_days', { table: 'all_days', columns: { k: 'int' } }],
    ['a foreign partition', 'foreign partition far_days', { table: 'far_and_near', columns: { k: 'int' } }],
    ['a key that folds spaces', 'different values are the same key', { table: 'padded', columns: { k: 'text' }, upsertOn: ['k'] }],
    ['a key that rounds times', 'different values are the same key', { table: 'rounded', columns: { k: 'timestamptz' }, upsertOn: ['k'] }],
    ['a key that folds cases', 'different values are the same key', { table: 'folded', columns: { k: 'text' }, upsertOn: ['k'] }],
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
        const error: unknown = await createPostgresTable({ ...definition }, client).catch((caught: unknown) => caught)
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
    await database.query(`create table counted (id serial, k int); grant insert on counted to ${role}`)
    expect(await limited({ table: 'counted', columns: { k: 'int' } })).toMatchObject({
      code: 'FB_CATALOGUE',
      message: expect.stringContaining('grant usage on sequence counted_id_seq'),
    })
    await database.query(`grant usage on sequence counted_id_seq to ${role}`)
    expect(await limited({ table: 'counted', columns: { k: 'int' } })).toMatchObject({ label: 'table counted' })
    await database.query(`drop owned by ${role}; drop role ${role}`)
  })
})
