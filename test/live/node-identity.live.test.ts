import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  ask,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  startNode,
  startTestKafka,
  type TestKafka,
} from '../support/live-node.ts'
import { eventually } from '../support/grid-cluster.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let kafka: TestKafka
beforeAll(async () => {
  database = await createTestDatabase()
  kafka = await startTestKafka()
})
afterAll(async () => {
  await kafka?.stop()
  await database?.drop()
})

async function deleteTopic(topic: string): Promise<void> {
  const admin = new Kafka({ brokers: [kafka.server.address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.deleteTopics({ topics: [topic] })
  await eventually('the topic is gone', async () => !(await admin.listTopics()).includes(topic))
  await admin.disconnect()
}

const start = (topic: string, prefix: string) =>
  startNode(itemsPipeline({ name: topic, topic, prefix }), { url: database.url, events: kafka.events('n1') })

it('refuses a Kafka topic that was deleted and made anew with as many events or more, and touches nothing', async () => {
  const topic = 'anew'
  await createItemTables(database.url, 'anew_')
  await using feed = await kafka.feed(topic)
  const first = await start(topic, 'anew_')
  await feed.publish(0, itemValues(0, 20))
  await feed.publish(1, itemValues(1, 20))
  await floorsReachEnd(database.url, feed.events, { pipeline: topic })
  await first.stop()
  // The same topic: goes on.
  await feed.publish(0, itemValues(0, 5))
  const second = await start(topic, 'anew_')
  await floorsReachEnd(database.url, feed.events, { pipeline: topic })
  await second.stop()
  expect(await differenceOf(database.url, feed.events, 'anew_')).toEqual(noDifference)

  await deleteTopic(topic)
  await using other = await kafka.feed(topic)
  await other.publish(0, itemValues(0, 60))
  await other.publish(1, itemValues(1, 60))
  await expect(start(topic, 'anew_')).rejects.toMatchObject({
    code: 'FB_IDENTITY',
    message: expect.stringMatching(/"anew".*topic "anew" whose event at offset 24 of partition 0.*another event/),
  })
  expect(await differenceOf(database.url, feed.events, 'anew_')).toEqual(noDifference)
}, 60_000)

it('stops a running node under which the topic was made anew', async () => {
  const topic = 'swapped'
  await createItemTables(database.url, 'swapped_')
  await using feed = await kafka.feed(topic, 1)
  await using node = await start(topic, 'swapped_')
  await feed.publish(0, itemValues(0, 20))
  await floorsReachEnd(database.url, feed.events, { pipeline: topic })
  const kept = () => ask<{ offset: string }>(database.url, `select "offset" from forebay.floor_events where pipeline = 'swapped'`)
  await expect.poll(kept, { timeout: 15_000 }).toEqual([{ offset: '19' }])
  await deleteTopic(topic)
  await using other = await kafka.feed(topic, 1)
  await other.publish(0, itemValues(0, 60))
  await expect(node.ended).resolves.toMatchObject({ code: 'FB_IDENTITY' })
}, 60_000)

it('goes on with a topic whose event at the floor expired', async () => {
  const topic = 'aged'
  await createItemTables(database.url, 'aged_')
  await using feed = await kafka.feed(topic, 1)
  const first = await start(topic, 'aged_')
  await feed.publish(0, itemValues(0, 20))
  await floorsReachEnd(database.url, feed.events, { pipeline: topic })
  await first.stop()
  await kafka.expire(topic, 0)
  await feed.publish(0, itemValues(0, 5))
  await using second = await start(topic, 'aged_')
  await floorsReachEnd(database.url, feed.events, { pipeline: topic })
  await second.stop()
  expect(await differenceOf(database.url, feed.events, 'aged_')).toEqual(noDifference)
}, 60_000)
