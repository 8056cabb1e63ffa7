/**
 * A database that cannot take what comes: throttled to a tenth of the rate of events for half a minute, then dead for half a minute,
 * both with the windows of the queues full. Real trades at a real rate through two node processes on real Kafka, Hazelcast and
 * Postgres; the nodes reach Postgres through a relay that limits bytes. Meanwhile the memory of the node processes is sampled.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { feed } from '../../src/launch/feed.ts'
import { KafkaFeedTarget, createFeedTopic } from '../../src/launch/kafka-feed-target.ts'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { LaunchedNodes } from '../../src/launch/launched-nodes.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import type { LaunchOptions } from '../../src/launch/options.ts'
import { packageRoot, serversFolder } from '../../src/launch/package-root.ts'
import { type PostgresHandle, discardPostgres, startPostgres } from '../../src/launch/postgres-server.ts'
import type { ServerHandle } from '../../src/launch/server.ts'
import { makeState, stateFolder } from '../../src/launch/state-folder.ts'
import { readTradeFile } from '../../src/launch/trade-file.ts'
import { ask } from '../support/live-node.ts'
import { ThrottledProxy } from '../support/throttled-proxy.ts'
import { checkTrades, readKafkaEvents } from '../support/trade-checker.ts'
import { tradeFeed } from '../support/trade-feed.ts'

const eventsPerSecond = 5_000
/** Longer than a statement may take (30 s). */
const overloadMs = 35_000
/** Windows of 20 segments, which every partition fills soon, whatever the size of its segments. */
const capacity = 56
const rssBytesMax = 400 * 1024 * 1024

const dir = mkdtempSync(join(tmpdir(), 'forebay-overload-'))
const state = stateFolder(dir, 'cluster')
const postgresDir = join(state.dir, 'postgres')
const { file, events } = tradeFeed(dir, 400_000)
const told: string[] = []
let restarts = 0
let postgres: PostgresHandle
let kafka: ServerHandle
let proxy: ThrottledProxy
let nodes: LaunchedNodes

beforeAll(async () => {
  makeState(state)
  const jars = await provisionJars(serversFolder)
  postgres = await startPostgres({ dir: postgresDir })
  await ask(postgres.url, readFileSync(join(packageRoot, 'examples', 'stock-ticks', 'schema.sql'), 'utf8'))
  kafka = await startKafka({ dir: join(state.dir, 'kafka'), jars: jars.kafka, heapMb: 384 })
  await createFeedTopic([kafka.address])
  proxy = await ThrottledProxy.start(portOf(postgres.url))
  const options = { mode: 'cluster', nodes: 2, tasks: undefined } as LaunchOptions
  const databaseUrl = withPort(postgres.url, proxy.port)
  const common = { log: (line: string) => told.push(line), onRestart: () => void restarts++ }
  nodes = await LaunchedNodes.start({
    options,
    state,
    databaseUrl,
    brokers: [kafka.address],
    hazelcastJars: jars.hazelcast,
    capacity,
    ...common,
  })
})
afterAll(async () => {
  // Nodes drain into the database.
  proxy?.limit(Number.POSITIVE_INFINITY)
  await nodes?.stop()
  await proxy?.[Symbol.asyncDispose]()
  await kafka?.stop()
  await postgres?.stop()
  discardPostgres(postgresDir)
  rmSync(dir, { recursive: true, force: true })
})

test('a database ten times too slow for half a minute, and dead as long, costs no memory and no event', { timeout: 420_000 }, async () => {
  const stop = new AbortController()
  const memory = new MemorySamples()
  const sampling = memory.run(stop.signal)
  const target = new KafkaFeedTarget([kafka.address])
  const lines = readTradeFile(file)
  const feeding = feed({ lines, target, pace: { kind: 'rate', perSecond: eventsPerSecond } }, stop.signal)
  try {
    await until('the nodes keep up', 60_000, async () => (await rows()) > 3 * eventsPerSecond)
    const bytesPerSecond = await usualBytesPerSecond()

    // A tenth of what the same rate of events took a moment ago.
    proxy.limit(bytesPerSecond / 10)
    await until('the windows are full', 60_000, windowsAreFull)
    const slowBefore = { rows: await rows(), waits: await windowFullCount(), ms: performance.now() }
    await sleep(overloadMs)
    const slowRows = (await rows()) - slowBefore.rows
    const slowEvents = ((performance.now() - slowBefore.ms) / 1000) * eventsPerSecond
    expect(slowRows, 'a slow database still takes rows').toBeGreaterThan(0)
    expect(slowRows).toBeLessThan(slowEvents / 4)
    expect(await windowFullCount()).toBeGreaterThan(slowBefore.waits)
    expect(await windowsAreFull()).toBe(true)
    proxy.limit(Number.POSITIVE_INFINITY)
    const free = await rows()
    await until('it goes on at once', 20_000, async () => (await rows()) > free + eventsPerSecond)

    postgres.kill('SIGKILL')
    await postgres.exited
    await until('the windows are full', 60_000, windowsAreFull)
    const positions = await restingPositions()
    await sleep(overloadMs)
    expect(await positionsOf(), 'reading has stopped: the log is the spill').toEqual(positions)
    expect(await windowsAreFull()).toBe(true)
    postgres = await startPostgres({ dir: postgresDir, port: portOf(postgres.url) })

    expect((await feeding).published).toBe(events)
    await until('everything is applied', 120_000, async () => (await rows()) >= events && (await lag()) === 0)
  } finally {
    stop.abort()
    await Promise.all([sampling, feeding.catch(() => undefined), target[Symbol.asyncDispose]()])
  }
  expect(await checkTrades(postgres.url, await readKafkaEvents([kafka.address]))).toMatchObject({
    events,
    rows: events,
    missing: 0,
    extra: 0,
    wrongCandles: 0,
    examples: [],
  })
  expect(restarts, told.join('\n')).toBe(0)
  memory.tell()
  expect(memory.samples).toBeGreaterThan(150)
  expect(Math.max(...memory.rssBytes.values())).toBeLessThanOrEqual(rssBytesMax)
  for (const [node, { bytes, bytesMax }] of memory.buffers) expect(bytes, `buffers of ${node}`).toBeLessThanOrEqual(bytesMax)
  for (const name of ['node-1', 'node-2']) {
    const log = readFileSync(join(state.dir, `${name}.log`), 'utf8')
    expect(log).toMatch(/reading of .* waits/)
    expect(log).toMatch(/reading .* goes on/)
  }
})

/** The peaks of what the node processes hold. */
class MemorySamples {
  readonly rssBytes = new Map<string, number>()
  readonly buffers = new Map<string, { bytes: number; bytesMax: number }>()
  samples = 0

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const { name, pid } of nodes.handles) this.rssBytes.set(name, Math.max(rssOf(pid), this.rssBytes.get(name) ?? 0))
      for (const { node, buffers } of await nodes.statuses()) {
        const peak = this.buffers.get(node)?.bytes ?? 0
        if (buffers !== undefined && buffers.bytes >= peak) this.buffers.set(node, buffers)
      }
      this.samples++
      await sleep(250, undefined, { signal }).catch(() => undefined)
    }
  }

  tell(): void {
    const mebibytes = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`
    for (const [node, bytes] of this.rssBytes) process.stderr.write(`${node}: at most ${mebibytes(bytes)} resident\n`)
    for (const [node, { bytes, bytesMax }] of this.buffers) {
      process.stderr.write(`${node}: at most ${mebibytes(bytes)} of ${mebibytes(bytesMax)} in buffers\n`)
    }
  }
}

function rssOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1]) * 1024
}

async function rows(): Promise<number> {
  return Number((await ask<{ n: string }>(postgres.url, 'select count(*) as n from trades'))[0]!.n)
}

/** Events of the log above the floors. */
async function lag(): Promise<number> {
  const partitions = (await nodes.statuses()).flatMap((status) => status.partitions)
  return partitions.length < 4 ? Number.NaN : partitions.reduce((sum, { lagEvents }) => sum + (lagEvents ?? Number.NaN), 0)
}

async function usualBytesPerSecond(): Promise<number> {
  const before = proxy.passedBytes
  const beforeMs = performance.now()
  await sleep(4_000)
  return ((proxy.passedBytes - before) * 1000) / (performance.now() - beforeMs)
}

/** One full window stops the reading of its whole partition. */
async function windowsAreFull(): Promise<boolean> {
  const partitions = (await nodes.statuses()).flatMap((status) => status.partitions)
  const isFull = partitions.map(({ outboxes }) =>
    outboxes.some(({ windowSegments, windowSegmentsMax }) => windowSegments >= windowSegmentsMax),
  )
  return partitions.length === 4 && isFull.every(Boolean)
}

async function windowFullCount(): Promise<number> {
  return (await nodes.statuses()).reduce((sum, { counters }) => sum + counters.windowFull, 0)
}

async function positionsOf(): Promise<string[]> {
  const partitions = (await nodes.statuses()).flatMap((status) => status.partitions)
  return partitions.map(({ partition, position }) => `${partition}:${position}`).toSorted()
}

/** Positions once they stand still: what the database had applied when it died still opens windows for a moment. */
async function restingPositions(): Promise<string[]> {
  let positions = await positionsOf()
  await until('reading stops', 30_000, async () => {
    const before = positions
    await sleep(3_000)
    positions = await positionsOf()
    return positions.join() === before.join()
  })
  return positions
}

async function until(what: string, waitMs: number, isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + waitMs
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`not within ${waitMs} ms: ${what}`)
    await sleep(200)
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port)
}

function withPort(url: string, port: number): string {
  const changed = new URL(url)
  changed.port = String(port)
  return changed.href
}
