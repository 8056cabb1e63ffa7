import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CommandRun, ConfigFolder, killCommands } from '../support/commands.ts'
import {
  type TestKafka,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
  startTestKafka,
} from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let kafka: TestKafka
const folder = new ConfigFolder()

beforeAll(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  kafka = await startTestKafka()
})
afterAll(async () => {
  await killCommands()
  await database.drop()
  folder.remove()
})

async function committedOf(): Promise<string[]> {
  const admin = new Kafka({ brokers: [kafka.address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const [found] = await admin.fetchOffsets({ groupId: 'items', topics: ['items'] })
  await admin.disconnect()
  return found!.partitions.toSorted((a, b) => a.partition - b.partition).map(({ offset }) => offset)
}

it('goes back to a time by the index of Kafka, then to the beginning, and takes the committed offsets along', async () => {
  await using feed = await kafka.feed('items')
  const events = { kind: 'kafka', brokers: [kafka.address] }
  const file = folder.write('n1', { url: database.url, grid: { mode: 'local' }, events })
  const run = async () => {
    const node = await startNode(itemsPipeline({ topic: 'items' }), { url: database.url, events: kafka.events('n1') })
    await floorsReachEnd(database.url, feed.events)
    await node.stop()
  }
  const reset = async (to: string) => {
    const command = new CommandRun(['reset', '-c', file, '--to', to, '--truncate', 'items', '--truncate', 'totals', '--yes', '--json'])
    expect(await command.exited, command.stderr).toBe(0)
    return JSON.parse(command.stdout) as { warnings: string[]; reset: number }
  }
  await feed.publish(0, itemValues(0, 50))
  await feed.publish(1, itemValues(1, 30))
  await sleep(30)
  const time = new Date().toISOString()
  await sleep(30)
  const early = feed.events.length
  await feed.publish(0, itemValues(0, 20))
  await feed.publish(1, itemValues(1, 10))
  await run()
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect(await committedOf()).toEqual(['70', '40'])

  expect((await reset(time)).warnings).toEqual([expect.stringContaining('partition 0 up to 49, partition 1 up to 29')])
  expect(await committedOf()).toEqual(['50', '30'])
  await run()
  expect(await differenceOf(database.url, feed.events.slice(early))).toEqual(noDifference)
  expect((await reset('earliest')).reset).toBe(2)
  expect(await committedOf()).toEqual(['0', '0'])
  await run()
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect(await committedOf()).toEqual(['70', '40'])
}, 180_000)

it('gives up events that retention took when that is said, and goes on', async () => {
  const own = await createTestDatabase()
  await createItemTables(own.url)
  const feed = await postgresFeed(own.url, 'items', { retentionEvents: 5 })
  const file = folder.write('n2', { url: own.url, grid: { mode: 'local' } })
  const start = () => startNode(itemsPipeline({ topic: 'items' }), { url: own.url })
  await feed.publish(0, itemValues(0, 10))
  await feed.publish(1, itemValues(1, 10))
  const first = await start()
  await floorsReachEnd(own.url, feed.events)
  await first.stop()
  const before = [...feed.events]
  await feed.publish(0, itemValues(0, 30))
  await feed.publish(1, itemValues(1, 3))
  await feed.trim()
  const refused = new CommandRun(['reset', '-c', file, '--to', 'earliest', '--yes'])
  expect(await refused.exited).toBe(74)
  expect(refused.stderr).toMatch(/floor is 9, but the log begins at 35: 25 offsets are gone.*--skip-lost/)
  const back = new CommandRun(['reset', '-c', file, '--to', 'earliest', '--skip-lost', '--yes'])
  expect(await back.exited).toBe(64)
  expect(back.stderr).toContain('Task item inserts into table items')
  const given = new CommandRun(['reset', '-c', file, '--to', 'earliest', '--partition', '0', '--skip-lost', '--yes', '--json'])
  expect(await given.exited, given.stderr).toBe(0)
  expect(JSON.parse(given.stdout)).toMatchObject({ partitions: [{ partition: 0, floor: '9', cut: '34', change: 'ahead' }] })
  const second = await start()
  const left = [...before, ...feed.events.slice(before.length).filter(({ partition, offset }) => partition === 1 || offset >= 35n)]
  await floorsReachEnd(own.url, left)
  expect(await differenceOf(own.url, left)).toEqual(noDifference)
  await second.stop()
  await feed[Symbol.asyncDispose]()
  await own.drop()
}, 180_000)
