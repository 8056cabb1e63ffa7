import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { definePipeline, json, postgresTable } from '../../src/index.ts'
import { freePort } from '../../src/launch/free-port.ts'
import * as z from 'zod'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'
import { silentServer } from '../support/silent-server.ts'
import {
  ask,
  createItemTables,
  differenceOf,
  expectedOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
  startTestKafka,
  type TestKafka,
} from '../support/live-node.ts'

let database: TestDatabase
let kafka: TestKafka
beforeAll(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  kafka = await startTestKafka()
})
afterAll(async () => {
  await database.drop()
})

it('halts a partition whose events expired before they were processed, tells so, and skips nothing', async () => {
  const topic = 'expiring'
  await using feed = await postgresFeed(database.url, topic, { retentionEvents: 5 })
  const first = await startNode(itemsPipeline({ topic }), { url: database.url })
  await feed.publish(0, itemValues(0, 20))
  await feed.publish(1, itemValues(1, 20))
  await floorsReachEnd(database.url, feed.events)
  await first.stop()
  const before = [...feed.events]
  await feed.publish(0, itemValues(0, 30))
  await feed.publish(1, itemValues(1, 3))
  expect(await feed.trim()).toBeGreaterThan(0)

  await using node = await startNode(itemsPipeline({ topic }), { url: database.url })
  const reasonOf = async () => (await node.status()).partitions.find(({ partition }) => partition === 0)?.haltedReason
  await expect.poll(reasonOf, { timeout: 10_000 }).toMatch(/floor is 19, but the log begins at 45.*25 offsets.*[Nn]othing was skipped/)
  const healthy = [...before, ...feed.events.slice(before.length).filter(({ partition }) => partition === 1)]
  await floorsReachEnd(database.url, healthy)
  await feed.publish(1, itemValues(1, 4))
  healthy.push(...feed.events.slice(-4))
  await floorsReachEnd(database.url, healthy)
  expect(await differenceOf(database.url, healthy)).toEqual(noDifference)
  const { isReady, reasons, counters } = await node.status()
  expect(isReady).toBe(false)
  expect(reasons.join()).toMatch(/partition 0/)
  expect(counters.halts).toBeGreaterThan(0)
  expect(counters.deadLetters + counters.deadEvents).toBe(0)
  await node.stop()
})

it('halts a running partition whose events expired while its windows were full, and skips nothing', async () => {
  await ask(database.url, 'truncate items, totals')
  const topic = 'expired'
  await using feed = await kafka.feed(topic)
  await using node = await startNode(itemsPipeline({ name: topic, topic }), {
    url: database.url,
    events: kafka.events('n1'),
    grid: { capacity: 24 },
  })
  await feed.publish(0, itemValues(0, 10))
  await feed.publish(1, itemValues(1, 10))
  await floorsReachEnd(database.url, feed.events, { pipeline: topic })
  await ask(database.url, 'alter table items rename to items_away')
  for (let n = 0; n < 60; n++) {
    await feed.publish(0, itemValues(0, 50, 'x'.repeat(20_000)))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const windowsOf = async () => (await node.status()).queues.filter(({ partition }) => partition === 0).map(({ windowUsed }) => windowUsed)
  await expect.poll(windowsOf, { timeout: 10_000 }).toContain(1)
  await kafka.expire(topic, 0)
  await ask(database.url, 'alter table items_away rename to items')
  const reasonOf = async () => (await node.status()).partitions.find(({ partition }) => partition === 0)?.haltedReason
  await expect.poll(reasonOf, { timeout: 20_000 }).toMatch(/the log begins at 3010.*[Nn]othing was skipped/)
  await feed.publish(1, itemValues(1, 10))

  const ofOne = feed.events.filter(({ partition }) => partition === 1)
  await floorsReachEnd(database.url, ofOne, { pipeline: topic })
  const [row] = await ask<{ floor: string }>(database.url, 'select floor from forebay.floors where pipeline = $1 and partition = 0', [
    topic,
  ])
  const floor = BigInt(row!.floor)
  expect(floor).toBeGreaterThan(9n)
  expect(floor).toBeLessThan(3_009n)
  // One queue may be ahead of the floor: all rows up to it are there, what lies above it is there once or not yet.
  const rows = await ask<{ place: string; source_offset: string }>(
    database.url,
    `select concat_ws('/', source_partition, source_offset, item_key, n) as place, source_offset from items where source_partition = 0`,
  )
  const wanted = expectedOf(feed.events.filter(({ partition }) => partition === 0)).items
  const places = rows.map(({ place }) => place)
  expect(places).toHaveLength(new Set(places).size)
  expect(places.filter((place) => !wanted.includes(place))).toEqual([])
  const upToFloor = expectedOf(feed.events.filter(({ partition, offset }) => partition === 0 && offset <= floor)).items
  expect(rows.filter((row) => BigInt(row.source_offset) <= floor)).toHaveLength(upToFloor.length)
  expect(await ask(database.url, 'select from items where source_partition = 1')).toHaveLength(ofOne.length)
  await expect.poll(reasonOf, { timeout: 10_000 }).toContain(`floor is ${floor}`)
  await node.stop()
}, 90_000)

const oneTask = (topic: string, sink: ReturnType<typeof wrongSink>) =>
  definePipeline({
    name: `catalogue-${topic}`,
    source: { topic, decode: json(z.object({ key: z.string(), n: z.int() })) },
    tasks: { only: { every: '1s', sink, convert: (event) => ({ item_key: event.key, n: event.n }) } },
  })
const wrongSink = (table: string, isUpsert = false) =>
  isUpsert
    ? postgresTable(table, { columns: { item_key: 'text', n: 'int' }, upsertOn: ['item_key'] })
    : postgresTable(table, { columns: { item_key: 'text', n: 'int' } })

describe('a table that does not fit the pipeline', () => {
  beforeAll(async () => {
    await using feed = await postgresFeed(database.url, 'fitting')
    await feed.publish(0, itemValues(0, 1))
    await ask(
      database.url,
      `create table no_column (item_key text); create table wrong_type (item_key text, n date);
       create table no_key (item_key text, n int); create table not_written (item_key text, n int, other int not null)`,
    )
  })
  it.each([
    ['missing', false, /Table missing does not exist.*create it/],
    ['no_column', false, /no_column has no column "n"; it has item_key/],
    ['wrong_type', false, /wrong_type has the column "n" of type date.*alter it to int4/],
    ['no_key', true, /no_key has no unique index on \(item_key\).*create one/],
    ['not_written', false, /not_written has the column "other", NOT NULL.*give it a default/],
  ])('refuses to start: %s', async (table, isUpsert, sentence) => {
    const start = startNode(oneTask('fitting', wrongSink(table, isUpsert)), { url: database.url })
    await expect(start).rejects.toMatchObject({ code: 'FB_CATALOGUE', message: expect.stringMatching(sentence) })
  })
})

describe('what is not there', () => {
  it('names a topic that does not exist, in Postgres and in Kafka', async () => {
    await expect(startNode(itemsPipeline({ topic: 'nowhere' }), { url: database.url })).rejects.toMatchObject({
      code: 'FB_TOPIC_MISSING',
      message: expect.stringContaining('nowhere'),
    })
    const other = await createTestDatabase()
    await expect(startNode(itemsPipeline({ topic: 'nowhere' }), { url: other.url })).rejects.toMatchObject({ code: 'FB_TOPIC_MISSING' })
    await other.drop()
    const onKafka = startNode(itemsPipeline({ topic: 'nowhere' }), { url: database.url, events: kafka.events('n1') })
    await expect(onKafka).rejects.toMatchObject({ code: 'FB_TOPIC_MISSING', message: expect.stringContaining('nowhere') })
  }, 30_000)

  it('says within seconds that Kafka does not answer, whether nothing listens or nobody speaks', async () => {
    const nobody = `127.0.0.1:${await freePort()}`
    await using silent = await silentServer()
    for (const broker of [nobody, silent.address]) {
      const start = startNode(itemsPipeline({ topic: 'items' }), {
        url: database.url,
        events: { kind: 'kafka', brokers: [broker], clientId: 'n1', group: undefined, fetchBytesMax: 1 << 20, inflatedBytesMax: 1 << 20 },
      })
      await expect(start).rejects.toMatchObject({ code: 'FB_EVENT_LOG_UNREACHABLE', message: expect.stringContaining(broker) })
    }
  }, 60_000)

  it('says within seconds that Postgres does not answer, whether nothing listens or nobody speaks', async () => {
    await using feed = await kafka.feed('reachable')
    await feed.publish(0, itemValues(0, 1))
    await using silent = await silentServer()
    for (const address of [`127.0.0.1:${await freePort()}`, silent.address]) {
      const url = `postgres://nobody:nothing@${address}/none`
      const onKafka = startNode(itemsPipeline({ topic: 'reachable' }), { url, events: kafka.events('n1') })
      await expect(onKafka).rejects.toMatchObject({ code: 'FB_DATABASE_UNREACHABLE' })
      await expect(startNode(itemsPipeline({ topic: 'reachable' }), { url })).rejects.toMatchObject({ code: 'FB_EVENT_LOG_UNREACHABLE' })
    }
  }, 60_000)

  it('says within ten seconds that the grid does not answer, whether nothing listens or nobody speaks', async () => {
    await using feed = await postgresFeed(database.url, 'gridless')
    await feed.publish(0, itemValues(0, 1))
    await using silent = await silentServer()
    for (const address of [`127.0.0.1:${await freePort()}`, silent.address]) {
      const startedMs = performance.now()
      const start = startNode(itemsPipeline({ topic: 'gridless' }), { url: database.url, grid: { mode: 'client', members: [address] } })
      await expect(start).rejects.toMatchObject({ code: 'FB_GRID_UNREACHABLE', message: expect.stringContaining(address) })
      expect(performance.now() - startedMs).toBeLessThan(10_000)
    }
  }, 60_000)

  it('leaves nothing running behind a refusal', async () => {
    const databasesOf = async () =>
      (
        await ask<{ count: string }>(
          database.url,
          `select count(*) from pg_stat_activity where datname = current_database() and application_name like 'forebay n%'`,
        )
      )[0]?.count
    await expect.poll(databasesOf, { timeout: 5_000 }).toBe('0')
  })
})
