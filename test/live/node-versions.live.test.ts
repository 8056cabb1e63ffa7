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

it('refuses another number of queues and names both', async () => {
  await using node = await start('1')
  await publishBatches(2)
  await floorsReachEnd(database.url, feed.events)
  await expect(start('1', 3)).rejects.toMatchObject({
    code: 'FB_FINGERPRINT',
    message: expect.stringMatching(/queues 2, this node has queues 3/),
  })
  await expect(start('2', 3)).rejects.toMatchObject({
    code: 'FB_FINGERPRINT',
    message: expect.stringMatching(/queues 2, this node has queues 3/),
  })
  await publishBatches(2)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  await node.stop()
})
