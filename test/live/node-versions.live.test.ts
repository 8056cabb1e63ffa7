import { beforeAll, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { definePipeline, json, postgresTable } from '../../src/index.ts'
import type { Pipeline } from '../../src/index.ts'
import { NodeMetrics } from '../../src/status/metrics.ts'
import { type TestGrid, sharedGrid } from '../support/grid-cluster.ts'
import { itemsDatabase } from '../support/items-database.ts'
import { ask, differenceOf, floorsReachEnd, itemsPipeline, itemValues, noDifference, startNode } from '../support/live-node.ts'
import { ringsOf, scopeOf } from '../support/grid-rings.ts'

const topic = 'versions'
let cluster: TestGrid
const fixture = itemsDatabase(topic)

beforeAll(async () => {
  cluster = await sharedGrid()
})

const start = (version: string, queues = 2) =>
  startNode(itemsPipeline({ topic, version }), {
    url: fixture.url,
    name: `v${version}`,
    grid: { mode: 'client', clusterName: cluster.clusterName, members: cluster.addresses, queues },
  })

async function publishBatches(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    await fixture.feed.publish(0, itemValues(0, 15))
    await fixture.feed.publish(1, itemValues(1, 15))
  }
}

it('lets one version make each job when a new one starts in midstream, and the old one neither goes on nor comes back', async () => {
  await using old = await start('1')
  await publishBatches(10)
  await expect.poll(() => ask(fixture.url, 'select from items limit 1'), { timeout: 10_000 }).toHaveLength(1)
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
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)

  const cuts = await ask<{ old: string; young: string }>(
    fixture.url,
    `select source_partition, item_key, max(source_offset) filter (where made_by = '1') as old, min(source_offset) filter (where made_by = '2') as young from items group by 1, 2`,
  )
  expect(cuts.length).toBe(14)
  for (const cut of cuts) expect(BigInt(cut.old), JSON.stringify(cut)).toBeLessThan(BigInt(cut.young))

  await expect(start('1')).rejects.toMatchObject({
    code: 'FB_FINGERPRINT',
    message: expect.stringMatching(/Version 1 .*superseded.*version 2/),
  })
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect((await young.status()).epoch).toBe(2)
  await young.stop()
})

/** A pipeline whose versions differ in what they can decode and in the key: events of `mode` later are read by version 2 only. */
function changedPipeline(version: '1' | '2'): Pipeline {
  const [oldItem, youngItem] = [z.strictObject({ key: z.string(), n: z.int() }), z.object({ key: z.string(), n: z.int() })]
  return definePipeline({
    name: 'items',
    version,
    source: { topic, decode: json(version === '1' ? oldItem : youngItem) },
    key: ({ key }) => (version === '1' ? key : `${key} by another name`),
    tasks: {
      item: {
        every: '15ms',
        sink: postgresTable('items', {
          columns: { source_partition: 'int', source_offset: 'bigint', item_key: 'text', n: 'int', made_by: 'text' },
        }),
        convert: ({ key, n }, at) => ({ source_partition: at.partition, source_offset: at.offset, item_key: key, n, made_by: version }),
      },
      total: {
        every: '400ms',
        sink: postgresTable('totals', {
          columns: { item_key: 'text', events: 'bigint', total: 'bigint', last_n: 'int' },
          upsertOn: ['item_key'],
          merge: { events: 'add', total: 'add', last_n: 'last' },
        }),
        convert: ({ key, n }) => ({ item_key: key, events: 1, total: n, last_n: n }),
      },
    },
  })
}

it('loses and doubles nothing under load when the next version decodes what this one could not and gives other keys', async () => {
  const grid = { mode: 'client' as const, clusterName: cluster.clusterName, members: cluster.addresses, queues: 4 }
  const startChanged = (version: '1' | '2') => startNode(changedPipeline(version), { url: fixture.url, name: `c${version}`, grid })
  await using old = await startChanged('1')
  let isPublishing = true
  const publishing = (async () => {
    for (let n = 0; n < 600 && isPublishing; n++) {
      for (const partition of [0, 1]) {
        const values = itemValues(partition, 15).map((value, i) => (i % 3 === 0 ? value.replace('}', ',"mode":"later"}') : value))
        await fixture.feed.publish(partition, values)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  using log = vi.spyOn(NodeMetrics.prototype, 'log')
  try {
    await expect.poll(() => ask(fixture.url, 'select from totals limit 1'), { timeout: 10_000 }).toHaveLength(1)
    await using _young = await startChanged('2')
    expect(await old.ended).toMatchObject({ code: 'FB_EPOCH_CLOSED' })
  } finally {
    isPublishing = false
    await publishing
  }
  expect(log.mock.calls.map(([, sentence]) => sentence).join()).not.toMatch(/are in flight/)
  await using again = await startChanged('2')
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await again.stop()

  const applied = await ask<{ place: string }>(
    fixture.url,
    `select concat_ws('/', source_partition, source_offset) as place from items
     union all select concat_ws('/', partition, "offset") from forebay.dead_letters`,
  )
  const places = fixture.feed.events.map(({ partition, offset }) => `${partition}/${offset}`)
  expect(applied.map(({ place }) => place).toSorted()).toEqual(places.toSorted())
  const sums = await ask(
    fixture.url,
    `select item_key, events::int, total::int from totals except select item_key, count(*)::int, sum(n)::int from items group by item_key`,
  )
  expect(sums).toEqual([])
  const disorder = await ask(
    fixture.url,
    `select * from (select source_offset - lag(source_offset) over (partition by source_partition, item_key order by seq) as step from items) steps where step <= 0`,
  )
  expect(disorder).toEqual([])
  const made = await ask<{ made_by: string }>(fixture.url, 'select made_by from items group by made_by order by made_by')
  expect(made.map(({ made_by }) => made_by)).toEqual(['1', '2'])
})

it('opens with a warning where what runs cannot drain, since the new version may be the mend', async () => {
  const old = await start('1')
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await ask(
    fixture.url,
    `create function refuse() returns trigger language plpgsql as $$ begin raise 'full' using errcode = '53100'; end $$;
     create trigger refuse before insert or update on totals for each statement execute function refuse()`,
  )
  await publishBatches(3)
  const ahead = 'select from forebay.watermarks w join forebay.floors f using (pipeline, partition) where w.applied > f.floor'
  await expect.poll(async () => (await ask(fixture.url, ahead)).length, { timeout: 10_000 }).toBeGreaterThan(0)
  const log = vi.spyOn(NodeMetrics.prototype, 'log')
  try {
    await using young = await start('2')
    expect((await young.status()).epoch).toBe(2)
    const warnings = log.mock.calls.filter(([level]) => level === 'warn').map(([, sentence]) => sentence)
    expect(warnings.join()).toMatch(/Epoch 2 \(version 2\) .* while jobs of version 1 are in flight .*may be lost or doubled/)
    await ask(fixture.url, 'drop function refuse cascade')
    await floorsReachEnd(fixture.url, fixture.feed.events)
    expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
    await young.stop()
  } finally {
    log.mockRestore()
  }
  expect(await old.ended).toMatchObject({ code: 'FB_EPOCH_CLOSED' })
})

it('takes up partitions that are added while it runs, without a restart', async () => {
  await using node = await start('1')
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await ask(
    fixture.url,
    `with grown as (update forebay.log_topics set partitions = 3 where name = $1 returning topic)
     insert into forebay.log_partitions (topic, partition) select topic, 2 from grown`,
    [topic],
  )
  await fixture.feed.publish(2, itemValues(2, 15))
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect((await node.status()).epoch).toBe(1)
  await node.stop()
})

it('lets a new version make again what the old one had converted but not applied', async () => {
  const old = await start('1')
  await ask(fixture.url, 'alter table items rename to items_away; alter table totals rename to totals_away')
  await publishBatches(6)
  await expect.poll(async () => (await old.status()).partitions.map(({ position }) => position), { timeout: 10_000 }).toEqual(['89', '89'])
  await old.stop()
  await ask(fixture.url, 'alter table items_away rename to items; alter table totals_away rename to totals')
  await using young = await start('2')
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect(await ask(fixture.url, 'select made_by from items group by made_by')).toEqual([{ made_by: '2' }])
  await young.stop()
})

it('lets a node with another number of queues wait: it owns nothing, names both numbers, and disturbs nobody', async () => {
  await using node = await start('1')
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await using other = await start('1', 3)
  await using both = await start('2', 3)
  for (const waiting of [other, both]) {
    const { epoch, isReady, reasons, partitions, queues } = await waiting.status()
    expect({ epoch, isReady, partitions, queues }).toEqual({ epoch: null, isReady: false, partitions: [], queues: [] })
    expect(reasons.join()).toMatch(/queues 2, this node has queues 3: it owns nothing and waits for `forebay routing apply`, or until v1\./)
  }
  await publishBatches(2)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect((await node.status()).epoch).toBe(1)
  await other.stop()
  await both.stop()
  await node.stop()
})

it('opens the epoch of another number of queues by itself once nobody runs and nothing is in flight', async () => {
  const old = await start('1')
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await using young = await start('1', 5)
  expect((await young.status()).epoch).toBeNull()
  await old.stop()
  await expect.poll(async () => (await young.status()).epoch, { timeout: 10_000 }).toBe(2)
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  expect((await young.status()).queues).toHaveLength(10)
  await young.stop()
  await using again = await start('1', 2)
  expect((await again.status()).epoch).toBe(3)
  await publishBatches(1)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  await again.stop()
})

it('keeps a node with another number of queues waiting while jobs are applied beyond a floor, and says where', async () => {
  const old = await start('1')
  await publishBatches(3)
  await floorsReachEnd(fixture.url, fixture.feed.events)
  await old.stop()
  await ask(fixture.url, `update forebay.floors set floor = 20 where partition = 1`)
  await using young = await start('1', 5)
  const reasonOf = async () => (await young.status()).reasons.join()
  await expect
    .poll(reasonOf, { timeout: 10_000 })
    .toMatch(/partition 1: task (item|total) has applied up to 44 in queue [01], the floor is 20/)
  await young.stop()
  await using mended = await start('1')
  await floorsReachEnd(fixture.url, fixture.feed.events)
  expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
  await mended.stop()
})

it('takes the rings and maps of an earlier epoch out of the grid, and leaves its own', async () => {
  const grid = await cluster.connect()
  try {
    const first = await start('1')
    await publishBatches(3)
    await floorsReachEnd(fixture.url, fixture.feed.events)
    const before = await scopeOf(fixture.url, 'items', topic)
    const tailsOf = (scope: string) => Promise.all(ringsOf(scope).map(async (ring) => (await grid.tail(ring)).sequence))
    const mapsOf = (scope: string) =>
      Promise.all([`forebay.${scope}.nodes`, `forebay-latest.${scope}.latest`].map((map) => grid.entries(map)))
    await expect.poll(async () => (await mapsOf(before)).map(({ size }) => size > 0), { timeout: 10_000 }).toEqual([true, true])
    await first.stop()
    expect(Math.max(...(await tailsOf(before)).map(Number))).toBeGreaterThanOrEqual(0)

    await using second = await start('2')
    await publishBatches(3)
    await floorsReachEnd(fixture.url, fixture.feed.events)
    const now = await scopeOf(fixture.url, 'items', topic)
    expect(now).not.toBe(before)
    await expect.poll(() => tailsOf(before), { timeout: 10_000 }).toEqual([-1n, -1n, -1n, -1n])
    await expect.poll(async () => (await mapsOf(before)).map(({ size }) => size), { timeout: 10_000 }).toEqual([0, 0])
    await expect.poll(async () => (await mapsOf(now)).map(({ size }) => size > 0), { timeout: 10_000 }).toEqual([true, true])
    expect(Math.max(...(await tailsOf(now)).map(Number))).toBeGreaterThanOrEqual(0)
    expect(await differenceOf(fixture.url, fixture.feed.events)).toEqual(noDifference)
    await second.stop()
  } finally {
    await grid[Symbol.asyncDispose]()
  }
})
