import { afterAll, beforeAll, expect, it } from 'vitest'
import type { HazelcastJobGrid } from '../../src/grid/hazelcast-job-grid.ts'
import { type TestGrid, sharedGrid } from '../support/grid-cluster.ts'
import { entriesOf, ringsOf, scopeOf } from '../support/grid-rings.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { ask, differenceOf, floorsReachEnd, itemsPipeline, itemValues, noDifference, startNode } from '../support/live-node.ts'

const topic = 'again'
let cluster: TestGrid
const fixture = itemsDatabase(topic)
let other: HazelcastJobGrid

beforeAll(async () => {
  cluster = await sharedGrid()
  other = await cluster.connect()
})
afterAll(async () => {
  await other?.[Symbol.asyncDispose]()
})

const start = (name = 'n1') =>
  startNode(itemsPipeline({ topic }), {
    url: fixture.url,
    name,
    grid: { mode: 'client', clusterName: cluster.clusterName, members: cluster.addresses },
  })

async function publishBatches(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await fixture.feed.publish(0, itemValues(0, 15))
    await fixture.feed.publish(1, itemValues(1, 15))
  }
}

/** Appends what the rings hold once more, each ring's entries in an order of their own. */
async function deliverAgain(
  held: ReadonlyMap<string, readonly Buffer[]>,
  order: (entries: readonly Buffer[]) => readonly Buffer[] = (entries) => entries,
): Promise<number> {
  let count = 0
  for (const [ring, entries] of held) {
    for (const entry of order(entries)) {
      await other.append(ring, entry)
      count++
    }
  }
  return count
}

const noRowTwice = async () => {
  const doubled = await ask(fixture.url, 'select source_partition, source_offset, count(*) from items group by 1, 2 having count(*) > 1')
  expect(doubled).toEqual([])
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
}

it('applies no job of a segment that is delivered again, forwards or backwards, at rest or under way', async () => {
  await using node = await start()
  await publishBatches(10)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const rings = ringsOf(await scopeOf(fixture.url, 'items', topic))
  const held = await entriesOf(other, rings)
  for (const entries of held.values()) expect(entries.length).toBeGreaterThan(0)
  let again = await deliverAgain(held)
  again += await deliverAgain(held, (entries) => entries.toReversed())
  await publishBatches(5)
  const publishing = publishBatches(10)
  again += await deliverAgain(held)
  await publishing
  await floorsReachEnd(fixture.url, fixture.feed.events)
  // The last of them may still be under way to their readers.
  await expect.poll(async () => (await node.status()).counters.skips, { timeout: 10_000 }).toBeGreaterThanOrEqual(again)
  await noRowTwice()
  const { counters } = await node.status()
  expect(counters).toMatchObject({ foreign: 0, deadLetters: 0, repairs: 0 })
  await node.stop()
})

it('applies no job twice after a restart on a grid that still holds every segment, delivered again meanwhile', async () => {
  const first = await start()
  await publishBatches(12)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const rings = ringsOf(await scopeOf(fixture.url, 'items', topic))
  const held = await entriesOf(other, rings)
  await first.stop()
  const again = await deliverAgain(held)
  expect(again).toBeGreaterThan(0)
  await publishBatches(3)

  await using second = await start()
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await expect.poll(async () => (await second.status()).counters.skips, { timeout: 10_000 }).toBeGreaterThanOrEqual(again)
  await noRowTwice()
  await second.stop()
})

it('applies no job twice when the watermarks are behind what the grid holds twice', async () => {
  const first = await start()
  // Tables that cannot be written: the jobs stay in the rings, unapplied.
  await ask(fixture.url, 'alter table items rename to items_away; alter table totals rename to totals_away')
  await publishBatches(4)
  const rings = ringsOf(await scopeOf(fixture.url, 'items', topic))
  await expect
    .poll(async () => (await first.status()).partitions.map(({ position }) => position), { timeout: 10_000 })
    .toEqual(['59', '59'])
  await new Promise((resolve) => setTimeout(resolve, 200))
  const held = await entriesOf(other, rings)
  await first.stop()
  await deliverAgain(held, (entries) => entries.toReversed())
  await ask(fixture.url, 'alter table items_away rename to items; alter table totals_away rename to totals')
  expect(await ask(fixture.url, 'select from items')).toEqual([])

  await using second = await start()
  await deliverAgain(held)
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await noRowTwice()
  await second.stop()
})
