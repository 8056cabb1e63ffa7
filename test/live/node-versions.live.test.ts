import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type GridCluster, startGridCluster } from '../support/grid-cluster.ts'
import {
  type Feed,
  ask,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
} from '../support/live-node.ts'
import { ringsOf, scopeOf } from '../support/grid-rings.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const topic = 'versions'
let cluster: GridCluster
let database: TestDatabase
let feed: Feed

beforeAll(async () => {
  cluster = await startGridCluster(1, { capacity: 144, backups: 0 })
})
afterAll(() => cluster?.stop())
beforeEach(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  feed = await postgresFeed(database.url, topic)
})
afterEach(async () => {
  await feed[Symbol.asyncDispose]()
  await database.drop()
})

const start = (version: string, queues = 2) =>
  startNode(itemsPipeline({ topic, version }), {
    url: database.url,
    name: `v${version}`,
    grid: { mode: 'client', clusterName: cluster.clusterName, members: cluster.addresses, queues },
  })

async function publishBatches(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await feed.publish(0, itemValues(0, 15))
    await feed.publish(1, itemValues(1, 15))
  }
}

it('lets one version make each job when a new one starts in midstream, and the old one neither goes on nor comes back', async () => {
  await using old = await start('1')
  await publishBatches(10)
  await expect.poll(() => ask(database.url, 'select from items limit 1'), { timeout: 10_000 }).toHaveLength(1)
  let isPublishing = true
  const publishing = (async () => {
    for (let n = 0; n < 60 && isPublishing; n++) {
      await publishBatches(1)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  await using young = await start('2')
  expect(await old.ended).toMatchObject({
    code: 'FB_EPOCH_CLOSED',
    message: expect.stringMatching(/epoch 2 \(version 2\).*version 1.*restart it with the new version/),
  })
  await publishBatches(3)
  isPublishing = false
  await publishing
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)

  const cuts = await ask<{ old: string; young: string }>(
    database.url,
    `select source_partition, item_key, max(source_offset) filter (where made_by = '1') as old, min(source_offset) filter (where made_by = '2') as young from items group by 1, 2`,
  )
  expect(cuts.length).toBe(14)
  for (const cut of cuts) expect(BigInt(cut.old), JSON.stringify(cut)).toBeLessThan(BigInt(cut.young))

  await expect(start('1')).rejects.toMatchObject({
    code: 'FB_FINGERPRINT',
    message: expect.stringMatching(/Version 1 .*superseded.*version 2/),
  })
  await publishBatches(2)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect((await young.status()).epoch).toBe(2)
  await young.stop()
})

it('lets a new version make again what the old one had converted but not applied', async () => {
  const old = await start('1')
  await ask(database.url, 'alter table items rename to items_away; alter table totals rename to totals_away')
  await publishBatches(6)
  await expect.poll(async () => (await old.status()).partitions.map(({ position }) => position), { timeout: 10_000 }).toEqual(['89', '89'])
  await old.stop()
  await ask(database.url, 'alter table items_away rename to items; alter table totals_away rename to totals')
  await using young = await start('2')
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect(await ask(database.url, 'select made_by from items group by made_by')).toEqual([{ made_by: '2' }])
  await young.stop()
})

it('lets a node with another number of queues wait: it owns nothing, names both numbers, and disturbs nobody', async () => {
  await using node = await start('1')
  await publishBatches(2)
  await floorsReachEnd(database.url, feed.events)
  await using other = await start('1', 3)
  await using both = await start('2', 3)
  for (const waiting of [other, both]) {
    const { epoch, isReady, reasons, partitions, queues } = await waiting.status()
    expect({ epoch, isReady, partitions, queues }).toEqual({ epoch: null, isReady: false, partitions: [], queues: [] })
    expect(reasons.join()).toMatch(/queues 2, this node has queues 3: it owns nothing and waits for `forebay routing apply`, or until v1\./)
  }
  await publishBatches(2)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect((await node.status()).epoch).toBe(1)
  await other.stop()
  await both.stop()
  await node.stop()
})

it('opens the epoch of another number of queues by itself once nobody runs and nothing is in flight', async () => {
  const old = await start('1')
  await publishBatches(3)
  await floorsReachEnd(database.url, feed.events)
  await using young = await start('1', 5)
  expect((await young.status()).epoch).toBeNull()
  await old.stop()
  await expect.poll(async () => (await young.status()).epoch, { timeout: 10_000 }).toBe(2)
  await publishBatches(3)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect((await young.status()).queues).toHaveLength(10)
  await young.stop()
  await using again = await start('1', 2)
  expect((await again.status()).epoch).toBe(3)
  await publishBatches(1)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  await again.stop()
})

it('keeps a node with another number of queues waiting while jobs are applied beyond a floor, and says where', async () => {
  const old = await start('1')
  await publishBatches(3)
  await floorsReachEnd(database.url, feed.events)
  await old.stop()
  await ask(database.url, `update forebay.floors set floor = 20 where partition = 1`)
  await using young = await start('1', 5)
  const reasonOf = async () => (await young.status()).reasons.join()
  await expect
    .poll(reasonOf, { timeout: 10_000 })
    .toMatch(/partition 1: task (item|total) has applied up to 44 in queue [01], the floor is 20/)
  await young.stop()
  await using mended = await start('1')
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  await mended.stop()
})

it('takes the rings and maps of an earlier epoch out of the grid, and leaves its own', async () => {
  const grid = await cluster.connect()
  try {
    const first = await start('1')
    await publishBatches(3)
    await floorsReachEnd(database.url, feed.events)
    const before = await scopeOf(database.url, 'items', topic)
    const tailsOf = (scope: string) => Promise.all(ringsOf(scope).map(async (ring) => (await grid.tail(ring)).sequence))
    const mapsOf = (scope: string) =>
      Promise.all([`forebay.${scope}.nodes`, `forebay-latest.${scope}.latest`].map((map) => grid.entries(map)))
    await expect.poll(async () => (await mapsOf(before)).map(({ size }) => size > 0), { timeout: 10_000 }).toEqual([true, true])
    await first.stop()
    expect(Math.max(...(await tailsOf(before)).map(Number))).toBeGreaterThanOrEqual(0)

    await using second = await start('2')
    await publishBatches(3)
    await floorsReachEnd(database.url, feed.events)
    const now = await scopeOf(database.url, 'items', topic)
    expect(now).not.toBe(before)
    await expect.poll(() => tailsOf(before), { timeout: 10_000 }).toEqual([-1n, -1n, -1n, -1n])
    await expect.poll(async () => (await mapsOf(before)).map(({ size }) => size), { timeout: 10_000 }).toEqual([0, 0])
    await expect.poll(async () => (await mapsOf(now)).map(({ size }) => size > 0), { timeout: 10_000 }).toEqual([true, true])
    expect(Math.max(...(await tailsOf(now)).map(Number))).toBeGreaterThanOrEqual(0)
    expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
    await second.stop()
  } finally {
    await grid[Symbol.asyncDispose]()
  }
})
