/** Logs that lost events which were processed, and then grew past the floor again (rule 21). */
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'
import type { EventSettings } from '../../src/config/settings.ts'
import { commandFolder } from '../support/forebay-command.ts'
import { eventually } from '../support/grid-cluster.ts'
import { ask, createItemTables, floorsReachEnd, itemsPipeline, itemValues, postgresFeed, startNode } from '../support/live-node.ts'
import type { PublishedEvent } from '../support/live-node.ts'
import { createTestDatabase } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

const topic = 'items'
let database: TestDatabase
beforeEach(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
})
afterEach(() => database.drop())

const offsets = async () =>
  (await ask<{ o: string }>(database.url, 'select source_offset as o from items order by source_offset')).map(({ o }) => Number(o))
const upTo = (end: number, from = 0) => Array.from({ length: end - from }, (_, n) => from + n)
const halt = async () => (await ask<{ reason: string; floor: string }>(database.url, 'select reason, floor from forebay.halts'))[0]

/** The node says so, and for some lives writes nothing. */
async function staysHalted(node: { status(): Promise<{ partitions: readonly { haltedReason: string | null }[] }> }, sentence: RegExp) {
  await eventually(
    'the halt is told',
    async () => (await node.status()).partitions.some(({ haltedReason }) => sentence.test(haltedReason ?? '')),
    20_000,
  )
  await new Promise((resolve) => setTimeout(resolve, 6_000))
  expect((await node.status()).partitions.some(({ haltedReason }) => sentence.test(haltedReason ?? ''))).toBe(true)
  expect(await offsets()).toEqual(upTo(50))
}

/** The operator goes back to where the log was cut off; what is there now is made once. */
async function decides(events: EventSettings | undefined, end: number) {
  using commands = commandFolder({ topic }, { url: database.url, ...(events === undefined ? {} : { events }) })
  const listed = await commands.json<{ partition: number; floor: string }[]>(0, 'halts', 'list')
  expect(listed).toMatchObject([{ partition: 0, floor: '49' }])
  expect((await commands.run('halts', 'clear', '--partition', '0')).code).toBe(64)
  const reset = await commands.run('reset', '--partition', '0', '--to', '30', '--allow-duplicates', '--truncate', 'totals', '--yes')
  expect(reset.code, reset.stderr).toBe(0)
  expect(await commands.json(0, 'halts', 'list')).toEqual([])
  await using node = await startNode(itemsPipeline({ topic }), { url: database.url, ...(events === undefined ? {} : { events }) })
  await floorsReachEnd(database.url, [{ partition: 0, offset: BigInt(end - 1), value: Buffer.alloc(0) }])
  expect(await offsets()).toEqual([...upTo(50), ...upTo(end, 30)].toSorted((a, b) => a - b))
  expect((await node.status()).partitions.every(({ haltedReason }) => haltedReason === null)).toBe(true)
}

it('stays halted when a log in Postgres lost its end and grew again, until an operator decides', async () => {
  const feed = await postgresFeed(database.url, topic, { partitions: 1 })
  await feed.publish(0, itemValues(0, 50))
  const node = await startNode(itemsPipeline({ topic }), { url: database.url })
  await floorsReachEnd(database.url, feed.events)
  await ask(
    database.url,
    'with gone as (delete from forebay.log_events where event_offset >= 30) update forebay.log_partitions set next_offset = 30',
  )
  await eventually('the halt is kept', async () => (await halt()) !== undefined, 20_000)
  expect(await halt()).toMatchObject({ floor: '49', reason: expect.stringContaining('truncated') as string })
  await feed.publish(0, itemValues(0, 60))
  await staysHalted(node, /truncated.*forebay reset --partition 0 --to OFFSET/)
  await node.stop()
  const next = await startNode(itemsPipeline({ topic }), { url: database.url })
  await staysHalted(next, /truncated.*forebay halts clear --partition 0 --accept-loss/)
  await next.stop()
  await decides(undefined, 90)
  await feed[Symbol.asyncDispose]()
}, 120_000)

it('finds by the leader epoch that a log of Kafka lost its end, also when it has grown past the floor meanwhile', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'forebay-truncation-'))
  const jars = (await provisionJars(serversFolder)).kafka
  let kafka = await startKafka({ dir, jars, heapMb: 384 })
  const events: EventSettings = {
    kind: 'kafka',
    brokers: [kafka.address],
    clientId: 't',
    group: undefined,
    fetchBytesMax: 1 << 20,
    inflatedBytesMax: 1 << 22,
  }
  const publish = async (count: number) => {
    const client = new Kafka({ brokers: [kafka.address], logLevel: logLevel.NOTHING })
    const producer = client.producer()
    await producer.connect()
    // A batch each, so that the log can be cut between any two.
    for (const value of itemValues(0, count)) await producer.send({ topic, acks: -1, messages: [{ partition: 0, value }] })
    await producer.disconnect()
  }
  const admin = new Kafka({ brokers: [kafka.address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true })
  await admin.disconnect()
  await publish(50)
  const end: PublishedEvent[] = [{ partition: 0, offset: 49n, value: Buffer.alloc(0) }]
  const start = () => startNode(itemsPipeline({ topic }), { url: database.url, events })
  const first = await start()
  await floorsReachEnd(database.url, end)
  await first.stop()

  // A clean election: the leader epoch rises, and nothing is wrong.
  await kafka.stop()
  kafka = await startKafka({ dir, jars, heapMb: 384 })
  const second = await start()
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect(await halt()).toBeUndefined()
  await second.stop()

  await kafka.stop()
  cutLog(join(dir, 'data'), 30n)
  kafka = await startKafka({ dir, jars, heapMb: 384 })
  await publish(40)
  // Without the event at the floor only the epochs are left to tell.
  await ask(database.url, 'delete from forebay.floor_events')
  const third = await start()
  await staysHalted(third, /leader was elected uncleanly/)
  await third.stop()
  await decides(events, 70)
  await kafka.stop()
  rmSync(dir, { recursive: true, force: true })
}, 180_000)

/** What an unclean leader is: a log without its end, and a broker that knows of no other. */
function cutLog(data: string, endOffset: bigint): void {
  const folder = join(data, `${topic}-0`)
  const segment = join(folder, '00000000000000000000.log')
  const bytes = readFileSync(segment)
  let at = 0
  while (at < bytes.length && bytes.readBigInt64BE(at) < endOffset) at += 12 + bytes.readInt32BE(at + 8)
  expect(at).toBeLessThan(bytes.length)
  truncateSync(segment, at)
  const made = readdirSync(folder).filter((name) => /\.(index|timeindex|snapshot)$/.test(name))
  for (const path of [...made.map((name) => join(folder, name)), join(data, '.kafka_cleanshutdown')]) rmSync(path, { force: true })
}
