import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestGrid, sharedGrid } from '../support/grid-cluster.ts'
import {
  type Feed,
  type LiveNode,
  type TestKafka,
  createItemTables,
  differenceOf,
  expectedOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  startNode,
  startTestKafka,
  watchLatest,
} from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'
import { ThrottledProxy } from '../support/throttled-proxy.ts'

const topic = 'taken-over'
const partitions = 4
let cluster: TestGrid
let kafka: TestKafka
let database: TestDatabase
let feed: Feed

beforeAll(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  ;[cluster, kafka] = await Promise.all([sharedGrid(), startTestKafka()])
  feed = await kafka.feed(topic, partitions)
})
afterAll(async () => {
  await feed?.[Symbol.asyncDispose]()
  await database.drop()
})

const start = (name: string, url = database.url) =>
  startNode(itemsPipeline({ topic }), {
    url,
    name,
    events: kafka.events(name),
    grid: { mode: 'client', clusterName: cluster.clusterName, members: cluster.addresses },
  })

async function publishBatches(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    for (let partition = 0; partition < partitions; partition++) await feed.publish(partition, itemValues(partition, 20))
    await sleep(5)
  }
}

const shareOf = async (node: LiveNode) => {
  const status = await node.status()
  return { members: status.members.length, partitions: status.partitions.length, queues: status.queues.length }
}

const latestOf = () => Object.fromEntries([...expectedOf(feed.events).latest].toSorted())
async function showsAll(nodeUrl: string): Promise<void> {
  const client = await watchLatest(nodeUrl)
  await expect.poll(() => Object.fromEntries([...client.shown].toSorted()), { timeout: 10_000 }).toEqual(latestOf())
  client.close()
}

it('shares the work of two nodes, shows every key on both, and lets one take over everything', async () => {
  const first = await start('n1')
  await using second = await start('n2')
  const half = { members: 2, partitions: partitions / 2, queues: partitions }
  await expect.poll(() => shareOf(first), { timeout: 10_000 }).toEqual(half)
  await expect.poll(() => shareOf(second), { timeout: 10_000 }).toEqual(half)
  const early = await watchLatest(second.url)
  await publishBatches(10)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  await showsAll(first.url)
  await showsAll(second.url)
  for (const node of [first, second]) expect((await node.status()).counters.rows).toBeGreaterThan(0)

  let isPublishing = true
  const publishing = (async () => {
    for (let n = 0; n < 200 && isPublishing; n++) await publishBatches(1)
  })()
  await sleep(300)
  await first.stop()
  await expect.poll(() => shareOf(second), { timeout: 10_000 }).toEqual({ members: 1, partitions, queues: partitions * 2 })
  await sleep(300)
  isPublishing = false
  await publishing
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  await showsAll(second.url)
  await expect.poll(() => Object.fromEntries([...early.shown].toSorted()), { timeout: 10_000 }).toEqual(latestOf())
  early.close()

  // The first comes back under the same name, with memory of nothing, and shows what the other applied.
  await using third = await start('n1')
  await expect.poll(() => shareOf(third), { timeout: 10_000 }).toEqual(half)
  await showsAll(third.url)
  await publishBatches(5)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect((await third.status()).counters.rows).toBeGreaterThan(0)
  await third.stop()
  await second.stop()
}, 120_000)

it('gives up its share while it alone does not reach the database, and takes it again', async () => {
  const direct = new URL(database.url)
  await using proxy = await ThrottledProxy.start(Number(direct.port))
  await using first = await start('n1')
  await using second = await start('n2', Object.assign(new URL(database.url), { port: String(proxy.port) }).href)
  const half = { members: 2, partitions: partitions / 2, queues: partitions }
  await expect.poll(() => shareOf(second), { timeout: 10_000 }).toEqual(half)
  // Nothing comes through any more, and nobody says so.
  proxy.limit(0)
  await publishBatches(5)
  await expect.poll(() => shareOf(first), { timeout: 20_000 }).toEqual({ members: 2, partitions, queues: partitions * 2 })
  await floorsReachEnd(database.url, feed.events)
  expect((await shareOf(second)).partitions).toBe(0)
  proxy.limit(Infinity)
  await expect.poll(() => shareOf(second), { timeout: 20_000 }).toEqual(half)
  await publishBatches(5)
  await floorsReachEnd(database.url, feed.events)
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
}, 120_000)
