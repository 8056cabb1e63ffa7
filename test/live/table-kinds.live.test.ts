/** Tables as they are found in databases: each row of the README's list works, or is refused at start in one sentence; and `forebay table`. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPlainTableCheck } from '../../src/replay/postgres-table-check.ts'
import { expectedLine } from '../../src/replay/table-check.ts'
import { jobLinesOf } from '../../src/replay/range-converter.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { describeTable } from '../../src/sinks/postgres-table/table-description.ts'
import { writeRefused } from '../../src/work/isolate.ts'
import { commandFolder } from '../support/forebay-command.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'
import { inTransaction, linesOf, openTable, writeRows } from '../support/table-rows.ts'

let database: TestDatabase
let pool: PostgresPool

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  await database.query(`create schema sales; create table sales.orders (k int primary key, v text);
    create schema "Group"; create table "Group"."Order ""Lines""" ("select" int primary key, "User Name" text, "from" text[]);
    create table "user" ("order" int primary key, "table" text);
    create table "a.b" (k int);
    create table days (k int, day date, n int, primary key (k, day)) partition by range (day);
    create table days_1 partition of days for values from ('2026-01-01') to ('2026-02-01');
    create table seen_rows (k int, v text check (v <> 'bad'), source_partition int, source_offset bigint);
    create view seen as select * from seen_rows;
    create view seen_through as select * from seen_rows;
    create function keep() returns trigger language plpgsql as 'begin insert into seen_rows values (new.*); return new; end';
    create trigger keeps instead of insert on seen_through for each row execute function keep();
    create view once_through as select * from seen_rows; create trigger keeps instead of insert on once_through for each row execute function keep();
    create materialized view kept as select 1 as k; create sequence numbers;
    create unlogged table fleeting (k int);
    create table triggered (k int, twice int); create function doubles() returns trigger language plpgsql
      as 'begin if new.k = 13 then raise exception ''no 13''; end if; new.twice = new.k * 2; return new; end';
    create trigger doubled before insert on triggered for each row execute function doubles()`)
  await database.query(
    'create view sleeping as select * from seen_rows; create trigger keeps instead of insert on sleeping for each row execute function keep()',
  )
  // ALTER TABLE knows no views, but pg_restore and replicas leave triggers so.
  await database.query(`update pg_catalog.pg_trigger set tgenabled = 'D' where tgrelid = 'sleeping'::regclass`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

type Definition = Omit<PostgresTableDefinition, 'kind'>

describe('a table', () => {
  it.each<[string, Definition, unknown[], string]>([
    ['in another schema', { table: 'sales.orders', columns: { k: 'int', v: 'text' }, upsertOn: ['k'] }, [{ k: 1, v: 'a' }], 'sales.orders'],
    [
      'with quotes, capitals and reserved words in its names',
      { table: 'Group.Order "Lines"', columns: { select: 'int', 'User Name': 'text', from: 'text[]' }, upsertOn: ['select'] },
      [{ select: 1, 'User Name': 'x', from: ['"', null] }],
      '"Group"."Order ""Lines"""',
    ],
    [
      'named by a reserved word',
      { table: 'user', columns: { order: 'int', table: 'text' }, upsertOn: ['order'] },
      [{ order: 1, table: 't' }],
      '"user"',
    ],
  ])('%s takes rows, together and one by one', async (_, definition, rows, name) => {
    const table = await openTable(pool, definition)
    await writeRows(pool, table, rows)
    await writeRows(pool, table, [...rows, ...rows])
    expect(await inTransaction(pool, (transaction) => table.writeEach!(transaction, [linesOf(table, rows)]))).toEqual([])
    expect(await database.query(`select * from ${name}`)).toEqual(rows)
  })

  it('with a dot in its name is refused', async () => {
    await expect(openTable(pool, { table: 'a.b', columns: { k: 'int' } })).rejects.toMatchObject({
      code: 'FB_CATALOGUE',
      message:
        'Table a.b is read as the table b of the schema a, which does not exist; a table with a dot in its name cannot be named, so rename it.',
    })
  })

  it('that is partitioned takes rows and upserts, and holds those that no partition takes', async () => {
    const definition: Definition = {
      table: 'days',
      columns: { k: 'int', day: 'date', n: 'int' },
      upsertOn: ['k', 'day'],
      merge: { n: 'add' },
    }
    const [keyed, plain] = [await openTable(pool, definition), await openTable(pool, { table: 'days', columns: definition.columns })]
    const row = (k: number, day: string) => ({ k, day, n: 1 })
    await writeRows(pool, keyed, [row(1, '2026-01-05'), row(1, '2026-01-05')])
    await writeRows(pool, plain, [row(2, '2026-01-31')])
    expect(await database.query('select k, n from days order by k')).toEqual([
      { k: 1, n: 2 },
      { k: 2, n: 1 },
    ])
    for (const table of [keyed, plain]) {
      const lines = () => [linesOf(table, [row(3, '2026-01-06'), row(4, '2026-02-01')])]
      await expect(writeRows(pool, table, [row(4, '2026-02-01')])).rejects.toMatchObject({
        code: 'FB_SCHEMA',
        message: expect.stringContaining('create the partition'),
      })
      await expect(
        inTransaction(pool, (transaction) => writeRefused(table as unknown as TransactionalSink, transaction, lines())),
      ).rejects.toMatchObject({ code: 'FB_SCHEMA' })
    }
    await database.query(`create table days_2 partition of days for values from ('2026-02-01') to ('2026-03-01')`)
    await writeRows(pool, keyed, [row(4, '2026-02-01')])
    expect(await database.query('select k from days_2')).toEqual([{ k: 4 }])
  })

  it('that is a partition takes its own rows, and holds others', async () => {
    const table = await openTable(pool, { table: 'days_1', columns: { k: 'int', day: 'date' }, upsertOn: ['k', 'day'] })
    await writeRows(pool, table, [{ k: 9, day: '2026-01-09' }])
    await expect(writeRows(pool, table, [{ k: 9, day: '2026-02-09' }])).rejects.toMatchObject({ code: 'FB_SCHEMA' })
  })

  it('that is a view with a trigger takes rows, dead letters and comparisons', async () => {
    const definition: PostgresTableDefinition = {
      table: 'seen_through',
      columns: { source_partition: 'int', source_offset: 'bigint', k: 'int', v: 'text?' },
    }
    const table = await openTable(pool, definition)
    const row = (offset: number, v: string | null) => ({ source_partition: 0, source_offset: offset, k: offset, v })
    const rows = [row(0, 'a'), row(1, null)]
    await writeRows(pool, table, rows)
    const refused = [row(2, 'b'), row(3, 'bad'), row(4, 'c')]
    await expect(writeRows(pool, table, refused)).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
    const letters = await inTransaction(pool, (transaction) =>
      writeRefused(table as unknown as TransactionalSink, transaction, [linesOf(table, refused)]),
    )
    expect(letters.map(({ offset }) => offset)).toEqual([1n])
    expect(await database.query('select k, v from seen_rows order by k')).toEqual([
      { k: 0, v: 'a' },
      { k: 1, v: null },
      { k: 2, v: 'b' },
      { k: 4, v: 'c' },
    ])
    await database.query('delete from seen_rows where k = 1')
    const expected = [row(0, 'a'), row(1, null), row(2, 'b'), row(4, 'c')]
    const found = await pool.use('testing', (client) => createPlainTableCheck(definition, client, { isOfKey: false }))
    const outcome = await inTransaction(pool, async (transaction) => {
      await found.prepare(transaction)
      const offsets = expected.map(({ source_offset: offset }) => BigInt(offset))
      const texts = expected.map((one, n) =>
        expectedLine({ partition: 0, offset: offsets[n]!, ordinal: 0, isSpared: false }, table.encode(one)),
      )
      await found.addRows(transaction, [jobLinesOf('a', 0, { offsets, timesMs: offsets.map(() => 0), texts })])
      const span = { partition: 0, after: -1n, upTo: 9n }
      const { missing, extra, different } = await found.compare(transaction, span, 5)
      return { missing, extra, different, mended: (await found.mend(transaction, span)).rows }
    })
    expect(outcome).toEqual({ missing: 1, extra: 0, different: 0, mended: 1 })
    expect(await database.query('select count(*)::int as n from seen_rows')).toEqual([{ n: 4 }])
  })

  it('with triggers has them run in the transaction of the row', async () => {
    const table = await openTable(pool, { table: 'triggered', columns: { k: 'int' } })
    await writeRows(pool, table, [{ k: 1 }])
    const letters = await inTransaction(pool, (transaction) =>
      writeRefused(table as unknown as TransactionalSink, transaction, [linesOf(table, [{ k: 2 }, { k: 13 }])]),
    )
    expect(letters).toMatchObject([{ offset: 1n, error: expect.stringContaining('no 13') }])
    expect(await database.query('select * from triggered order by k')).toEqual([
      { k: 1, twice: 2 },
      { k: 2, twice: 4 },
    ])
  })

  it.each<[string, Definition, string]>([
    [
      'a view',
      { table: 'seen', columns: { k: 'int' } },
      'Table seen is a view without an INSTEAD OF INSERT trigger; name the table behind it, or create the trigger.',
    ],
    [
      'a view whose trigger is switched off',
      { table: 'sleeping', columns: { k: 'int' } },
      'is a view without an INSTEAD OF INSERT trigger',
    ],
    [
      'a view to upsert on',
      { table: 'once_through', columns: { k: 'int' }, upsertOn: ['k'] },
      'is a view, which has no unique index for upsertOn',
    ],
    ['a materialized view', { table: 'kept', columns: { k: 'int' } }, 'is a materialized view'],
    ['a sequence', { table: 'numbers', columns: { k: 'int' } }, 'is not a table'],
    ['an unlogged table', { table: 'fleeting', columns: { k: 'int' } }, 'is unlogged or temporary'],
    ['a name in other capitals', { table: 'USER', columns: { order: 'int' } }, 'Table USER does not exist in the search_path'],
  ])('is refused: %s', async (_, definition, sentence) => {
    await expect(openTable(pool, definition)).rejects.toMatchObject({ code: 'FB_CATALOGUE', message: expect.stringContaining(sentence) })
  })
})

describe('forebay table', () => {
  it('prints what a pipeline can paste, says what is left out and why, and takes exactly what it printed', async () => {
    await database.query(`create type mood as enum ('calm', 'on hold'); create type odd as enum ('a|b'); create domain tag as varchar(9);
      create table sales.wide (id bigint generated always as identity primary key, source_offset int8 not null unique, "Full Name" varchar(40) not null, price numeric(12,2), plain numeric, rough numeric(3,-1),
        at timestamptz(3) not null, day date, hour time, m mood, o odd, tags tag[], grid int[][], raw bytea, ip inet, u uuid not null unique, j json, b jsonb, s int2, r real, c char(3),
        span interval, area point, deep int[][][], made timestamptz not null default now(), twice int generated always as (s * 2) stored)`)
    using folder = commandFolder({ topic: 'x' }, { url: database.url })
    const { code, stdout, stderr } = await folder.run('table', 'sales.wide')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe(`postgresTable('sales.wide', {
  columns: {
    source_offset: 'bigint',
    'Full Name': 'varchar(40)',
    price: 'numeric(12,2)?',
    plain: 'numeric?',
    rough: 'numeric?', // rounds what it takes
    at: 'timestamptz(3)',
    day: 'date?',
    hour: 'time?',
    m: 'enum(calm|on hold)?',
    o: 'text?', // an enum with a | in a label: declared as text
    tags: 'varchar(9)[]?',
    grid: 'int[][]?',
    raw: 'bytea?',
    ip: 'inet?',
    u: 'uuid',
    j: 'json?',
    b: 'jsonb?',
    s: 'int2?',
    r: 'float4?',
    c: 'text?', // a char adds and drops spaces at the end
    // The table fills these by itself; declare them where jobs are to fill them:
    // made: 'timestamptz',
    // Left out: id (int8): an identity that is always generated
    // Left out: span (interval): an interval has no one text; keep it as a number of seconds
    // Left out: area (point): forebay has no type for point
    // Left out: deep (int4[][][]): an array of 3 dimensions; forebay takes 2 at most
    // Left out: twice (int4): generated by the table
  },
  // upsertOn: ['source_offset'],
  // upsertOn: ['u'],
}),
`)
    const described = await pool.use('testing', (client) => describeTable(client, 'sales.wide'))
    expect(described).toMatchObject({ keys: [['source_offset'], ['u']], problem: null, optional: { made: 'timestamptz' } })
    expect(described.unfit.map(({ column }) => column)).toEqual(['id', 'span', 'area', 'deep', 'twice'])
    const columns = described.columns as PostgresTableDefinition['columns']
    await openTable(pool, { table: described.table, columns })
    await openTable(pool, { table: described.table, columns, upsertOn: described.keys[1]! })
  })

  it('says in one sentence, with exit code 78, why a start would refuse the table', async () => {
    await database.query('create table needing (k int, span interval not null)')
    using folder = commandFolder({ topic: 'x' }, { url: database.url })
    const needing = await folder.run('table', 'needing', '--json')
    expect(needing).toMatchObject({ code: 78, stdout: expect.stringContaining('"reason": "an interval has no one text') })
    expect(needing.stderr).toContain('has the column "span", NOT NULL and without a default')
    const described = (name: string) => pool.use('testing', (client) => describeTable(client, name))
    await expect(described('nowhere')).rejects.toMatchObject({
      code: 'FB_CATALOGUE',
      message: expect.stringContaining('Table nowhere does not exist'),
    })
    await expect(described('a.b.c')).rejects.toMatchObject({
      code: 'FB_USAGE',
      message: expect.stringContaining('name a table or schema.table'),
    })
    expect(await described('seen')).toMatchObject({ problem: expect.stringContaining('INSTEAD OF INSERT') })
    expect(await described('user')).toMatchObject({ problem: null, columns: { order: 'int', table: 'text?' }, keys: [['order']] })
  })
})
