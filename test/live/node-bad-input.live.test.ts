import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'
import {
  ask,
  createItemTables,
  differenceOf,
  eventBytesMax,
  expectedOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
} from '../support/live-node.ts'

interface Letter {
  readonly topic: string
  readonly partition: number
  readonly offset: string
  readonly task: string | null
  readonly error: string
  readonly payload: Buffer | null
  readonly is_payload_cut: boolean
}

const payloadBytesMax = 64 * 1024
let database: TestDatabase

beforeAll(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
})
afterAll(() => database.drop())

const lettersOf = (topic: string) =>
  ask<Letter>(database.url, 'select * from forebay.dead_letters where topic = $1 order by partition, "offset", task', [topic])
const placeOf = ({ partition, offset, task }: Letter) => `${partition}/${offset}/${task}`

it('buries each bad event once with its place, its error and its payload, and applies all others', async () => {
  const topic = 'mixed'
  await using feed = await postgresFeed(database.url, topic)
  const bad: [value: string | Buffer, error: RegExp][] = [
    ['{"key": "p0-k0", "n": ', /not JSON/],
    ['', /not JSON/],
    [Buffer.from([0x22, 0xff, 0xfe, 0x22]), /UTF-8/],
    ['null', /the whole value/],
    ['{"key": 7, "n": 1}', /key.*string/],
    ['{"key": "p0-k0", "n": "one"}', /n.*number/],
    ['{"key": "p0-k0", "n": 1.5}', /n.*int/],
    ['{"key": "p0-k0", "n": 1, "mode": "bad key"}', /this one has no key/],
    ['{"key": "p0-k0", "n": 1, "mode": "bad convert"}', /this one cannot be converted/],
    [JSON.stringify({ key: 'p0-k0', n: 1, pad: 'x'.repeat(eventBytesMax) }), new RegExp(`more than .*${eventBytesMax}`)],
    // A payload longer than a dead letter keeps, of an event that is otherwise small enough.
    [`{"key": "p0-k0", "n": oops, "pad": "${'é'.repeat(50_000)}"}`, /not JSON/],
  ]
  const errors = new Map<string, RegExp>()
  for (const [value, error] of bad) {
    await feed.publish(0, itemValues(0, 20))
    await feed.publish(0, [value])
    errors.set(String(feed.events.at(-1)!.offset), error)
    await feed.publish(1, itemValues(1, 20))
  }
  await using node = await startNode(itemsPipeline({ topic }), { url: database.url })
  await feed.publish(0, itemValues(0, 20))
  await floorsReachEnd(database.url, feed.events)

  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  const letters = await lettersOf(topic)
  expect(letters.map(placeOf).toSorted()).toEqual(expectedOf(feed.events).deadLetters)
  expect(letters).toHaveLength(bad.length)
  for (const letter of letters) {
    const { value } = feed.events.find(({ partition, offset }) => partition === letter.partition && String(offset) === letter.offset)!
    expect(letter.error).toMatch(errors.get(letter.offset)!)
    expect(letter.payload?.equals(value.subarray(0, payloadBytesMax)), `payload at ${letter.offset}`).toBe(true)
    expect(letter.is_payload_cut).toBe(value.length > payloadBytesMax)
  }
  const { counters, isReady } = await node.status()
  const ofEvents = letters.filter(({ task }) => task === null).length
  expect([counters.deadEvents, counters.deadLetters]).toEqual([ofEvents, bad.length - ofEvents])
  expect(isReady).toBe(true)
  await node.stop()
})

it('finds the rows that the table refuses in a large batch and writes all others', async () => {
  await ask(database.url, 'truncate items, totals')
  const topic = 'refused'
  await using feed = await postgresFeed(database.url, topic)
  const refused = JSON.stringify({ key: 'p0-k1', n: -1 })
  await feed.publish(0, [refused, ...itemValues(0, 700), refused, refused, ...itemValues(0, 1_300), refused])
  await feed.publish(1, itemValues(1, 2_000))
  await using node = await startNode(itemsPipeline({ name: 'refusing', topic }), { url: database.url })
  await floorsReachEnd(database.url, feed.events, { pipeline: 'refusing' })

  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  const letters = await lettersOf(topic)
  expect(letters.map(placeOf).toSorted()).toEqual(expectedOf(feed.events).deadLetters)
  expect(letters).toHaveLength(4)
  for (const { error, payload, is_payload_cut } of letters) {
    expect(error).toMatch(/items_n_check/)
    expect(payload?.toString()).toContain('p0-k1')
    expect(is_payload_cut).toBe(false)
  }
  expect((await node.status()).tasks.find(({ task }) => task === 'item')).toMatchObject({ lastError: null, blockedReason: null })
  await node.stop()
})

it('buries nothing while a table is away, and goes on once it is back', async () => {
  await ask(database.url, 'truncate items, totals')
  const topic = 'blocked'
  await using feed = await postgresFeed(database.url, topic)
  await using node = await startNode(itemsPipeline({ name: 'blocked', topic }), { url: database.url })
  await feed.publish(0, itemValues(0, 50))
  await floorsReachEnd(database.url, feed.events, { pipeline: 'blocked' })
  await ask(database.url, 'alter table items rename to items_away')
  await feed.publish(0, itemValues(0, 50))
  await feed.publish(1, itemValues(1, 50))
  await expect
    .poll(async () => (await node.status()).tasks.find(({ task }) => task === 'item')?.blockedReason, { timeout: 10_000 })
    .toMatch(/items/)
  expect((await node.status()).isReady).toBe(false)
  await ask(database.url, 'alter table items_away rename to items')
  await floorsReachEnd(database.url, feed.events, { pipeline: 'blocked' })
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  expect(await lettersOf(topic)).toEqual([])
  expect((await node.status()).isReady).toBe(true)
  await node.stop()
})
