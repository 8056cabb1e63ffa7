/** Dead letters by the command line, on real servers: made by a node with a poor pipeline, mended with a better one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { runCommand } from '../../src/cli/run-command.ts'
import { definePipeline, json, postgresTable } from '../../src/index.ts'
import type { Pipeline } from '../../src/index.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import { PostgresDeadLetters } from '../../src/dead-letters/postgres-dead-letters.ts'
import {
  ask,
  createItemTables,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  postgresFeed,
  startNode,
  startTestKafka,
  traceparent,
} from '../support/live-node.ts'
import type { Feed, TestKafka } from '../support/live-node.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

/** The modules of the configurations lie outside the project, where no bare name leads to it. */
const zod = join(packageRoot, 'node_modules/zod/index.js')
let database: TestDatabase
let kafka: TestKafka
let folder = ''
let out = ''
let err = ''

beforeAll(async () => {
  database = await createTestDatabase()
  kafka = await startTestKafka()
  folder = mkdtempSync(join(tmpdir(), 'forebay-letters-'))
  process.env['FOREBAY_DATABASE_URL'] = database.url
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
})
afterAll(async () => {
  vi.restoreAllMocks()
  delete process.env['FOREBAY_DATABASE_URL']
  rmSync(folder, { recursive: true, force: true })
  await database.drop()
})
afterEach(() => {
  out = ''
  err = ''
})

/** Runs `forebay dead-letters …`; gives the exit code and the JSON it printed. */
async function letters(config: string, ...words: string[]): Promise<{ code: number; told: never; text: string }> {
  out = ''
  err = ''
  const code = await runCommand(['dead-letters', ...words, '-c', config])
  return { code, told: (out.startsWith('{') || out.startsWith('[') ? JSON.parse(out) : undefined) as never, text: `${out}${err}` }
}

/** A configuration whose pipeline takes numbers written as text, and converts what the first one refused to. */
function mendedConfig(name: string, topic: string, prefix: string, events: string): string {
  const pipeline = join(folder, `${name}.ts`)
  writeFileSync(
    pipeline,
    `import { definePipeline, json, postgresTable } from '${join(packageRoot, 'src/index.ts')}'
     import * as z from '${zod}'
     export default definePipeline({
       name: '${name}', version: '2', key: (event) => event.key,
       source: { topic: '${topic}', decode: json(z.object({ key: z.string(), n: z.coerce.number().int(), mode: z.string().optional() })) },
       tasks: {
         item: { every: '15ms', sink: postgresTable('${prefix}items', { columns: { source_partition: 'int', source_offset: 'bigint', item_key: 'text', n: 'int', made_by: 'text' } }),
           convert: (event, at) => ({ source_partition: at.partition, source_offset: at.offset, item_key: event.key, n: event.n, made_by: 'redrive' }) },
         total: { every: '60ms', sink: postgresTable('${prefix}totals', { columns: { item_key: 'text', events: 'bigint', total: 'bigint', last_n: 'int' },
             upsertOn: ['item_key'], merge: { events: 'add', total: 'add' } }),
           convert: (event) => ({ item_key: event.key, events: 1, total: event.n, last_n: event.n }) },
       },
     })`,
  )
  const config = join(folder, `${name}.yaml`)
  writeFileSync(config, `pipeline: ${pipeline}\nevents: ${events}\ngrid: { mode: local }\n`)
  return config
}

const bad = [
  JSON.stringify({ key: 'p0 late', n: '7' }),
  JSON.stringify({ key: 'p0 late', n: 5, mode: 'bad convert' }),
  JSON.stringify({ key: 'p0 late', n: -3 }),
  '{"key": oops',
]

/** Runs a node until all is processed; four letters are left. */
async function makeLetters(pipeline: Pipeline, feed: Feed, events?: Parameters<typeof startNode>[1]['events']): Promise<void> {
  for (const value of bad) await feed.publish(0, [...itemValues(0, 30), value])
  await feed.publish(1, itemValues(1, 30))
  await using node = await startNode(pipeline, { url: database.url, ...(events === undefined ? {} : { events }) })
  await floorsReachEnd(database.url, feed.events, { pipeline: pipeline.name })
  await node.stop()
}

describe('forebay dead-letters', () => {
  it.each(['postgres', 'kafka'] as const)('lists, tries, and redrives exactly once from the event log in %s', async (kind) => {
    const [name, prefix] = [`letters-${kind}`, `${kind}_`]
    await createItemTables(database.url, prefix)
    await using feed = kind === 'kafka' ? await kafka.feed(name) : await postgresFeed(database.url, name)
    await makeLetters(itemsPipeline({ name, topic: name, prefix }), feed, kind === 'kafka' ? kafka.events(name) : undefined)
    const config = mendedConfig(
      name,
      name,
      prefix,
      kind === 'kafka' ? `{ kind: kafka, brokers: ['${kafka.address}'] }` : '{ kind: postgres }',
    )
    const late = () => ask(database.url, `select n from ${prefix}items where item_key = 'p0 late' and made_by = 'redrive' order by n`)

    const listed = await letters(config, 'list', '--json')
    expect(listed.code).toBe(0)
    expect(listed.told).toMatchObject([
      { task: null, isJob: false, offset: '30', attempts: 1 },
      { task: 'item', isJob: false, offset: '61' },
      { task: 'item', isJob: true, offset: '92', ordinal: 0 },
      { task: null, isJob: false, offset: '123' },
    ])
    const job = (listed.told as { id: string }[])[2]!.id
    if (kind === 'postgres') {
      // A refused job does not know its trace; the event log does.
      const traces = (listed.told as { traceparent: string | null }[]).map((letter) => letter.traceparent)
      expect(traces).toEqual([traceparent, traceparent, null, traceparent])
      expect((await letters(config, 'show', job)).text).toContain(`trace: ${traceparent}`)
    }
    expect((await letters(config, 'list', '--task', 'item', '--json')).told).toHaveLength(2)
    expect((await letters(config, 'list', '--task', 'none', '--json')).told).toHaveLength(2)
    expect((await letters(config, 'list', '--error', 'NOT json', '--json')).told).toMatchObject([{ offset: '123' }])
    expect((await letters(config, 'list', '--key', 'p0 late', '--json')).told).toHaveLength(3)
    expect((await letters(config, 'list', '--to', '2020-01-01T00:00:00Z')).text).toContain('no dead letters')
    expect((await letters(config, 'show', job)).text).toMatch(/job 0 of task item[\s\S]*it would fail: .*items_n_check/)

    const dry = await letters(config, 'redrive', '--all', '--dry-run', '--json')
    expect(dry).toMatchObject({ code: 65, told: { isDryRun: true, redriven: 2, failed: 2, jobs: 3 } })
    expect(await late()).toEqual([])

    const [one, two] = [letters(config, 'redrive', '--all', '--json'), runCommand(['dead-letters', 'redrive', '--all', '-c', config])]
    await Promise.all([one.catch(() => undefined), two])
    expect(await late()).toEqual([{ n: 5 }, { n: 7 }])
    const left = (await letters(config, 'list', '--json')).told as { offset: string; attempts: number; error: string }[]
    expect(left.map(({ offset }) => offset)).toEqual(['92', '123'])
    expect(left[0]!.attempts).toBeGreaterThanOrEqual(2)

    await ask(database.url, `alter table ${prefix}items drop constraint ${prefix}items_n_check`)
    const again = await letters(config, 'redrive', '--task', 'item', '--json')
    expect(again).toMatchObject({ code: 0, told: { redriven: 1, failed: 0, jobs: 1 } })
    expect(await late()).toEqual([{ n: -3 }, { n: 5 }, { n: 7 }])
    // Redriven again, nothing is left to take: each was written once.
    expect((await letters(config, 'redrive', '--task', 'item', '--json')).told).toMatchObject({ redriven: 0, jobs: 0 })
    // The whole event went to both tables; the two letters of one task to that task only.
    expect(await ask(database.url, `select events, total from ${prefix}totals where item_key = 'p0 late'`)).toEqual([
      { events: '3', total: '9' },
    ])

    expect((await letters(config, 'discard', '--all')).code).toBe(64)
    expect((await letters(config, 'discard', '--offset', '123', '--reason', 'a broken feed')).text).toContain('1 dead letters discarded')
    expect((await letters(config, 'list')).text).toContain('no dead letters')
    expect((await letters(config, 'list', '--all', '--json')).told).toMatchObject([
      {},
      {},
      {},
      { resolution: 'discarded', reason: 'a broken feed' },
    ])
  })

  it('uses what the letter kept when the event is gone, and says when that is not enough', async () => {
    const name = 'letters-gone'
    await createItemTables(database.url, 'gone_')
    await using feed = await postgresFeed(database.url, name, { retentionEvents: 1 })
    const long = JSON.stringify({ key: 'p0 late', n: 'seven', pad: 'x'.repeat(100_000) })
    await feed.publish(0, [long])
    await makeLetters(itemsPipeline({ name, topic: name, prefix: 'gone_' }), feed)
    await feed.publish(0, itemValues(0, 3))
    expect(await feed.trim()).toBeGreaterThan(100)
    const config = mendedConfig(name, name, 'gone_', '{ kind: postgres }')
    await ask(database.url, 'alter table gone_items drop constraint gone_items_n_check')
    const { told, code } = await letters(config, 'redrive', '--all', '--json')
    expect(code).toBe(65)
    expect(told).toMatchObject({ redriven: 3, failed: 2, jobs: 4 })
    const failed = (await letters(config, 'list', '--json')).told as { error: string }[]
    expect(failed.map(({ error }) => error)).toEqual([
      expect.stringMatching(/no longer holds the event.*only the beginning/),
      expect.stringMatching(/not JSON/),
    ])
    expect(await ask(database.url, `select n from gone_items where item_key = 'p0 late' order by n`)).toEqual([
      { n: -3 },
      { n: 5 },
      { n: 7 },
    ])
  })

  it('never writes rows of another event that the log holds at the offset of a letter now', async () => {
    const name = 'letters-replaced'
    await createItemTables(database.url, 'replaced_')
    await using feed = await postgresFeed(database.url, name)
    await makeLetters(itemsPipeline({ name, topic: name, prefix: 'replaced_' }), feed)
    const others = JSON.stringify({ key: 'p0 late', n: 999 })
    const replace = `update forebay.log_events e set value = $1, timestamp_ms = timestamp_ms + 1
      from forebay.dead_letters l join forebay.log_topics t on t.name = l.topic where t.name = $2 and e.topic = t.topic and l.partition = e.partition and l."offset" = e.event_offset returning event_offset::text as "offset"`
    expect(await ask(database.url, replace, [Buffer.from(others), name])).toHaveLength(4)
    await ask(database.url, 'alter table replaced_items drop constraint replaced_items_n_check')
    const config = mendedConfig(name, name, 'replaced_', '{ kind: postgres }')
    expect(await letters(config, 'redrive', '--all', '--by-ordinal', '--json')).toMatchObject({ code: 78 })
    // Where no event at the floor gives it away (it expired, or a log made anew is shorter), the letters do.
    await ask(database.url, 'delete from forebay.floor_events where pipeline = $1', [name])
    expect(await letters(config, 'redrive', '--all', '--by-ordinal', '--json')).toMatchObject({
      code: 65,
      told: { redriven: 3, failed: 1 },
    })
    const rows = `select n, made_by from replaced_items where item_key = 'p0 late' order by n`
    expect(await ask(database.url, rows)).toMatchObject([{ n: -3 }, { n: 5, made_by: 'redrive' }, { n: 7, made_by: 'redrive' }])
    expect(await ask(database.url, `select total::int from replaced_totals where item_key = 'p0 late'`)).toEqual([{ total: 9 }])
  })

  it('takes a job of several by its ordinal, and does not guess when the conversion changed', async () => {
    const name = 'letters-many'
    await ask(database.url, 'create table parts (source_offset bigint, part int, constraint small check (part < 10))')
    const source = { topic: name, decode: json(z.object({ parts: z.array(z.int()) })) }
    const sink = postgresTable('parts', { columns: { source_offset: 'bigint', part: 'int' } })
    const many = (version: string, chosen: string) => `definePipeline({ name: '${name}', version: '${version}', key: () => 'k',
      source: { topic: '${name}', decode: json(z.object({ parts: z.array(z.int()) })) },
      tasks: { part: { every: '15ms', sink: postgresTable('parts', { columns: { source_offset: 'bigint', part: 'int' } }),
        convert: (event, at) => ${chosen} } } })`
    const first = definePipeline({
      name,
      source,
      key: () => 'k',
      tasks: { part: { every: '15ms', sink, convert: (event, at) => event.parts.map((part) => ({ source_offset: at.offset, part })) } },
    })
    await using feed = await postgresFeed(database.url, name)
    await feed.publish(0, [JSON.stringify({ parts: [1, 20, 3] })])
    await using node = await startNode(first, { url: database.url })
    await floorsReachEnd(database.url, feed.events, { pipeline: name })
    await node.stop()
    const configOf = (file: string, chosen: string) => {
      const module = join(folder, `${file}.ts`)
      const head = `import { definePipeline, json, postgresTable } from '${join(packageRoot, 'src/index.ts')}'\nimport * as z from '${zod}'\n`
      writeFileSync(module, `${head}export default ${many('2', chosen)}`)
      const config = join(folder, `${file}.yaml`)
      writeFileSync(config, `pipeline: ${module}\nevents: { kind: postgres }\ngrid: { mode: local }\n`)
      return config
    }
    const rows = async () => (await ask<{ part: number }>(database.url, 'select part from parts order by part')).map(({ part }) => part)
    expect(await rows()).toEqual([1, 3])
    const filtered = configOf('filtered', 'event.parts.filter((part) => part < 10).map((part) => ({ source_offset: at.offset, part }))')
    const guessing = await letters(filtered, 'redrive', '--all', '--json')
    expect(guessing).toMatchObject({
      code: 65,
      told: { letters: [{ outcome: 'failed', error: expect.stringMatching(/other jobs.*--by-ordinal/) as string }] },
    })
    expect(await rows()).toEqual([1, 3])
    const capped = configOf('capped', 'event.parts.map((part) => ({ source_offset: at.offset, part: Math.min(part, 9) }))')
    expect((await letters(capped, 'redrive', '--all', '--by-ordinal', '--json')).told).toMatchObject({ redriven: 1, jobs: 1 })
    expect(await rows()).toEqual([1, 3, 9])
  })

  it('leaves a letter whole when the connection breaks in the middle of its transaction, and others wait for nobody', async () => {
    await using pool = testPool(database.url)
    await using other = testPool(database.url)
    await ask(
      database.url,
      `create table once (id int);
       insert into forebay.pipelines (name, cluster, topic, partitions) values ('broken', 'c', 't', 1);
       insert into forebay.epochs (pipeline, epoch, version, fingerprint, mark) values ('broken', 3, '1', '{}', 'mine');
       insert into forebay.dead_letters (pipeline, epoch, topic, partition, queue, "offset", ordinal, task, error, is_payload_cut) values ('broken', 1, 't', 0, 0, 5, 0, 'x', 'e', false)`,
    )
    const epoch = { epoch: 3, mark: 'mine' }
    const [store, second] = [new PostgresDeadLetters(pool, 'broken', epoch), new PostgresDeadLetters(other, 'broken', epoch)]
    const find = async () => store.read(await store.ids({ isOpenOnly: true }, 10))
    const id = (await find())[0]!.id
    for (const of of [
      { epoch: 3, mark: 'forgotten by a failover' },
      { epoch: 2, mark: 'mine' },
    ])
      await expect(new PostgresDeadLetters(pool, 'broken', of).redrive(id, async () => {}, false)).rejects.toMatchObject({
        code: 'FB_EPOCH_CLOSED',
      })
    const insert = { text: 'insert into once values (1)' }
    const killed = store.redrive(
      id,
      async (transaction) =>
        void (await transaction.query(insert), await transaction.query({ text: 'select pg_terminate_backend(pg_backend_pid())' })),
      false,
    )
    await expect(killed).rejects.toMatchObject({ code: 'FB_DATABASE_UNREACHABLE' })
    expect(await find()).toHaveLength(1)
    const isTaken = await store.redrive(
      id,
      async (transaction) => {
        await transaction.query(insert)
        expect(await second.redrive(id, () => Promise.reject(new Error('taken twice')), false)).toBe(false)
      },
      false,
    )
    expect(isTaken).toBe(true)
    expect(await ask(database.url, 'select * from once')).toEqual([{ id: 1 }])
    expect(await find()).toEqual([])
  })

  it('keeps a letter resolved when its job is made again', async () => {
    const insert = `insert into forebay.dead_letters (pipeline, epoch, topic, partition, queue, "offset", ordinal, task, error, is_payload_cut)
      values ('again', 1, 't', 0, 0, 5, 0, null, 'e', false) on conflict do nothing`
    await using pool = testPool(database.url)
    const store = new PostgresDeadLetters(pool, 'again', { epoch: 1, mark: 'any' })
    await ask(database.url, insert)
    const found = await store.read(await store.ids({ isOpenOnly: true }, 10))
    expect(
      await store.discard(
        found.map(({ id }) => id),
        'known',
      ),
    ).toBe(1)
    await ask(database.url, insert)
    expect([await store.count({ isOpenOnly: true }), await store.ids({ isOpenOnly: true }, 10)]).toEqual([0, []])
    expect(
      await store.discard(
        found.map(({ id }) => id),
        'twice',
      ),
    ).toBe(0)
  })
})
