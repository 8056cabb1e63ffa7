/** Opening epochs on a real Postgres: other tasks, superseded versions, marks, and what an older release left. No grid, no nodes. */
import type { Fingerprint } from '../../src/ledger/fingerprint.ts'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { acceptVersion, allowLeaving, skipMissed, readTaskPlaces, withdraw } from '../../src/epochs/operator-words.ts'
import { performReset } from '../../src/epochs/reset.ts'
import { openPostgresLedger } from '../../src/ledger/postgres-ledger.ts'
import type { PostgresLedger, PostgresLedgerOptions } from '../../src/ledger/postgres-ledger.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { NodePresence } from '../../src/epochs/presence.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let pool: PostgresPool
let pipeline: string
let pipelines = 0
const identity = { cluster: 'north', topicId: 'T1', partitions: 2 }
const whole: Fingerprint = {
  queues: 2,
  hash: 'fnv',
  segmentBytesMax: 65536,
  eventBytesMax: 1048576,
  tasks: ['a', 'b'],
  ephemeral: ['p'],
  version: '1',
}
let earliest = new Map<number, bigint>()

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})
beforeEach(() => {
  pipeline = `epochs ${++pipelines}`
  earliest = new Map([
    [0, -1n],
    [1, -1n],
  ])
})

const startAt = async () =>
  new Map([
    [0, 9n],
    [1, 9n],
  ])
function open(fingerprint: Partial<Fingerprint> = {}, change: Partial<PostgresLedgerOptions> = {}): Promise<PostgresLedger> {
  return openPostgresLedger({
    pool,
    pipeline,
    topic: 'trades',
    identity,
    fingerprint: { ...whole, ...fingerprint },
    fileHash: null,
    synchronousCommit: 'on',
    startAt,
    earliestFloors: async () => earliest,
    ...change,
  })
}
const refusal = (...of: Parameters<typeof open>) =>
  open(...of).then(
    () => 'opened',
    (error: unknown) => error,
  )
/** Partition 0 has everything up to `to` applied by `tasks`, and nothing in flight. */
async function advanceTo(ledger: PostgresLedger, tasks: readonly string[], to: bigint): Promise<void> {
  const { rows, floor } = await ledger.read(0)
  for (const task of tasks) {
    const from = rows.get(task)!.map((row) => (row > floor ? row : floor))
    const advances = from.flatMap((mark, queue) => (mark < to ? [{ partition: 0, queue, from: mark, to }] : []))
    await ledger.flush({ task, advances, write: async () => {} })
  }
  const queues = rows.get(tasks[0]!)!.map(() => ({ sent: to, isIdle: true }))
  expect((await ledger.settle({ partition: 0, position: to, queues })).floor).toBe(to)
}
const flushOne = (ledger: PostgresLedger, task: string, queue: number, from: bigint, to: bigint) =>
  ledger.flush({ task, advances: [{ partition: 0, queue, from, to }], write: async () => {} })
const say = <T>(words: (client: Parameters<typeof acceptVersion>[0]) => Promise<T>) => pool.use('saying so', words)
const drop = (...tasks: string[]) => say((client) => allowLeaving(client, pipeline, tasks, 'operator@here'))
const accept = (version: string) => say((client) => acceptVersion(client, pipeline, version, 'operator@here'))
const epochs = async () =>
  (await database.query<{ epoch: number }>('select epoch from forebay.epochs where pipeline = $1 order by 1', [pipeline])).map(
    ({ epoch }) => epoch,
  )
const presenceOf = async (node: string, epoch: number | null, fingerprint = whole) => {
  const presence = new NodePresence({ database: pool, clock: new SystemClock() }, { pipeline, node, fingerprint, onDraining: () => {} })
  await presence.tell({ epoch })
}

describe('a durable task that is left out', () => {
  it('needs an operator’s word: the refusal names the task and what to say, once for one opening', async () => {
    const first = await open()
    expect(await refusal({ tasks: ['a'] })).toMatchObject({
      code: 'FB_TASKS',
      message: expect.stringMatching(/Epoch 1 .* runs tasks a, b, p; this node lacks task b\. .*`forebay tasks drop b`/),
    })
    await drop('b')
    const second = await open({ tasks: ['a'] })
    expect([second.epoch, second.warnings.join()]).toEqual([2, expect.stringMatching(/leaves out task b, as operator@here allowed/)])
    await expect(advanceTo(first, ['a'], 20n)).rejects.toMatchObject({ code: 'FB_EPOCH_CLOSED' })
    await open()
    expect(await refusal({ tasks: ['a'] })).toMatchObject({ code: 'FB_TASKS' })
    expect(await epochs()).toEqual([1, 2, 3])
  })

  it('goes on where it stood when it comes back: the floor goes back, the others keep what they applied', async () => {
    await advanceTo(await open(), ['a', 'b'], 30n)
    await drop('b')
    const without = await open({ tasks: ['a'] })
    await advanceTo(without, ['a'], 80n)
    expect(await say((client) => readTaskPlaces(client, pipeline))).toContainEqual({
      task: 'b',
      isDurable: true,
      isActive: false,
      behind: [{ partition: 0, place: 30n, floor: 80n }],
    })
    const again = await open()
    expect(again.warnings.join()).toMatch(/Task b comes back .*partition 0 from 80 to 30/)
    const view = await again.read(0)
    expect([view.floor, view.rows.get('a'), view.rows.get('b')]).toEqual([30n, [80n, 80n], [30n, 30n]])
    await advanceTo(again, ['b'], 80n)
    expect(await database.query('select begun, cut from forebay.epochs where pipeline = $1 and epoch = 3', [pipeline])).toEqual([
      { begun: [], cut: null },
    ])
  })

  it('comes back as it left, with nothing twice, from the middle of its queues, a version and a reset later', async () => {
    const first = await open()
    await flushOne(first, 'b', 0, 9n, 25n)
    await drop('b')
    const without = await open({ tasks: ['a'] })
    await advanceTo(without, ['a'], 40n)
    await open({ tasks: ['a'], version: '2' })
    const reset = {
      pipeline,
      topic: 'trades',
      identity,
      fingerprint: { ...whole, tasks: ['a'], version: '2' },
      fileHash: null,
      truncations: [],
    }
    const back = { partition: 0, floor: 40n, target: 12n, cut: 12n, change: 'back' } as const
    await say((client) => performReset(client, { ...reset, partitions: [back] }))
    const again = await open({ version: '2' })
    const view = await again.read(0)
    expect([view.floor, view.rows.get('a'), view.rows.get('b')]).toEqual([9n, [12n, 12n], [25n, 9n]])
  })

  it('is refused, not skipped, when the log has lost what it did not see, until that is given up', async () => {
    await advanceTo(await open(), ['a', 'b'], 30n)
    await drop('b')
    await advanceTo(await open({ tasks: ['a'] }), ['a'], 80n)
    earliest.set(0, 49n)
    expect(await refusal()).toMatchObject({
      code: 'FB_TASKS',
      message: expect.stringMatching(/part of epoch 1 and is at offset 30 of partition 0.*19 offsets are lost.*`forebay tasks skip b`/),
    })
    earliest.set(0, 30n)
    await say((client) => skipMissed(client, pipeline, ['b']))
    const again = await open()
    expect(again.warnings.join()).toMatch(/Task b comes back and goes on where it stood: no floor has passed it/)
    const view = await again.read(0)
    expect([view.floor, view.rows.get('b')]).toEqual([80n, [80n, 80n]])
  })

  it('is not given anything twice by giving up what it missed: queues that are ahead of the floor stay where they are', async () => {
    await flushOne(await open(), 'b', 0, 9n, 25n)
    await drop('b')
    await advanceTo(await open({ tasks: ['a'] }), ['a'], 12n)
    await say((client) => skipMissed(client, pipeline, ['b']))
    const view = await (await open()).read(0)
    expect([view.floor, view.rows.get('b')]).toEqual([12n, [25n, 12n]])
  })

  it('begins at the floors with a warning where an older release forgot its place', async () => {
    await advanceTo(await open(), ['a', 'b'], 30n)
    await drop('b')
    await open({ tasks: ['a'] })
    await database.query(`delete from forebay.watermarks where pipeline = $1 and task = 'b'`, [pipeline])
    const again = await open()
    expect(again.warnings.join()).toMatch(/Task b begins at the floors: it was part of epoch 1/)
    expect(await database.query('select begun, cut from forebay.epochs where pipeline = $1 and epoch = 3', [pipeline])).toEqual([
      { begun: ['b'], cut: { 0: '30', 1: '9' } },
    ])
  })

  it('keeps its place over another routing where its queues stood together, and refuses one where they did not', async () => {
    const first = await open()
    await advanceTo(first, ['a', 'b'], 30n)
    await flushOne(first, 'b', 1, 30n, 33n)
    await drop('b')
    await advanceTo(await open({ tasks: ['a'] }), ['a'], 50n)
    expect(await refusal({ tasks: ['a'], queues: 3 })).toMatchObject({
      code: 'FB_TASKS',
      message: expect.stringMatching(/Task b .*partition 0/),
    })
    await advanceTo(await open(), ['b'], 50n)
    await drop('b')
    await advanceTo(await open({ tasks: ['a'] }), ['a'], 70n)
    await open({ tasks: ['a'], queues: 3 })
    const again = await open({ queues: 3 })
    const view = await again.read(0)
    expect([view.floor, view.rows.get('a'), view.rows.get('b')]).toEqual([50n, [70n, 70n, 70n], [50n, 50n, 50n]])
  })

  it('begins at the first event of a partition that came while it was away', async () => {
    await open()
    await drop('b')
    await open({ tasks: ['a'] })
    const grown = { identity: { ...identity, partitions: 3 }, startAt }
    await open({ tasks: ['a'] }, grown)
    const again = await open({}, grown)
    expect((await again.read(2)).rows.get('b')).toEqual([-1n, -1n])
  })

  it('cannot be left out or brought back by a reset', async () => {
    await open()
    const reset = { pipeline, topic: 'trades', identity, fileHash: null, truncations: [], partitions: [] }
    const reset_ = (tasks: string[]) =>
      say((client) => performReset(client, { ...reset, fingerprint: { ...whole, tasks } })).catch((error: unknown) => error)
    expect(await reset_(['a'])).toMatchObject({ code: 'FB_TASKS', message: expect.stringContaining('lacks task b') })
    await drop('b')
    await open({ tasks: ['a'] })
    expect(await reset_(['a', 'b'])).toMatchObject({ code: 'FB_TASKS' })
    expect(await reset_(['a'])).toMatchObject({ epoch: 3 })
  })

  it('is no task that delivers latest values only, and those are no reason to wait once nobody runs', async () => {
    await open()
    const second = await open({ ephemeral: [] })
    expect([second.epoch, second.warnings]).toEqual([2, []])
  })
})

describe('nodes of one version with other tasks', () => {
  it.each([
    ['one besides', { tasks: ['a', 'b', 'c'] }, 'has task c besides'],
    ['a task of latest values less', { ephemeral: [] }, 'lacks task p'],
  ])('wait with %s while nodes run, whoever came first, and open when these stopped', async (_, change, text) => {
    const { epoch } = await open()
    await presenceOf('n1', epoch)
    expect(await refusal(change)).toMatchObject({
      code: 'FB_TASKS',
      message: expect.stringMatching(new RegExp(`${text}.*waits until n1 stopped`)),
    })
    expect(await epochs()).toEqual([1])
    await presenceOf('n1', null)
    expect((await open(change)).epoch).toBe(2)
    expect(await refusal({}, { isJoinOnly: true })).toMatchObject({ code: 'FB_TASKS' })
  })

  it('only join once their own epoch was closed', async () => {
    await open()
    await drop('b')
    await open({ tasks: ['a'] })
    expect(await refusal({}, { isJoinOnly: true })).toMatchObject({
      code: 'FB_TASKS',
      message: expect.stringMatching(/has task b besides\. Its own epoch was closed/),
    })
    expect((await open({ tasks: ['a'] }, { isJoinOnly: true })).epoch).toBe(2)
  })
})

describe('a version that was superseded', () => {
  it('opens once after it was accepted, and the refusal says how', async () => {
    const first = await open()
    await open({ version: '2' })
    expect(await refusal()).toMatchObject({ code: 'FB_FINGERPRINT', message: expect.stringContaining('`forebay versions accept 1`') })
    await accept('1')
    const back = await open()
    expect(back.epoch).toBe(3)
    await expect(advanceTo(first, ['a'], 20n)).rejects.toMatchObject({ code: 'FB_EPOCH_CLOSED' })
    expect(await refusal({ version: '2' })).toMatchObject({ code: 'FB_FINGERPRINT' })
    await accept('2')
    await open({ version: '2' })
    expect(await refusal()).toMatchObject({ code: 'FB_FINGERPRINT' })
  })

  it('is opened once by several nodes and operators at once', async () => {
    await open()
    await open({ version: '2' })
    await Promise.all([accept('1'), accept('1'), accept('1')])
    const nodes = await Promise.all([open(), open(), open()])
    expect(nodes.map(({ epoch }) => epoch)).toEqual([3, 3, 3])
    expect(new Set(nodes.map(({ mark }) => mark)).size).toBe(1)
    expect(await epochs()).toEqual([1, 2, 3])
  })

  it('is not opened by an acceptance that another epoch made void, that was withdrawn, or while another is accepted', async () => {
    await open()
    await open({ version: '2' })
    await accept('1')
    await open({ version: '3' })
    expect(await refusal()).toMatchObject({ code: 'FB_FINGERPRINT' })
    await accept('1')
    expect(await accept('2').catch((error: unknown) => error)).toMatchObject({
      code: 'FB_FENCED',
      message: expect.stringContaining('Version 1'),
    })
    expect(await say((client) => withdraw(client, pipeline, { kind: 'version', subjects: ['1', '2'] }))).toEqual(['1'])
    expect(await refusal()).toMatchObject({ code: 'FB_FINGERPRINT' })
    await accept('2')
    expect((await open({ version: '2' })).epoch).toBe(4)
  })

  it('needs a new acceptance when a failover forgot it, and none when it forgot the opening', async () => {
    await open()
    await open({ version: '2' })
    const kept = () => database.query('select * from forebay.permissions where pipeline = $1', [pipeline])
    await accept('1')
    const [permission] = await kept()
    await open()
    await database.query('delete from forebay.epochs where pipeline = $1 and epoch = 3', [pipeline])
    const columns = Object.keys(permission!)
    await database.query(
      `insert into forebay.permissions (${columns.join()}) values (${columns.map((_, i) => `$${i + 1}`).join()})`,
      Object.values(permission!),
    )
    expect((await open()).epoch).toBe(3)
    expect(await kept()).toEqual([])
    // Of an epoch of this number, but another one.
    await database.query(`insert into forebay.permissions (${columns.join()}) values (${columns.map((_, i) => `$${i + 1}`).join()})`, [
      ...Object.values({ ...permission!, subject: '2', epoch: 3 }),
    ])
    expect(await refusal({ version: '2' })).toMatchObject({ code: 'FB_FINGERPRINT' })
  })

  it.each([
    ['is the active one', '2'],
    ['never ran', '7'],
  ])('cannot be accepted when it %s', async (what, version) => {
    await open()
    await open({ version: '2' })
    expect(await accept(version).catch((error: unknown) => error)).toMatchObject({
      code: 'FB_USAGE',
      message: expect.stringContaining(what),
    })
  })
})

describe('an epoch that an older release opened', () => {
  it('is joined, and gets what that did not store: the mark that the older nodes use, and the tasks of latest values', async () => {
    const first = await open()
    await database.query(
      `update forebay.epochs set mark = null, begun = null, fingerprint = fingerprint - 'ephemeral' where pipeline = $1`,
      [pipeline],
    )
    await expect(advanceTo(first, ['a', 'b'], 20n)).rejects.toMatchObject({ code: 'FB_EPOCH_CLOSED' })
    const second = await open()
    expect([second.epoch, second.mark]).toEqual([1, '1ce773c2'])
    const stored = await database.query('select mark, fingerprint from forebay.epochs where pipeline = $1', [pipeline])
    expect(stored).toEqual([{ mark: second.mark, fingerprint: whole }])
    await advanceTo(second, ['a', 'b'], 20n)
    await presenceOf('n1', 1)
    expect(await refusal({ ephemeral: ['p', 'q'] })).toMatchObject({
      code: 'FB_TASKS',
      message: expect.stringContaining('has task q besides'),
    })
  })
})
