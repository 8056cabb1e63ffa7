/**
 * Each column type against a real Postgres: random values go in by every way of writing and come out equal, by an oracle that
 * shares no code with the encoder: the values themselves as parameters of the driver.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { columnTypes, parseColumnType, scalarTypes } from '../../src/sinks/postgres-table/column-types.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import { expectedLine } from '../../src/replay/table-check.ts'
import { jobLinesOf } from '../../src/replay/range-converter.ts'
import { createMergedTableCheck, createPlainTableCheck } from '../../src/replay/postgres-table-check.ts'
import type { ColumnType, MergeMode, PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { writeRefused } from '../../src/work/isolate.ts'
import { copyText } from '../support/copy-texts.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'
import { inTransaction, linesOf, openTable, writeRows } from '../support/table-rows.ts'

let database: TestDatabase
let pool: PostgresPool

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  // Neither the zone nor the notation of a session may change what is written.
  await database.query(`do $$ begin
      execute format('alter database %I set timezone = ''Asia/Kathmandu''', current_database());
      execute format('alter database %I set datestyle = ''SQL, DMY''', current_database());
      execute format('alter database %I set intervalstyle = ''sql_standard''', current_database());
      execute format('alter database %I set bytea_output = ''escape''', current_database()); end $$;
    create schema "Odd schema"; create type "Odd schema"."a ""mood""" as enum ('calm', 'on hold', 'a,"b\\', '');
    create domain even as int check (value % 2 = 0); create domain named as "Odd schema"."a ""mood""";
    create domain short as varchar(4); create domain shorter as short check (length(value) < 4); create domain tags as text[] check (cardinality(value) < 5);
    create domain filled as text not null default 'given'`)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})

const pad = (n: number, digits: number) => String(n).padStart(digits, '0')
const day = fc.date({ min: new Date('0001-01-02T00:00:00Z'), max: new Date('9999-12-30T00:00:00Z'), noInvalidDate: true })
const micros = fc.integer({ min: 0, max: 999 }).map((n) => pad(n, 3))
const zone = fc.constantFrom('Z', '+05:45', '-03', '+1400', '-11:30')
const local = fc.tuple(day, micros).map(([at, micro]) => `${at.toISOString().slice(0, 23)}${micro}`)
const json = fc.jsonValue({ noUnicodeString: false }).map((value) => JSON.parse(JSON.stringify(value).replaceAll('\\u0000', '')) as unknown)
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6().filter((ip) => !ip.includes('.')),
  fc.constantFrom('10.1.2.3/8', '::1/64', '::ffff:1.2.3.4', '0.0.0.0/0', 'FE80::0:1'),
)
const whole = (bits: bigint) => fc.bigInt({ min: -(2n ** (bits - 1n)), max: 2n ** (bits - 1n) - 1n })
const extremes = (bits: bigint) => fc.constantFrom(-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n, 0n)
const decimal = (wholeDigits: number, digits: number) =>
  fc
    .tuple(
      fc.boolean(),
      fc.bigInt({ min: 0n, max: 10n ** BigInt(wholeDigits) - 1n }),
      fc.bigInt({ min: 0n, max: 10n ** BigInt(digits) - 1n }),
    )
    .map(([isNegative, before, behind]) => `${isNegative ? '-' : ''}${before}.${String(behind).padStart(digits, '0')}`)
const shortText = (max: number) => fc.string({ unit: 'binary', maxLength: max }).map((text) => text.replaceAll('\0', '\\'))

interface Case {
  readonly declared: string
  readonly sql: string
  readonly value: fc.Arbitrary<unknown>
  /** What the driver is given, where it is not the value itself. */
  readonly given?: (value: unknown) => unknown
  /** The types by which the value is read: its own, when that is not the column's. */
  readonly as?: string
}

const text = (value: unknown) => (Object.is(value, -0) ? '-0' : String(value))

const scalars: readonly Case[] = [
  { declared: 'int2', sql: 'smallint', value: fc.oneof(whole(16n), extremes(16n)).map(Number) },
  { declared: 'int2', sql: 'numeric', value: fc.oneof(whole(16n), extremes(16n)).map(Number) },
  { declared: 'int', sql: 'int', value: fc.oneof(whole(32n), extremes(32n)).map(Number) },
  { declared: 'int', sql: 'even', value: fc.integer({ min: -(2 ** 30), max: 2 ** 30 - 1 }).map((n) => n * 2) },
  { declared: 'bigint', sql: 'bigint', value: fc.oneof(whole(64n), extremes(64n), whole(64n).map(String), fc.maxSafeInteger()) },
  {
    declared: 'float4',
    sql: 'real',
    value: fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(-0, 0, 0.1, 1e-45)),
    given: text,
  },
  {
    declared: 'double',
    sql: 'float8',
    value: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constantFrom(-0, 5e-324)),
    given: text,
  },
  {
    declared: 'numeric',
    sql: 'numeric',
    value: fc.oneof(
      decimal(30, 20),
      whole(200n),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom('0', '-0.0', '1.50'),
    ),
    given: text,
  },
  {
    declared: 'numeric(9,3)',
    sql: 'numeric(9,3)',
    value: fc.oneof(decimal(6, 3), fc.integer({ min: -999_999, max: 999_999 })),
    given: text,
  },
  { declared: 'boolean', sql: 'boolean', value: fc.boolean() },
  { declared: 'text', sql: 'text', value: fc.oneof(copyText(), fc.constantFrom('', 'NULL', '\\N', '{}', ' a ')) },
  { declared: 'varchar(7)', sql: 'varchar(7)', value: shortText(6) },
  { declared: 'varchar(3)', sql: 'shorter', value: shortText(3) },
  {
    declared: 'uuid',
    sql: 'uuid',
    value: fc.oneof(
      fc.uuid(),
      fc.uuid().map((id) => id.toUpperCase()),
    ),
  },
  { declared: 'enum(calm|on hold|a,"b\\)', sql: '"Odd schema"."a ""mood"""', value: fc.constantFrom('calm', 'on hold', 'a,"b\\') },
  { declared: 'text', sql: 'named', value: fc.constantFrom('calm', 'on hold', 'a,"b\\', '') },
  { declared: 'date', sql: 'date', value: day.map((at) => at.toISOString().slice(0, 10)) },
  {
    declared: 'time',
    sql: 'time',
    value: fc.oneof(
      local.map((at) => at.slice(11)),
      fc.constantFrom('24:00:00', '00:00', '23:59:59.999999'),
    ),
  },
  { declared: 'timestamp', sql: 'timestamp', value: local },
  { declared: 'timestamp', sql: 'timestamp', value: day, given: (value) => (value as Date).toISOString().slice(0, -1) },
  { declared: 'timestamptz', sql: 'timestamptz', value: fc.tuple(local, zone).map(([at, of]) => at + of) },
  { declared: 'timestamptz', sql: 'timestamptz', value: day, given: (value) => (value as Date).toISOString() },
  { declared: 'timestamptz(3)', sql: 'timestamptz(3)', value: day, given: (value) => (value as Date).toISOString() },
  { declared: 'json', sql: 'json', value: fc.jsonValue(), given: (value) => JSON.stringify(value), as: 'json' },
  { declared: 'jsonb', sql: 'jsonb', value: json, given: (value) => JSON.stringify(value) },
  { declared: 'bytea', sql: 'bytea', value: fc.uint8Array({ maxLength: 40 }), given: (value) => Buffer.from(value as Uint8Array) },
  { declared: 'inet', sql: 'inet', value: address },
]

/** Of each an array, with nulls, and one of two dimensions. */
const arrays: readonly Case[] = scalars
  .filter(({ sql }) => !['shorter'].includes(sql))
  .flatMap(({ declared, sql, value, given = (one) => one }) => {
    const element = fc.option(value, { freq: 5 })
    const each = (one: unknown): unknown => (Array.isArray(one) ? one.map(each) : one === null ? null : given(one))
    // The driver would take an array of objects for JSON.
    const isJson = declared.startsWith('json')
    const rows = fc
      .integer({ min: 1, max: 3 })
      .chain((length) => fc.array(fc.array(element, { minLength: length, maxLength: length }), { maxLength: 3 }))
    const one = {
      declared: `${declared}[]`,
      sql: `${sql}[]`,
      value: fc.array(element, { maxLength: 4 }),
      given: (v: unknown) => (isJson ? (v as unknown[]).map((e) => (e === null ? null : given(e))) : each(v)),
    }
    return isJson ? [one] : [one, { declared: `${declared}[][]`, sql: `${sql}[][]`, value: rows, given: each }]
  })

/** `a` is the value that `b` is, and written the same; a json has no equality, and is kept to the letter. */
const same = (sql: string, a: string, b: string) =>
  sql.startsWith('json') && !sql.startsWith('jsonb')
    ? `${a}::text is not distinct from ${b}::text`
    : `(${a} is not distinct from ${b} and ${a}::text is not distinct from ${b}::text)`

async function isStored(table: string, { sql, given = (one) => one }: Case, values: readonly unknown[]): Promise<void> {
  const base = sql === 'named' ? '"Odd schema"."a ""mood"""' : sql === 'even' || sql === 'shorter' ? sql : sql.replace('[][]', '[]')
  for (const [i, value] of values.entries()) {
    const parameter = value === null ? null : given(value)
    const rows = await database.query<{ isSame: boolean; there: string }>(
      `select ${same(sql, sql === 'named' ? `v::${base}` : 'v', `$2::${base}`)} as "isSame", v::text as there from ${table} where i = $1`,
      [i, parameter],
    )
    if (rows[0]?.isSame !== true) expect({ value, there: rows[0]?.there }).toBe('equal')
  }
}

const at = (one: Case, seed: number, numRuns = 40) => [null, ...fc.sample(one.value, { numRuns, seed })]

it('no type is left out below', () => {
  const tried = new Set([...scalars, ...arrays].map(({ declared }) => parseColumnType(declared)!.type))
  expect(scalarTypes.filter((type) => !tried.has(type))).toEqual([])
})

describe.each([...scalars, ...arrays].map((one, seed) => [`${one.declared} in ${one.sql}`, one, seed + 1] as const))(
  '%s',
  (_, one, seed) => {
    const columns = { i: 'int', v: `${one.declared}?` as ColumnType } as const
    const values = at(one, seed)
    const rows = values.map((v, i) => ({ i, v }))

    it('comes out as it went in, by COPY, by an upsert and row by row, and is screened without a letter', async () => {
      await database.query(
        `drop table if exists plain, keyed; create table plain (i int, v ${one.sql}); create table keyed (i int primary key, v ${one.sql})`,
      )
      const plain = await openTable(pool, { table: 'plain', columns })
      const keyed = await openTable(pool, { table: 'keyed', columns, upsertOn: ['i'] })
      await writeRows(pool, plain, rows)
      await isStored('plain', one, values)
      await writeRows(pool, keyed, rows)
      await isStored('keyed', one, values)
      await database.query('truncate plain, keyed')
      for (const [name, table] of [
        ['plain', plain],
        ['keyed', keyed],
      ] as const) {
        await inTransaction(pool, async (transaction) => {
          expect(await table.screen!(transaction, [linesOf(table, rows)])).toEqual([])
          expect(await table.writeEach!(transaction, [linesOf(table, rows)])).toEqual([])
        })
        await isStored(name, one, values)
      }
    })

    it('is found right by the comparison, and another value is found', async () => {
      await database.query(
        `drop table if exists compared, merged; create table compared (source_partition int, source_offset bigint, v ${one.sql}); create table merged (i int primary key, v ${one.sql})`,
      )
      const plain: PostgresTableDefinition = {
        table: 'compared',
        columns: { source_partition: 'int', source_offset: 'bigint', v: columns.v },
      }
      const merged: PostgresTableDefinition = { table: 'merged', columns, upsertOn: ['i'] }
      const [live, keyed] = [await openTable(pool, plain), await openTable(pool, merged)]
      const placed = values.map((v, n) => ({ source_partition: 0, source_offset: n, v }))
      await writeRows(pool, live, placed)
      await writeRows(pool, keyed, rows)
      const compare = () =>
        pool.use('testing', async (client) => {
          const check = await createPlainTableCheck(plain, client, { isOfKey: false })
          const mergedCheck = await createMergedTableCheck(merged, client)
          const offsets = placed.map((_, n) => BigInt(n))
          const texts = placed.map((row, n) =>
            expectedLine({ partition: 0, offset: BigInt(n), ordinal: 0, isSpared: false }, live.encode(row)),
          )
          return inTransactionOf(client, async (transaction) => {
            await check.prepare(transaction)
            await check.addRows(transaction, [jobLinesOf('a', 0, { offsets, timesMs: offsets.map(() => 0), texts })])
            const span = { partition: 0, after: -1n, upTo: BigInt(placed.length) }
            const found = await check.compare(transaction, span, 5)
            const mended = await check.mend(transaction, span)
            await mergedCheck.prepare(transaction)
            await mergedCheck.sink.write(transaction, [linesOf(keyed, rows)])
            await mergedCheck.keepRows(transaction, true)
            return { plain: counts(found), merged: counts(await mergedCheck.compare(transaction, true, 5)), mended: mended.rows }
          })
        })
      expect(await compare()).toEqual({ plain: [0, 0, 0], merged: [0, 0, 0], mended: 0 })
      await database.query('update merged set v = null where i = 1; delete from compared where source_offset = 1')
      expect(await compare()).toEqual({ plain: [1, 0, 0], merged: [0, 0, 1], mended: 1 })
      expect(await compare()).toMatchObject({ plain: [0, 0, 0] })
    })
  },
)

function counts({ missing, extra, different }: { missing: number; extra: number; different: number }): number[] {
  return [missing, extra, different]
}

async function inTransactionOf<T>(
  client: Parameters<Parameters<PostgresPool['use']>[1]>[0],
  body: (transaction: PostgresTransaction) => Promise<T>,
): Promise<T> {
  await client.query('begin')
  const result = await body(new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing'))
  await client.query('commit')
  return result
}

const keyed = scalars.filter(({ declared, sql }) => columnTypes[parseColumnType(declared)!.type].isKey && sql !== 'numeric')

describe.each(keyed.map((one, seed) => [`${one.declared} in ${one.sql}`, one, seed + 100] as const))('a key of %s', (_, one, seed) => {
  it('counts each value once, however it is written', async () => {
    await database.query(
      `drop table if exists counted, every; create table counted (v ${one.sql} primary key, n bigint); create table every (v ${one.sql})`,
    )
    const some = at(one, seed, 12).slice(1)
    const values = [
      ...some,
      ...some,
      ...some.map((value) => (typeof value === 'string' && one.declared === 'uuid' ? value.toUpperCase() : value)),
    ]
    const counted = await openTable(pool, {
      table: 'counted',
      columns: { v: one.declared as ColumnType, n: 'int' },
      upsertOn: ['v'],
      merge: { n: 'add' },
    })
    await writeRows(
      pool,
      await openTable(pool, { table: 'every', columns: { v: one.declared as ColumnType } }),
      values.map((v) => ({ v })),
    )
    await writeRows(
      pool,
      counted,
      values.slice(0, 20).map((v) => ({ v, n: 1 })),
    )
    await writeRows(
      pool,
      counted,
      values.slice(20).map((v) => ({ v, n: 1 })),
    )
    const merged: PostgresTableDefinition = {
      table: 'counted',
      columns: { v: one.declared as ColumnType, n: 'int' },
      upsertOn: ['v'],
      merge: { n: 'add' },
    }
    const found = await pool.use('testing', async (client) => {
      const check = await createMergedTableCheck(merged, client)
      return inTransactionOf(client, async (transaction) => {
        await check.prepare(transaction)
        const lines = values.map((v) => counted.encode({ v, n: 1 }))
        await check.addKeys(transaction, Buffer.from([...new Set(lines.map((line) => `${line.slice(0, line.indexOf('\t'))}\n`))].join('')))
        await check.sink.write(transaction, [
          linesOf(
            counted,
            values.map((v) => ({ v, n: 1 })),
          ),
        ])
        return [await check.keepRows(transaction, false), counts(await check.compare(transaction, false, 5))]
      })
    })
    expect(found).toEqual([(await database.query('select from counted')).length, [0, 0, 0]])
    const rows = await database.query('select v from ((select v, n from counted) except (select v, count(*) from every group by v)) x')
    expect(rows).toEqual([])
    expect(
      await database.query('select (select count(*) from counted)::int as a, (select count(distinct v) from every)::int as b'),
    ).toSatisfy(([row]: { a: number; b: number }[]) => row!.a === row!.b)
  })
})

const ordered = scalars.filter(({ declared, sql }) => {
  const { type } = parseColumnType(declared)!
  return !['boolean', 'enum', 'json', 'jsonb', 'inet'].includes(type) && sql !== 'named'
})

describe.each(ordered.map((one, seed) => [`${one.declared} in ${one.sql}`, one, seed + 200] as const))(
  'the least and the greatest of %s',
  (_, one, seed) => {
    it('are those of the database, however jobs fall into flushes', async () => {
      await database.query(
        `drop table if exists ends, every; create table ends (k int primary key, least ${one.sql}, most ${one.sql}); create table every (i int, v ${one.sql})`,
      )
      const type = `${one.declared}?` as ColumnType
      const merge = { least: 'min', most: 'max' } as Record<string, MergeMode>
      const ends = await openTable(pool, { table: 'ends', columns: { k: 'int', least: type, most: type }, upsertOn: ['k'], merge })
      const values = at(one, seed, 30)
      await writeRows(
        pool,
        await openTable(pool, { table: 'every', columns: { i: 'int', v: type } }),
        values.map((v, i) => ({ i, v })),
      )
      for (const part of [values.slice(0, 9), values.slice(9, 10), values.slice(10)])
        await writeRows(
          pool,
          ends,
          part.map((v) => ({ k: 1, least: v, most: v })),
        )
      const order = /^(text|varchar|shorter)/.test(one.sql) ? 'v collate "C"' : 'v'
      const [row] = await database.query<{
        isLeast: boolean
        isMost: boolean
      }>(`select least = (select v from every where v is not null order by ${order} limit 1) as "isLeast",
      most = (select v from every where v is not null order by ${order} desc limit 1) as "isMost" from ends`)
      expect(row).toEqual({ isLeast: true, isMost: true })
    })
  },
)

describe('a row that only the table can refuse', () => {
  it.each<[string, string, ColumnType, unknown, unknown]>([
    ['a text that is too long', 'varchar(3)', 'text', 'abc', 'abcd'],
    ['a label that the enum has not', 'named', 'text', 'calm', 'wild'],
    ['a text that is no uuid', 'uuid', 'text', '6ecd8c99-4036-403d-bf84-cf8400f67836', 'none'],
    ['a domain of a domain', 'shorter', 'text', 'abc', 'abcd'],
    ['a domain of an array', 'tags', 'text[]', ['a'], ['a', 'b', 'c', 'd', 'e']],
    ['an element that is too long', 'varchar(3)[]', 'text[]', ['abc'], ['abc', 'abcd']],
    ['an element that the domain refuses', 'even[]', 'int[]', [2], [2, 3]],
    ['digits beyond the column', 'numeric(3,1)', 'numeric', '99.9', '100'],
    ['U+0000 in a jsonb', 'jsonb', 'json', ['a'], ['\0']],
  ])('is a dead letter that names the column: %s', async (what, sql, declared, good, bad) => {
    await database.query(
      `drop table if exists refusing, refusing_key; create table refusing (i int, "The column" ${sql}); create table refusing_key (i int primary key, "The column" ${sql})`,
    )
    const columns = { i: 'int', 'The column': declared } as const
    for (const [name, key] of [
      ['refusing', undefined],
      ['refusing_key', ['i']],
    ] as const) {
      const table = await openTable(pool, { table: name, columns, ...(key === undefined ? {} : { upsertOn: key }) })
      // The bad one is hidden by a later one of its key, and is found all the same.
      const rows = [good, bad, good].map((value, n) => ({ i: n === 0 ? 0 : 1, 'The column': value }))
      await expect(writeRows(pool, table, rows), what).rejects.toMatchObject({ code: 'FB_BAD_JOB' })
      const letters = await inTransaction(pool, (transaction) =>
        writeRefused(table as unknown as TransactionalSink, transaction, [linesOf(table, rows)]),
      )
      expect(letters.map(({ offset }) => offset)).toEqual([1n])
      expect(letters[0]!.error).toContain('"The column"')
      expect(await database.query(`select i from ${name} order by i`)).toEqual([{ i: 0 }, { i: 1 }])
    }
  })
})

describe('columns that the table fills by itself', () => {
  it('may be left out: defaults, those of domains, identities and generated ones', async () => {
    await database.query(`create table own_columns (id int generated always as identity, nr int generated by default as identity, serial serial, at timestamptz not null default now(),
      kind filled, need int not null, twice int generated always as (need * 2) stored)`)
    await writeRows(pool, await openTable(pool, { table: 'own_columns', columns: { need: 'int' } }), [{ need: 4 }])
    expect(await database.query('select id, nr, serial, kind, need, twice from own_columns')).toEqual([
      { id: 1, nr: 1, serial: 1, kind: 'given', need: 4, twice: 8 },
    ])
    await writeRows(pool, await openTable(pool, { table: 'own_columns', columns: { need: 'int', nr: 'int', kind: 'text' } }), [
      { need: 1, nr: 9, kind: 'x' },
    ])
    expect(await database.query('select nr, kind from own_columns where need = 1')).toEqual([{ nr: 9, kind: 'x' }])
  })
})

describe('the check of the catalogue', () => {
  it.each<[string, string, string]>([
    ['varchar(3)', 'varchar(4)', "takes 3 characters, but the pipeline declares varchar(4); declare it 'varchar(3)'"],
    ['shorter', 'varchar(5)', 'takes 4 characters'],
    ['numeric(5,2)', 'numeric(5,3)', "takes numeric(5,2), but the pipeline declares numeric(5,3); declare it 'numeric(5,2)'"],
    ['numeric(5,2)', 'numeric(6,2)', 'takes numeric(5,2)'],
    ['timestamptz(2)', 'timestamptz(3)', 'takes 2 digits behind the second'],
    ['named', 'enum(calm|wild)', 'takes calm, on hold, a,"b\\, , and not wild'],
    ['int', 'int[]', "of type int4, but the pipeline declares int[]; declare it 'int' or alter it to int4[]"],
    ['int[]', 'int', "of type int4[], but the pipeline declares int; declare it 'int[]' or alter it to int4"],
    ['interval', 'text', 'an interval has no one text'],
    ['tsrange', 'text', 'forebay has no type for tsrange; leave it out, or alter it to text'],
    ['timestamp', 'timestamptz', "of type timestamp, but the pipeline declares timestamptz; declare it 'timestamp'"],
    ['text', 'date', "declare it 'text' or alter it to date"],
    ['bigint', 'int2', ''],
    ['float8', 'float4', ''],
    ['jsonb', 'json', ''],
    ['json', 'jsonb', "declare it 'json'"],
    ['int', 'enum(a|b)', "declare it 'int' or alter it to an enum"],
    ['named[]', 'enum(calm|on hold)[]', ''],
    ['tags', 'text[]', ''],
  ])('of %s as %s: %s', async (sql, declared, sentence) => {
    await database.query(`drop table if exists typed; create table typed (v ${sql})`)
    const opened = openTable(pool, { table: 'typed', columns: { v: declared as ColumnType } })
    if (sentence === '') await opened
    else await expect(opened).rejects.toMatchObject({ code: 'FB_CATALOGUE', message: expect.stringContaining(sentence) })
  })

  it('refuses a key of rounded times until it is declared so', async () => {
    await database.query('create table rounded (at timestamptz(3) primary key)')
    const open = (type: ColumnType) => openTable(pool, { table: 'rounded', columns: { at: type }, upsertOn: ['at'] })
    await expect(open('timestamptz')).rejects.toMatchObject({ message: expect.stringContaining("declare it 'timestamptz(3)'") })
    await open('timestamptz(3)')
  })
})
