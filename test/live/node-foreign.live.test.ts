import { randomBytes } from 'node:crypto'
import { Client } from 'hazelcast-client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { HazelcastJobGrid } from '../../src/grid/hazelcast-job-grid.ts'
import { fanoutRingName, flagMapName, latestMapName } from '../../src/grid/queue-name.ts'
import { encodeSegment } from '../../src/grid/segment.ts'
import { membershipMap } from '../../src/node/membership.ts'
import { type TestGrid, sharedGrid } from '../support/grid-cluster.ts'
import { entriesOf, ringsOf, scopeOf, spoilMaps } from '../support/grid-rings.ts'
import { itemsDatabase } from '../support/items-database.ts'
import {
  type LiveNode,
  ask,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  startNode,
} from '../support/live-node.ts'

const topic = 'shared'
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

const start = ({ pipeline = 'items', prefix = '' } = {}) =>
  startNode(itemsPipeline({ name: pipeline, topic, prefix }), {
    url: fixture.url,
    grid: { mode: 'client', clusterName: cluster.clusterName, members: cluster.addresses },
  })

async function publishBatches(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await fixture.feed.publish(0, itemValues(0, 15))
    await fixture.feed.publish(1, itemValues(1, 15))
  }
}

const foreignOf = async (node: LiveNode) => (await node.status()).counters.foreign

it('takes nothing from the rings of a database that was wiped, and processes the log from its start', async () => {
  const first = await start()
  await publishBatches(8)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const old = await entriesOf(other, ringsOf(await scopeOf(fixture.url, 'items', topic)))
  await first.stop()
  await ask(
    fixture.url,
    `do $$ declare name text; begin
       for name in select tablename from pg_tables where schemaname = 'forebay' and tablename not like 'log%' loop
         execute format('drop table forebay.%I cascade', name);
       end loop;
     end $$;
     truncate items, totals`,
  )

  await using second = await start()
  const rings = ringsOf(await scopeOf(fixture.url, 'items', topic))
  let count = 0
  for (const [n, entries] of [...old.values()].entries()) {
    for (const entry of entries) await other.append(rings[n]!, entry)
    count += entries.length
  }
  expect(count).toBeGreaterThan(0)
  await publishBatches(8)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await expect.poll(() => foreignOf(second), { timeout: 10_000 }).toBeGreaterThanOrEqual(count)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  await second.stop()
})

it('keeps two pipelines on one grid apart, each with every event', async () => {
  await createItemTables(fixture.url, 'second_')
  await using a = await start()
  await using b = await start({ pipeline: 'second', prefix: 'second_' })
  await publishBatches(10)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await floorsReachEnd(fixture.url, fixture.feed.events, { pipeline: 'second' })
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect(await differenceOf(fixture.url, fixture.feed.events, 'second_')).toEqual(noDifference)
  for (const node of [a, b]) {
    expect(await foreignOf(node)).toBe(0)
    expect((await node.status()).members).toHaveLength(1)
  }

  // Whole segments of one, with the same secret, in the rings of the other.
  const mine = ringsOf(await scopeOf(fixture.url, 'items', topic))
  const theirs = await entriesOf(other, ringsOf(await scopeOf(fixture.url, 'second', topic)))
  let count = 0
  for (const [n, entries] of [...theirs.values()].entries()) {
    for (const entry of entries) await other.append(mine[n]!, entry)
    count += entries.length
  }
  await publishBatches(5)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await expect.poll(() => foreignOf(a), { timeout: 10_000 }).toBeGreaterThanOrEqual(count)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  await a.stop()
  await b.stop()
})

it('drops and counts garbage, damaged and forged segments in its own rings, and loses nothing', async () => {
  await using node = await start()
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const scope = await scopeOf(fixture.url, 'items', topic)
  const rings = ringsOf(scope)
  const held = await entriesOf(other, rings)
  const genuine = held.get(rings[0]!)!.at(-1)!
  const damaged = Buffer.from(genuine)
  damaged[damaged.length - 3]! ^= 1
  const headDamaged = Buffer.from(genuine)
  headDamaged.writeUInt32LE(0xffffffff, 36)
  // From here on jobs up to an offset far ahead would be taken for applied.
  const ahead = { scope, partition: 0, queue: 0, owner: 'somebody', repair: 0, lo: 0n, hi: 1_000_000n }
  const bad = [
    Buffer.alloc(0),
    Buffer.from('FBS1'),
    randomBytes(1_000),
    Buffer.concat([Buffer.from('FBS1'), randomBytes(200)]),
    genuine.subarray(0, genuine.length - 5),
    Buffer.concat([genuine, Buffer.from('more')]),
    damaged,
    headDamaged,
    encodeSegment(ahead, [], 'another secret'),
    encodeSegment({ ...ahead, scope: `${scope}0` }, [], 'a secret of the test'),
    encodeSegment({ ...ahead, partition: 1, queue: 1 }, [], 'a secret of the test'),
  ]
  const publishing = publishBatches(10)
  for (const entry of bad) await other.append(rings[0]!, entry)
  await spoilMaps(other, scope)
  await publishing
  // Bad entries at the tail of every ring: a queue at rest must come through as well.
  for (const ring of rings) await other.append(ring, randomBytes(100))
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await expect.poll(() => foreignOf(node), { timeout: 10_000 }).toBeGreaterThanOrEqual(bad.length + rings.length)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  const { isReady, counters, members } = await node.status()
  expect(isReady).toBe(true)
  expect(counters.deadLetters + counters.deadEvents).toBe(0)
  expect(members).toHaveLength(1)
  await node.stop()
})

it('drops and counts values of every type in every ring and map, and loses nothing', async () => {
  // This client alone can read what it writes as an `Odd`: for all others it is of an unknown type.
  class Odd {
    readonly hzCustomId = 4242
  }
  const odd = { id: 4242, hzCustomId: 4242, read: () => new Odd(), write: () => undefined }
  const client = await Client.newHazelcastClient({
    clusterName: cluster.clusterName,
    network: { clusterMembers: [...cluster.addresses] },
    serialization: { customSerializers: [odd] },
    properties: { 'hazelcast.logging.level': 'OFF' },
  })
  const garbage: unknown[] = [0, -1.5, Number.NaN, 7n, '', 'a text', true, new Date(0), [1, 'x'], { a: { b: null } }, Buffer.alloc(9)]
  await using node = await start()
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const scope = await scopeOf(fixture.url, 'items', topic)
  const rings = [...ringsOf(scope), fanoutRingName(scope, 'latest')]
  const maps = [flagMapName(scope), membershipMap(scope), latestMapName(scope, 'latest')]
  const publishing = publishBatches(10)
  for (const name of rings) {
    const ring = await client.getRingbuffer(name)
    for (const value of [...garbage, new Odd()]) await ring.add(value)
  }
  for (const name of maps) {
    const map = await client.getMap<unknown, unknown>(name)
    for (const [n, value] of [...garbage, new Odd()].entries()) {
      await map.set(`none of ours ${n}`, value)
      await map.set(value, 'none of ours')
    }
  }
  await publishing
  await publishBatches(5)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  const least = rings.length * (garbage.length + 1) + maps.length * garbage.length
  await expect.poll(() => foreignOf(node), { timeout: 15_000 }).toBeGreaterThanOrEqual(least)
  // A node that comes later finds all of it.
  await using late = await start()
  await publishBatches(5)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  for (const each of [node, late]) {
    await expect.poll(async () => (await each.status()).isReady, { timeout: 10_000 }).toBe(true)
    expect((await each.status()).counters.deadLetters).toBe(0)
  }
  await late.stop()
  await node.stop()
  await client.shutdown()
})
