/** Bad rows in large batches, and tables that refuse a whole task, on a real Postgres. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLines } from '../../src/grid/segment.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import { PostgresTransaction } from '../../src/offsets/postgres-transaction.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table.ts'
import type { TransactionalSink } from '../../src/sinks/sink.ts'
import { writeRefused } from '../../src/work/isolate.ts'
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
      const table = await createPostgresTable({ kind: 'postgres-table', table: 'numbers', columns: { n: 'int' } }, client)
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
      `import { definePipeline, json, postgresTable } from '${join(packageRoot, 'src/index.ts')}'
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
    const started = spawn(process.execPath, ['--import', 'tsx', join(packageRoot, 'src/cli/main.ts'), 'start', '-c', config], {
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
    await sleep(3500)
    expect(alerts()).toEqual([expect.stringMatching(/permission denied/)])
    await ask(database.url, `grant insert on refused to ${role}`)
    await floorsReachEnd(database.url, feed.events, { pipeline: name })

    await ask(database.url, 'alter table refused rename to away')
    await publish(3)
    await expect.poll(() => alerts().length, { timeout: 15_000 }).toBe(2)
    await sleep(3500)
    expect(alerts()[1]).toMatch(/does not exist/)
    await ask(database.url, 'alter table away rename to refused')
    await floorsReachEnd(database.url, feed.events, { pipeline: name })

    expect(alerts()).toHaveLength(2)
    expect(await ask(database.url, 'select n from refused order by n')).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
    expect(await ask(database.url, 'select * from forebay.dead_letters')).toEqual([])
  })
})
