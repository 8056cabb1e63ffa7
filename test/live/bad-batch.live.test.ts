/** Bad rows in large batches, and tables that refuse a whole task, on a real Postgres. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLines } from '../../src/grid/segment.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { writeRefused } from '../../src/work/isolate.ts'
import { builtCommand } from '../support/built.ts'
import { ask, floorsReachEnd, postgresFeed } from '../support/live-node.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let folder = ''

beforeAll(async () => {
  database = await createTestDatabase()
  folder = mkdtempSync(join(tmpdir(), 'forebay-batch-'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await database.drop()
})

describe('A batch of 5,000 rows', () => {
  const count = 5000

  /** Writes the numbers 0 to 4,999, of which the table refuses `bad`; tells how often it was asked, and what was buried. */
  async function isolate(bad: readonly number[]): Promise<{ tries: number; buried: number[]; rows: number; inOrder: boolean }> {
    await ask(
      database.url,
      `drop table if exists numbers; create table numbers (seq bigint generated always as identity, n int check (n <> all (array[${bad.join()}])))`,
    )
    await using pool = testPool(database.url)
    let tries = 0
    const letters = await pool.use('testing', async (client) => {
      const table = await createPostgresTable({ table: 'numbers', columns: { n: 'int' } }, client)
      const write = (transaction: PostgresTransaction, jobs: readonly JobLines[]) => (tries++, table.write(transaction, jobs))
      const sink = { ...table, write } as unknown as TransactionalSink
      const numbers = Array.from({ length: count }, (_, n) => n)
      const bytes = Buffer.from(numbers.map((n) => `${table.encode({ n })}\n`).join(''))
      const of = { task: 'a', kind: 'job' as const, partition: 0, queue: 0 }
      const jobs = new JobLines(of, bytes, { offset: 0n, timeMs: 0 }, Uint32Array.from(numbers), new Uint32Array(count))
      await client.query('begin')
      const found = await writeRefused(sink, new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing'), [jobs])
      await client.query('commit')
      return found
    })
    const rows = await ask<{ n: number }>(database.url, 'select n from numbers order by seq')
    return {
      tries,
      buried: letters.map(({ offset }) => Number(offset)),
      rows: rows.length,
      inOrder: rows.every(({ n }, i) => i === 0 || n > rows[i - 1]!.n),
    }
  }

  it.each([0, 1, 2499, 2500, 3333, 4999])('is written but for its bad row %i, with at most 2 * log2(n) savepoints', async (bad) => {
    const { tries, ...found } = await isolate([bad])
    expect(found).toEqual({ buried: [bad], rows: count - 1, inOrder: true })
    expect(tries).toBeLessThanOrEqual(2 * Math.log2(count))
  })

  it('is written but for several bad rows', async () => {
    const { tries, ...found } = await isolate([7, 8, 2600, 4998])
    expect(found).toEqual({ buried: [7, 8, 2600, 4998], rows: count - 4, inOrder: true })
    expect(tries).toBeLessThanOrEqual(4 * 2 * Math.log2(count))
  })
})

describe('A batch of 5,000 rows of which half are refused', () => {
  const count = 5000
  const numbers = Array.from({ length: count }, (_, n) => n)
  const text = 'copied as it is'

  /** Writes `count` rows, of which the odd ones are refused; the statements that the server was asked, by their first word. */
  async function half(made: string, definition: Omit<PostgresTableDefinition, 'kind'>, rowOf: (n: number) => object) {
    await ask(database.url, made)
    await using pool = testPool(database.url)
    return await pool.use('testing', async (client) => {
      const table = await createPostgresTable({ ...definition }, client)
      const bytes = Buffer.from(numbers.map((n) => `${table.encode(rowOf(n))}\n`).join(''))
      const of = { task: 'a', kind: 'job' as const, partition: 0, queue: 0 }
      const jobs = new JobLines(of, bytes, { offset: 0n, timeMs: 0 }, Uint32Array.from(numbers), new Uint32Array(count))
      const asked: Record<string, number> = {}
      const query = client.query.bind(client) as (...args: unknown[]) => unknown
      client.query = ((...args: unknown[]) => {
        const [word] = ((args[0] as { text?: string }).text ?? 'other').split(' ')
        asked[word!] = (asked[word!] ?? 0) + 1
        return query(...args)
      }) as typeof client.query
      await client.query('begin')
      const letters = await writeRefused(
        table as unknown as TransactionalSink,
        new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing'),
        [jobs],
      )
      await client.query('commit')
      client.query = query as typeof client.query
      return { letters, asked }
    })
  }

  it.each([
    [
      'a check',
      'n int check (n % 2 = 0), v text',
      (n: number) => ({ n, v: text }),
      /violates check constraint "halved_n_check" \(SQLSTATE 23514\)/,
    ],
    ['a length', 'n int, v varchar(3)', (n: number) => ({ n, v: n % 2 === 0 ? 'ok' : 'long' }), /too long.*\(column "v"\).*22001/],
    ['a type', 'n int, v uuid', (n: number) => ({ n, v: n % 2 === 0 ? '6ecd8c99-4036-403d-bf84-cf8400f67836' : text }), /uuid.*22P02/],
    ['a domain', 'n int, v even_text', (n: number) => ({ n, v: n % 2 === 0 ? 'ok' : 'odd' }), /even_text_check.*23514/],
  ])('by %s: they are seen at once, and one savepoint does', async (_, columns, rowOf, sentence) => {
    const { letters, asked } = await half(
      `drop domain if exists even_text cascade; create domain even_text as text check (value <> 'odd');
       drop table if exists halved; create table halved (seq bigint generated always as identity, ${columns})`,
      { table: 'halved', columns: { n: 'int', v: 'text' } },
      rowOf,
    )
    expect(letters.map(({ offset }) => Number(offset))).toEqual(numbers.filter((n) => n % 2 === 1))
    expect(letters[0]!.error).toMatch(sentence)
    expect(await ask(database.url, 'select n from halved order by seq')).toEqual(numbers.filter((n) => n % 2 === 0).map((n) => ({ n })))
    expect(asked['savepoint']).toBeLessThanOrEqual(2)
  })

  it.each([
    ['a foreign key', 'n int references evens (n), v text', {}, /foreign key.*23503.*redrive the letter once/],
    ['a trigger', 'n int, v text', {}, /odd numbers are not let in.*P0001/],
    ['a unique index', 'n int, v text, h int generated always as (n / 2) stored unique', {}, /duplicate key.*23505/],
    ['a trigger, under a key', 'n int primary key, v text', { upsertOn: ['n'] }, /odd numbers are not let in.*P0001/],
  ])('by %s: the server sees them at once, or goes through the rows itself', async (what, columns, key, sentence) => {
    const { letters, asked } = await half(
      `drop table if exists halved; drop table if exists evens; create table evens (n int primary key);
       insert into evens select generate_series(0, ${count}, 2);
       create table halved (seq bigint generated always as identity, ${columns});
       create or replace function refuse_odd() returns trigger language plpgsql as
         $$begin if new.n % 2 = 1 then raise 'odd numbers are not let in'; end if; return new; end$$;
       ${what.startsWith('a trigger') ? 'create trigger odd before insert on halved for each row execute function refuse_odd()' : ''}`,
      { table: 'halved', columns: { n: 'int', v: 'text' }, ...key },
      (n) => ({ n, v: '\\N \t "' }),
    )
    expect(letters.map(({ offset }) => Number(offset))).toEqual(numbers.filter((n) => n % 2 === 1))
    for (const { error } of letters) expect(error).toMatch(sentence)
    expect(await ask(database.url, `select n from halved where v = E'\\\\N \\t "' order by seq`)).toEqual(
      numbers.filter((n) => n % 2 === 0).map((n) => ({ n })),
    )
    const isSeen = what === 'a foreign key'
    expect(asked['savepoint']).toBeLessThanOrEqual(isSeen ? 2 : 32)
    expect(asked['do'] ?? 0).toBeLessThanOrEqual(isSeen ? 0 : 16)
  })

  it('of a table that goes missing meanwhile is refused as a whole, with no dead letter', async () => {
    const made = 'drop table if exists halved; create table halved (seq bigint generated always as identity, n int, v text)'
    const trigger = `create or replace function refuse_odd() returns trigger language plpgsql as
      $$begin if new.n % 2 = 1 then raise 'odd'; end if; perform from nowhere; return new; end$$;
      create trigger odd before insert on halved for each row execute function refuse_odd()`
    await expect(
      half(`${made}; ${trigger}`, { table: 'halved', columns: { n: 'int', v: 'text' } }, (n) => ({ n: n < 4000 ? 1 : n, v: text })),
    ).rejects.toMatchObject({ code: 'FB_SCHEMA', message: expect.stringContaining('nowhere') })
  })

  it('takes what fits a column that was widened a moment ago', async () => {
    await ask(database.url, 'drop table if exists halved; create table halved (n int, v varchar(3))')
    await using pool = testPool(database.url)
    const letters = await pool.use('testing', async (client) => {
      const table = await createPostgresTable({ table: 'halved', columns: { n: 'int', v: 'text' } }, client)
      await ask(database.url, 'alter table halved alter v type varchar(4)')
      const bytes = Buffer.from('1\tlong\n2\tlonger\n')
      const of = { task: 'a', kind: 'job' as const, partition: 0, queue: 0 }
      const jobs = new JobLines(of, bytes, { offset: 0n, timeMs: 0 }, Uint32Array.of(0, 1), new Uint32Array(2))
      await client.query('begin')
      const transaction = new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing')
      const found = await writeRefused(table as unknown as TransactionalSink, transaction, [jobs])
      await client.query('commit')
      return found
    })
    expect(letters.map(({ offset }) => Number(offset))).toEqual([1])
    expect(await ask(database.url, 'select * from halved')).toEqual([{ n: 1, v: 'long' }])
  })
})

describe('A partitioned table without a partition for the rows', () => {
  it('is the table that is at fault, and no row', async () => {
    await ask(
      database.url,
      `create table days (day int, n int) partition by list (day); create table day_1 partition of days for values in (1);
       create table keyed_days (day int, n int, primary key (day, n)) partition by list (day)`,
    )
    await using pool = testPool(database.url)
    for (const definition of [
      { table: 'days', columns: { day: 'int', n: 'int' } },
      { table: 'keyed_days', columns: { day: 'int', n: 'int' }, upsertOn: ['day', 'n'] },
    ] as const) {
      const refused = pool.use('testing', async (client) => {
        const table = await createPostgresTable({ ...definition }, client)
        const bytes = Buffer.from('2\t1\n2\t2\n')
        const of = { task: 'a', kind: 'job' as const, partition: 0, queue: 0 }
        const jobs = new JobLines(of, bytes, { offset: 0n, timeMs: 0 }, Uint32Array.of(0, 1), new Uint32Array(2))
        await client.query('begin')
        const transaction = new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'testing')
        await table.writeEach!(transaction, [jobs])
      })
      await expect(refused).rejects.toMatchObject({
        code: 'FB_SCHEMA',
        message: expect.stringMatching(/no partition.*create the partition/),
      })
    }
  })
})

describe('A table that refuses its task', () => {
  const role = `batch_${process.pid}`
  const name = 'refused'
  let child: ChildProcess | undefined
  let logged = ''

  afterAll(async () => {
    child?.kill('SIGKILL')
    await ask(database.url, `drop owned by ${role} cascade; drop role ${role}`)
  })

  function startChild(): ChildProcess {
    const pipeline = join(folder, 'pipeline.ts')
    writeFileSync(
      pipeline,
      `import { definePipeline, json, postgresTable } from '${join(packageRoot, 'dist/index.js')}'
       import * as z from '${join(packageRoot, 'node_modules/zod/index.js')}'
       export default definePipeline({ name: '${name}', key: () => 'k', source: { topic: '${name}', decode: json(z.object({ n: z.int() })) },
         tasks: { number: { every: '15ms', sink: postgresTable('refused', { columns: { n: 'int' } }), convert: ({ n }) => ({ n }) } } })`,
    )
    const config = join(folder, 'forebay.yaml')
    writeFileSync(
      config,
      `pipeline: ${pipeline}\nnode: { port: 0 }\nevents: { kind: postgres }\ngrid: { mode: local }\nlog: { level: warn }\n`,
    )
    const url = new URL(database.url)
    url.username = role
    url.password = 'secret'
    const started = spawn(process.execPath, [builtCommand, 'start', '-c', config], {
      cwd: packageRoot,
      env: { ...process.env, FOREBAY_DATABASE_URL: url.href },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    started.stderr!.on('data', (data: Buffer) => (logged += data.toString()))
    return started
  }

  const alerts = () => logged.split('\n').filter((line) => line.includes('"level":"error"') && line.includes('task number'))

  it('makes one alert and no dead letters, and goes on by itself once the right is back, and the table', async () => {
    await ask(
      database.url,
      `create role ${role} login password 'secret'; create table refused (n int);
       grant create on database ${new URL(database.url).pathname.slice(1)} to ${role}; grant select, insert on refused to ${role}`,
    )
    await using feed = await postgresFeed(database.url, name)
    const publish = async (n: number) => feed.publish(0, [JSON.stringify({ n })])
    await ask(
      database.url,
      `do $$ declare s text; begin for s in select distinct schemaname from pg_tables where schemaname like 'forebay%' loop
      execute format('grant usage, create on schema %I to ${role}; grant all on all tables in schema %I to ${role}; grant all on all sequences in schema %I to ${role}', s, s, s); end loop; end $$`,
    )
    await publish(1)
    child = startChild()
    await floorsReachEnd(database.url, feed.events, { pipeline: name })
    expect(alerts()).toEqual([])

    await ask(database.url, `revoke insert on refused from ${role}`)
    await publish(2)
    await expect.poll(() => alerts().length, { timeout: 15_000 }).toBe(1)
    await sleep(2500)
    expect(alerts()).toEqual([expect.stringMatching(/permission denied/)])
    await ask(database.url, `grant insert on refused to ${role}`)
    await floorsReachEnd(database.url, feed.events, { pipeline: name })

    await ask(database.url, 'alter table refused rename to away')
    await publish(3)
    await expect.poll(() => alerts().length, { timeout: 15_000 }).toBe(2)
    await sleep(2500)
    expect(alerts()[1]).toMatch(/does not exist/)
    await ask(database.url, 'alter table away rename to refused')
    await floorsReachEnd(database.url, feed.events, { pipeline: name })

    await ask(
      database.url,
      `alter table refused rename to first_days; create table refused (n int) partition by range (n);
       alter table refused attach partition first_days for values from (0) to (4); grant select, insert on refused to ${role}`,
    )
    await publish(4)
    await expect.poll(() => alerts().length, { timeout: 15_000 }).toBe(3)
    await sleep(2500)
    expect(alerts()[2]).toMatch(/no partition of relation.*create the partition/)
    await ask(database.url, 'create table next_days partition of refused default')
    await floorsReachEnd(database.url, feed.events, { pipeline: name })

    expect(alerts()).toHaveLength(3)
    expect(await ask(database.url, 'select n from refused order by n')).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
    expect(await ask(database.url, 'select * from forebay.dead_letters')).toEqual([])
  })
})
