/** What replay and dead-letters look at before they write: is it the same log, the same database, and still all of it. */
import { epochLock } from '../../src/epochs/opening.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { runCommand } from '../../src/cli/run-command.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import { eventually } from '../support/grid-cluster.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { ask, eventBytesMax, floorsReachEnd, itemsPipeline, itemValues, startNode } from '../support/live-node.ts'
import { createTestDatabase } from '../support/postgres-database.ts'

vi.setConfig({ testTimeout: 120_000 })

const topic = 'guarded'
const fixture = itemsDatabase(topic, { isShared: true })
let folder = ''
let out = ''
let err = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'forebay-guards-'))
  process.env['FOREBAY_DATABASE_URL'] = fixture.url
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
  const bad = ['{"key":"p0 late","n":2,"mode":"bad key"}', '{"key":"p0 late","n":3,"mode":"bad key"}']
  await fixture.feed.publish(0, [...itemValues(0, 100), ...bad])
  await fixture.feed.publish(1, itemValues(1, 100))
  await using node = await startNode(itemsPipeline({ topic }), { url: fixture.url })
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await node.stop()
})
afterAll(async () => {
  vi.restoreAllMocks()
  delete process.env['FOREBAY_DATABASE_URL']
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  process.env['FOREBAY_DATABASE_URL'] = fixture.url
})

/** A configuration of the items; `isMended`: with keys for all of them. */
function configOf(file: string, { name = 'items', more = '', isMended = false } = {}): string {
  const module = join(folder, `${file}.ts`)
  const made = `itemsPipeline({ topic: '${topic}', name: '${name}' })`
  writeFileSync(
    module,
    `import { itemsPipeline } from '${join(packageRoot, 'test/support/live-node.ts')}'
     export default ${isMended ? `{ ...${made}, key: (event) => event.key }` : made}`,
  )
  const config = join(folder, `${file}.yaml`)
  writeFileSync(config, `pipeline: ${module}\nevents: { kind: postgres, eventBytesMax: ${eventBytesMax}B }\ngrid: { mode: local }\n${more}`)
  return config
}

async function command(config: string, ...words: string[]): Promise<{ code: number; text: string; told: unknown }> {
  ;[out, err] = ['', '']
  const code = await runCommand([...words, '-c', config])
  return { code, text: `${out}${err}`, told: words.includes('--json') && code === 0 ? JSON.parse(out) : undefined }
}

const repair = ['replay', '--from', 'earliest', '--task', 'item', '--repair']
const verify = ['replay', '--from', 'earliest', '--task', 'item', '--verify']
const redrive = ['dead-letters', 'redrive', '--all']

describe('A repair', () => {
  it('writes nothing that a database without its last commits will be given again by the nodes', async () => {
    const config = configOf('forgotten')
    const lost = 'source_partition = 1 and source_offset >= 50'
    const kept = await ask<{ floor: string }>(fixture.url, 'select floor from forebay.floors where partition = 1')
    const holder = new pg.Client({ connectionString: fixture.url })
    await holder.connect()
    try {
      // While it waits for the lock under which it would write, the tail is forgotten.
      await holder.query(`begin; select pg_advisory_xact_lock(${epochLock('items')})`)
      const repairing = command(config, ...repair)
      const waiting = `select from pg_stat_activity where application_name = 'forebay repair' and wait_event = 'advisory'`
      await eventually('the repair waits', async () => (await ask(fixture.url, waiting)).length === 1)
      await holder.query(`delete from items where ${lost}; update forebay.floors set floor = 49 where partition = 1; commit`)
      const { code, text } = await repairing
      expect(code, text).toBe(75)
      expect(text).toMatch(/lost its last commits.*partition 1 is at 49/)
      expect(await ask(fixture.url, `select from items where ${lost}`)).toEqual([])
    } finally {
      await holder.end()
      await ask(fixture.url, `update forebay.floors set floor = ${kept[0]!.floor} where partition = 1`)
    }
    // With the floor where the rows end they are missing, and written.
    expect((await command(config, ...repair)).code).toBe(0)
    expect(await ask(fixture.url, `select from items where ${lost}`)).toHaveLength(50)
  })

  it('is not made of one task in the live table of another', async () => {
    expect(await command(configOf('other'), ...repair, '--into', 'totals')).toMatchObject({
      code: 64,
      text: expect.stringContaining('that is the live table of task total') as string,
    })
  })
})

describe('Replay and dead-letters', () => {
  it('refuse a log whose event at the floor is another one', async () => {
    const config = configOf('refilled')
    await ask(fixture.url, `update forebay.floor_events set checksum = reverse(checksum)`)
    try {
      for (const words of [repair, verify, redrive, ['dead-letters', 'discard', '--key', 'x', '--reason', 'r']]) {
        const { code, text } = await command(config, ...words)
        expect(code, `${words.join(' ')}: ${text}`).toBe(78)
        expect(text).toMatch(/FB_IDENTITY.*the event log holds another event there/s)
      }
    } finally {
      await ask(fixture.url, `update forebay.floor_events set checksum = reverse(checksum)`)
    }
    expect((await command(config, ...verify)).code).toBe(0)
  })

  it('refuse a log with fewer partitions than the ledger has', async () => {
    const config = configOf('fewer')
    await ask(fixture.url, 'update forebay.pipelines set partitions = 9')
    try {
      for (const words of [verify, redrive])
        expect(await command(config, ...words)).toMatchObject({
          code: 78,
          text: expect.stringMatching(/FB_IDENTITY.*partitions: 9/s) as string,
        })
    } finally {
      await ask(fixture.url, 'update forebay.pipelines set partitions = 2')
    }
  })

  it('say that the pipeline never ran, with a ledger of others in the database and with none', async () => {
    const config = configOf('stranger', { name: 'stranger' })
    const empty = await createTestDatabase()
    try {
      for (const url of [fixture.url, empty.url]) {
        process.env['FOREBAY_DATABASE_URL'] = url
        for (const words of [verify, redrive, ['dead-letters', 'list']])
          expect(await command(config, ...words)).toMatchObject({
            code: 78,
            text: expect.stringMatching(/FB_DATABASE_WRONG.*it never started here/s) as string,
          })
      }
    } finally {
      await empty.drop()
    }
  })
})

describe('A redrive', () => {
  it('writes nothing with other tasks than those of the epoch, and names the difference', async () => {
    const [first] = (await command(configOf('list'), 'dead-letters', 'list', '--json')).told as { id: string }[]
    const some = configOf('some', { more: 'tasksOnly: [total]\n', isMended: true })
    expect(await command(some, 'dead-letters', 'redrive', '--id', first!.id)).toMatchObject({
      code: 75,
      text: expect.stringMatching(/FB_TASKS.*item.*Redrive with the tasks of the epoch/s) as string,
    })
    const late = `item_key = 'p0 late'`
    expect(await ask(fixture.url, `select from items where ${late} union all select from totals where ${late}`)).toEqual([])
    expect(await command(configOf('all', { isMended: true }), 'dead-letters', 'redrive', '--id', first!.id, '--json')).toMatchObject({
      told: { redriven: 1, jobs: 2 },
    })
  })
})

describe('Dead letters', () => {
  it('are listed, redriven and discarded however many there are, in the order of the log', async () => {
    await ask(
      fixture.url,
      `insert into forebay.dead_letters (pipeline, epoch, topic, partition, queue, "offset", ordinal, task, is_job, error, payload, is_payload_cut)
       select 'items', 1, 'another topic', 1, 0, 1000 - n, 0, 'item', false, 'made for this', 'no json', false from generate_series(0, 174) n`,
    )
    const config = configOf('many')
    const told = async <T>(...words: string[]) => (await command(config, 'dead-letters', ...words, '--json')).told as T
    const offsets = (await told<{ offset: string }[]>('list', '--error', 'made for this', '--limit', '1000')).map(({ offset }) =>
      Number(offset),
    )
    expect(offsets).toEqual(Array.from({ length: 175 }, (_, n) => 826 + n))
    expect(await command(config, 'dead-letters', 'list', '--error', 'made for this', '--limit', '60')).toMatchObject({
      text: expect.stringContaining('60 of 175') as string,
    })
    expect(await command(config, 'dead-letters', 'redrive', '--error', 'not JSON', '--dry-run', '--json')).toMatchObject({
      told: { redriven: 0 },
    })
    expect(await command(config, 'dead-letters', 'redrive', '--error', 'made for this')).toMatchObject({
      code: 65,
      text: expect.stringContaining('175 of 175 dead letters failed again') as string,
    })
    const { discarded } = await told<{ discarded: number }>('discard', '--partition', '1', '--reason', 'made for this')
    expect(discarded).toBe(175)
    expect(await told('list', '--partition', '1')).toEqual([])
  })
})
