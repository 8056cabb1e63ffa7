import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { discardPostgres, type PostgresHandle, startPostgres } from '../../src/launch/postgres-server.ts'
import {
  type Feed,
  type TestKafka,
  ask,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  startNode,
  startTestKafka,
} from '../support/live-node.ts'

const dir = join(mkdtempSync(join(tmpdir(), 'forebay-away-')), 'postgres')
let kafka: TestKafka
let postgres: PostgresHandle
let url: string
let topics = 0
let topic: string
let feed: Feed

beforeAll(async () => {
  postgres = await startPostgres({ dir })
  kafka = await startTestKafka()
})
afterAll(async () => {
  await postgres?.stop()
  discardPostgres(dir)
  rmSync(join(dir, '..'), { recursive: true, force: true })
})
beforeEach(async () => {
  const name = `away${++topics}`
  await ask(postgres.url, `create database ${name}`)
  url = postgres.url.replace(/\/postgres$/, `/${name}`)
  await createItemTables(url)
  topic = name
  feed = await kafka.feed(topic)
})
afterEach(() => feed[Symbol.asyncDispose]())

async function killPostgres(): Promise<void> {
  expect(postgres.kill('SIGKILL')).toBe(true)
  await postgres.exited
}

const pad = 'x'.repeat(300)
async function publishBatches(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await feed.publish(0, itemValues(0, 100, pad))
    await feed.publish(1, itemValues(1, 100, pad))
    await sleep(5)
  }
}

const countOf = async () => Number((await ask<{ count: string }>(url, 'select count(*) from items'))[0]!.count)

it.each(['on', 'off'] as const)(
  'loses and doubles nothing when Postgres is killed again and again (synchronous_commit = %s)',
  async (synchronousCommit) => {
    await using node = await startNode(itemsPipeline({ topic }), { url, events: kafka.events('n1'), synchronousCommit })
    let isPublishing = true
    const publishing = (async () => {
      for (let n = 0; n < 150 && isPublishing; n++) await publishBatches(1)
    })()
    for (let round = 0; round < 3; round++) {
      const before = await countOf()
      await expect.poll(countOf, { timeout: 20_000, interval: 20 }).toBeGreaterThan(before)
      await killPostgres()
      postgres = await startPostgres({ dir })
    }
    isPublishing = false
    await publishing
    await publishBatches(2)
    await floorsReachEnd(url, feed.events, { timeMs: 60_000 })
    expect(await differenceOf(url, feed.events)).toEqual(noDifference)
    expect(await ask(url, 'select * from forebay.dead_letters')).toEqual([])
    await expect.poll(async () => (await node.status()).reasons, { timeout: 10_000 }).toEqual([])
    await node.stop()
  },
  180_000,
)

it('stops reading with full windows while Postgres is away for ten seconds, says so, and then catches up', async () => {
  await using node = await startNode(itemsPipeline({ topic }), { url, events: kafka.events('n1'), grid: { capacity: 24 } })
  await publishBatches(5)
  await floorsReachEnd(url, feed.events)
  const published = feed.events.length
  await killPostgres()
  const killedMs = performance.now()
  // More than the windows hold: 2 partitions x 2 queues x 4 segments.
  for (let n = 0; n < 60; n++) {
    await publishBatches(1)
    await sleep(20)
  }
  const windowsOf = async () => (await node.status()).queues.map(({ windowUsed }) => windowUsed)
  await expect.poll(windowsOf, { timeout: 10_000 }).toEqual([1, 1, 1, 1])
  const away = await node.status()
  expect(away.isReady).toBe(false)
  expect(away.reasons.join()).toMatch(/Postgres/)
  await sleep(Math.max(0, 10_000 - (performance.now() - killedMs)))
  const later = await node.status()
  // The log is the spill: nothing is read beyond the windows.
  expect(later.partitions.map(({ position }) => position)).toEqual(away.partitions.map(({ position }) => position))
  expect(later.counters.events).toBeLessThan(feed.events.length)
  expect(later.counters.events).toBeGreaterThan(published)

  postgres = await startPostgres({ dir })
  await publishBatches(2)
  await floorsReachEnd(url, feed.events, { timeMs: 60_000 })
  expect(await differenceOf(url, feed.events)).toEqual(noDifference)
  await expect.poll(async () => (await node.status()).isReady, { timeout: 10_000 }).toBe(true)
  await node.stop()
}, 120_000)
