/**
 * Nodes for live tests: the pipeline of small items, feeds that remember what they published, and a checker that computes
 * from those events alone which rows there must be. The checker shares no code with the product.
 */
import { Kafka, logLevel } from 'kafkajs'
import pg from 'pg'
import { WebSocket } from 'ws'
import { PostgresEventPublisher } from '../../src/events/postgres-event-publisher.ts'
import type { Pipeline } from '../../src/index.ts'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'
import { runNode } from '../../src/main.ts'
import type { EventSettings, GridSettings, NodeSettings } from '../../src/config/settings.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import { eventually } from './grid-cluster.ts'
import { sharedServer } from './shared-server.ts'

export { itemsPipeline } from './items.mjs'

export const eventBytesMax = 200_000
export const segmentBytesMax = 131_072

export async function createItemTables(url: string, prefix = ''): Promise<void> {
  await ask(
    url,
    `create table ${prefix}items (seq bigint generated always as identity, source_partition int not null, source_offset bigint not null,
       item_key text not null, n int not null check (n >= 0), made_by text not null);
     create table ${prefix}totals (item_key text primary key, events bigint not null, total bigint not null, last_n int not null)`,
  )
}

/** One query on a connection of its own, so that a server that was killed meanwhile does not matter. */
export async function ask<Row extends pg.QueryResultRow>(url: string, text: string, values?: unknown[]): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end().catch(() => undefined)
  }
}

interface SettingsChoice {
  readonly url: string
  readonly name?: string
  readonly events?: EventSettings
  readonly grid?: Partial<GridSettings>
  readonly synchronousCommit?: 'on' | 'off'
}

export function nodeSettings({ url, name = 'n1', events, grid, synchronousCommit = 'on' }: SettingsChoice): NodeSettings {
  return {
    node: { name, host: '127.0.0.1', port: 0 },
    events: events ?? { kind: 'postgres', fetchBytesMax: 1 << 20 },
    eventBytesMax,
    startAt: 'earliest',
    database: { url, poolMax: 8, statementTimeoutMs: 15_000, lockTimeoutMs: 5_000, synchronousCommit, resolvedLettersKeptMs: 3_600_000 },
    grid: {
      mode: 'local',
      clusterName: 'none',
      members: [],
      secret: 'a secret of the test',
      queues: 2,
      capacity: 144,
      segmentBytesMax,
      lingerMs: 5,
      backups: 0,
      memberHeapMb: 1_024,
      beatMs: 200,
      leaseMs: 1_000,
      member: undefined,
      ...grid,
    },
    tasks: {},
    tasksOnly: undefined,
    logLevel: 'silent',
  }
}

export interface LiveNode extends AsyncDisposable {
  readonly url: string
  /** Settles with what the node ended with: undefined after a clean stop. Never rejects. */
  readonly ended: Promise<unknown>
  status(): Promise<NodeStatus>
  /** Stops the node and throws what it ended with. */
  stop(): Promise<void>
}

/** Throws what keeps the node from running. */
export async function startNode(pipeline: Pipeline, choice: SettingsChoice): Promise<LiveNode> {
  const stopping = new AbortController()
  let tell: (url: string) => void = () => undefined
  const running = new Promise<string>((resolve) => (tell = resolve))
  const done = runNode({ settings: nodeSettings(choice), pipeline, fileHash: null, signal: stopping.signal, onRunning: tell })
  const ended = done.then(
    () => undefined,
    (error: unknown) => error,
  )
  const early = done.then(() => Promise.reject<string>(new Error('the node ended before it ran')))
  const url = await Promise.race([running, early])
  const end = () => (stopping.abort(), ended)
  return {
    url,
    ended,
    status: async () => (await (await fetch(`${url}/status`, { headers: { accept: 'application/json' } })).json()) as NodeStatus,
    stop: async () => {
      const error = await end()
      if (error !== undefined) throw error
    },
    [Symbol.asyncDispose]: async () => void (await end()),
  }
}

/** Of every event that a feed into Postgres publishes. */
export const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

export interface PublishedEvent {
  readonly partition: number
  readonly offset: bigint
  readonly value: Buffer
}

/** Publishes and remembers. */
export interface Feed extends AsyncDisposable {
  readonly events: readonly PublishedEvent[]
  publish(partition: number, values: readonly (string | Buffer)[]): Promise<void>
}

export interface PostgresFeed extends Feed {
  /** Forgets events beyond what the log keeps. */
  trim(): Promise<number>
}

export async function postgresFeed(
  url: string,
  topic: string,
  { partitions = 2, retentionEvents = 1_000_000 } = {},
): Promise<PostgresFeed> {
  const publisher = new PostgresEventPublisher({ url })
  await publisher.createTopic(topic, { partitions, retentionEvents })
  const events: PublishedEvent[] = []
  return {
    events,
    publish: async (partition, values) => {
      const buffers = values.map((value) => Buffer.from(value))
      const first = await publisher.publish(
        topic,
        partition,
        buffers.map((value) => ({ timestampMs: Date.now(), key: null, value, headers: { traceparent } })),
      )
      buffers.forEach((value, index) => events.push({ partition, offset: first + BigInt(index), value }))
    },
    trim: () => publisher.trim(topic),
    [Symbol.asyncDispose]: () => publisher[Symbol.asyncDispose](),
  }
}

export interface TestKafka {
  /** `host:port` of a broker that all test files share: it is not to be stopped, and each names topics of its own. */
  readonly address: string
  feed(topic: string, partitions?: number): Promise<Feed>
  events(clientId: string): EventSettings
  /** Deletes every event of the partition, as retention does. */
  expire(topic: string, partition: number): Promise<void>
}

export async function startTestKafka(): Promise<TestKafka> {
  const { address } = await sharedServer('kafka', async (dir) =>
    startKafka({ dir, jars: (await provisionJars(serversFolder)).kafka, heapMb: 512 }),
  )
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING })
  return {
    address,
    feed: (topic, partitions = 2) => kafkaFeed(kafka, topic, partitions),
    events: (clientId) => {
      const limits = { fetchBytesMax: 1 << 20, inflatedBytesMax: 1 << 20 }
      return { kind: 'kafka', brokers: [address], clientId, group: undefined, ...limits }
    },
    expire: async (topic, partition) => {
      const admin = kafka.admin()
      await admin.connect()
      // kafkajs deletes nothing of a topic it was not asked about before.
      await admin.fetchTopicOffsets(topic)
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: '-1' }] })
      await admin.disconnect()
    },
  }
}

async function kafkaFeed(kafka: Kafka, topic: string, partitions: number): Promise<Feed> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({
    topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '-1' }] }],
  })
  await admin.disconnect()
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  const events: PublishedEvent[] = []
  return {
    events,
    publish: async (partition, values) => {
      const buffers = values.map((value) => Buffer.from(value))
      const [told] = await producer.send({ topic, acks: -1, messages: buffers.map((value) => ({ partition, value })) })
      buffers.forEach((value, index) => events.push({ partition, offset: BigInt(told!.baseOffset!) + BigInt(index), value }))
    },
    [Symbol.asyncDispose]: () => producer.disconnect(),
  }
}

let nextN = 0

/** Values of `count` good items of one partition over seven keys that are its own; `n` rises over all of them. */
export function itemValues(partition: number, count: number, pad = ''): string[] {
  return Array.from({ length: count }, () =>
    JSON.stringify({ key: `p${partition} item${nextN % 7}`, n: nextN++, ...(pad === '' ? {} : { pad }) }),
  )
}

interface Expected {
  readonly items: string[]
  readonly totals: string[]
  readonly latest: ReadonlyMap<string, number>
  /** `partition/offset/task`, sorted. */
  readonly deadLetters: string[]
}

/** What must be in the tables once everything published is processed. */
export function expectedOf(events: readonly PublishedEvent[]): Expected {
  const items: string[] = []
  const deadLetters: string[] = []
  const sums = new Map<string, { events: number; total: number; lastN: number }>()
  // Several publishers may have been told their offsets in another order.
  for (const { partition, offset, value } of events.toSorted((a, b) => a.partition - b.partition || Number(a.offset - b.offset))) {
    const item = goodItem(value)
    if (item === undefined) {
      deadLetters.push(`${partition}/${offset}/null`)
      continue
    }
    if (item.mode === 'bad convert' || item.n < 0) deadLetters.push(`${partition}/${offset}/item`)
    else items.push(`${partition}/${offset}/${item.key}/${item.n}`)
    const sum = sums.get(item.key) ?? { events: 0, total: 0, lastN: 0 }
    sums.set(item.key, { events: sum.events + 1, total: sum.total + item.n, lastN: item.n })
  }
  const totals = [...sums].map(([key, sum]) => `${key}/${sum.events}/${sum.total}/${sum.lastN}`)
  return { items, totals, latest: new Map([...sums].map(([key, { lastN }]) => [key, lastN])), deadLetters: deadLetters.toSorted() }
}

function goodItem(value: Buffer): { key: string; n: number; mode?: string } | undefined {
  if (value.length > eventBytesMax) return undefined
  try {
    const item = JSON.parse(value.toString()) as { key: unknown; n: unknown; mode?: unknown } | null
    const isGood = item !== null && typeof item.key === 'string' && Number.isInteger(item.n) && item.mode !== 'bad key'
    return isGood ? (item as { key: string; n: number; mode?: string }) : undefined
  } catch {
    return undefined
  }
}

/** Waits until the floor of each partition stands at the last event published to it. */
export async function floorsReachEnd(
  url: string,
  events: readonly PublishedEvent[],
  { pipeline = 'items', timeMs = 30_000 } = {},
): Promise<void> {
  const ends = new Map<number, bigint>()
  for (const { partition, offset } of events) if (offset > (ends.get(partition) ?? -1n)) ends.set(partition, offset)
  let found = ''
  const areThere = async () => {
    const rows = await ask<{ partition: number; floor: string }>(url, 'select partition, floor from forebay.floors where pipeline = $1', [
      pipeline,
    ]).catch(() => [])
    const floors = new Map(rows.map(({ partition, floor }) => [partition, BigInt(floor)]))
    found = [...floors].map((entry) => entry.join(':')).join(' ')
    return [...ends].every(([partition, end]) => floors.get(partition) === end)
  }
  const wanted = [...ends].map((entry) => entry.join(':')).join(' ')
  await eventually('floors at the end', areThere, timeMs).catch(() => {
    throw new Error(`after ${timeMs} ms the floors are ${found}, not ${wanted}`)
  })
}

interface Difference {
  readonly missing: readonly string[]
  readonly extra: readonly string[]
  readonly outOfOrder: readonly string[]
}

export const noDifference: Difference = { missing: [], extra: [], outOfOrder: [] }

/** How the tables differ from what the events call for; the first few of each kind. */
export async function differenceOf(url: string, events: readonly PublishedEvent[], prefix = ''): Promise<Difference> {
  const expected = expectedOf(events)
  const items = await ask<{ source_partition: number; source_offset: string; item_key: string; n: number }>(
    url,
    `select * from ${prefix}items order by seq`,
  )
  const totals = await ask<{ item_key: string; events: string; total: string; last_n: number }>(url, `select * from ${prefix}totals`)
  const foundItems = items.map((row) => `${row.source_partition}/${row.source_offset}/${row.item_key}/${row.n}`)
  const foundTotals = totals.map((row) => `${row.item_key}/${row.events}/${row.total}/${row.last_n}`)
  const last = new Map<string, bigint>()
  const outOfOrder: string[] = []
  for (const { source_partition, source_offset, item_key } of items) {
    const before = last.get(`${source_partition}/${item_key}`) ?? -1n
    if (BigInt(source_offset) <= before) outOfOrder.push(`${source_partition}/${source_offset}/${item_key} after ${before}`)
    last.set(`${source_partition}/${item_key}`, BigInt(source_offset))
  }
  const wanted = [...expected.items, ...expected.totals]
  const found = [...foundItems, ...foundTotals]
  return { missing: without(wanted, found).slice(0, 10), extra: without(found, wanted).slice(0, 10), outOfOrder: outOfOrder.slice(0, 10) }
}

/** What of `list` is not in `other`, each occurrence counted. */
function without(list: readonly string[], other: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const entry of other) counts.set(entry, (counts.get(entry) ?? 0) + 1)
  return list.filter((entry) => {
    const count = counts.get(entry) ?? 0
    counts.set(entry, count - 1)
    return count <= 0
  })
}

/** A client of a node's channel `latest`: keeps the latest value it was shown of each key. */
export async function watchLatest(nodeUrl: string): Promise<{ readonly shown: ReadonlyMap<string, number>; close(): void }> {
  const shown = new Map<string, number>()
  const socket = new WebSocket(`${nodeUrl.replace('http', 'ws')}/ws/latest`)
  socket.on('message', (data: Buffer) => {
    const { values } = JSON.parse(data.toString()) as { values: { key: string; value: { n: number } }[] }
    for (const { key, value } of values) shown.set(key, value.n)
  })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  return { shown, close: () => socket.close() }
}
