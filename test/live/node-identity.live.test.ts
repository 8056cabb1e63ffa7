import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CommandRun, ConfigFolder, killCommands } from '../support/commands.ts'
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
const folder = new ConfigFolder()
beforeAll(async () => {
  database = await createTestDatabase()
  kafka = await startTestKafka()
})
afterAll(async () => {
  await killCommands()
  folder.remove()
  await database?.drop()
})

async function deleteTopic(topic: string): Promise<void> {
  const admin = new Kafka({ brokers: [kafka.address], logLevel: logLevel.NOTHING }).admin()
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

it('halts, or stops, a running node under which the topic was made anew', async () => {
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
  // Whether it looks while the new topic is still empty is chance: then it finds that the log has lost its end, and halts the partition.
  const haltCode = async () => (await node.status().catch(() => undefined))?.partitions[0]?.haltedCode
  const isHalted = expect.poll(haltCode, { timeout: 30_000 }).toBe('FB_LOG_TRUNCATED')
  const hasEnded = expect(node.ended).resolves.toMatchObject({ code: 'FB_IDENTITY' })
  await Promise.any([isHalted, hasEnded])
  if ((await haltCode()) !== undefined) expect(await ask(database.url, 'select from swapped_items')).toHaveLength(20)
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

it('takes up partitions that `topics apply` adds to a Kafka topic under it, from their first event', async () => {
  const { url } = database
  const topic = 'growing'
  // For the commands, which load the pipeline from its file.
  process.env['FOREBAY_TEST_TOPIC'] = topic
  await createItemTables(url)
  await using feed = await kafka.feed(topic)
  const events = { kind: 'kafka', brokers: [kafka.address], topic: { partitions: 4 } }
  const file = folder.write('n1', { url, grid: { mode: 'local' }, events })
  const topics = async (verb: string) => {
    const command = new CommandRun(['topics', verb, '-c', file, '--json'])
    return { code: await command.exited, ...(JSON.parse(command.stdout) as { drifts: unknown[]; done: string | null }) }
  }
  const drifts = [{ setting: 'partitions', severity: 'error', found: '2', wanted: '4' }]
  await using node = await startNode(itemsPipeline({ topic }), { url, events: kafka.events('n1') })
  await feed.publish(0, itemValues(0, 20))
  await feed.publish(1, itemValues(1, 20))
  await floorsReachEnd(url, feed.events)
  expect(await topics('plan')).toMatchObject({ code: 0, drifts, done: null })
  expect(await topics('apply')).toMatchObject({ code: 0, drifts, done: 'changed: partitions' })

  // A producer of its own, since the first knows of two partitions. The node has not noticed them yet either: what comes
  // meanwhile must not be passed over.
  await using grown = await kafka.feed(topic)
  await grown.publish(2, itemValues(2, 15))
  for (const partition of [0, 1, 3]) await grown.publish(partition, itemValues(partition, 10))
  expect((await node.status()).partitions).toHaveLength(2)
  // Raced with the end of the node, which would tell more than floors that stand still.
  expect(await Promise.race([node.ended, floorsReachEnd(url, grown.events)])).toBeUndefined()
  await grown.publish(3, itemValues(3, 5))
  await floorsReachEnd(url, grown.events)
  expect(await differenceOf(url, [...feed.events, ...grown.events])).toEqual(noDifference)
  const { epoch, partitions, reasons } = await node.status()
  expect({ epoch, partitions: partitions.length, reasons }).toEqual({ epoch: 1, partitions: 4, reasons: [] })
  await node.stop()
}, 60_000)
