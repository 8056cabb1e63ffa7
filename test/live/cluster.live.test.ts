/**
 * The main job on real Kafka, Hazelcast and Postgres, launched as a user launches it, with processes killed from outside.
 * The recorded day where it is at hand, else the seeded synthetic market.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka } from 'kafkajs'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { Launched } from '../support/launched.ts'
import { tradeFeed } from '../support/trade-feed.ts'
import { checkFeed, checkTrades, readKafkaEvents } from '../support/trade-checker.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay-trades-'))
const { file, events } = tradeFeed(dir)
afterAll(() => rmSync(dir, { recursive: true }))

/** All events are applied, the floors are at the ends, and the checker finds no difference. */
async function expectExact(launched: Launched): Promise<void> {
  const [broker] = launched.run.kafka!
  const kafka = new Kafka({ brokers: [broker!], clientId: 'test', logLevel: 0 })
  const admin = kafka.admin()
  await admin.connect()
  let ends: bigint[] = []
  await launched.until('every event is published and applied', 240_000, async () => {
    const offsets = await admin.fetchTopicOffsets('trades')
    ends = offsets.toSorted((a, b) => a.partition - b.partition).map(({ high }) => BigInt(high))
    if (ends.reduce((sum, end) => sum + end, 0n) < BigInt(events)) return false
    const row = await launched.query<{ floors: string[] }>('select array_agg(floor order by partition) as floors from forebay.floors')
    return row?.floors !== undefined && row.floors.every((floor, partition) => BigInt(floor) + 1n === ends[partition])
  })
  const log = await readKafkaEvents(launched.run.kafka!)
  expect(log.length, 'every line is published once').toBe(events)
  expect(checkFeed(file, log)).toEqual([])
  const result = await checkTrades(launched.run.postgres, log)
  expect(result).toMatchObject({ missing: 0, extra: 0, wrongCandles: 0, examples: [] })
  expect(result.rows).toBe(result.events)
  await launched.until('the committed offsets are at the ends', 15_000, async () => {
    const [topic] = await admin.fetchOffsets({ groupId: 'stock-ticks', topics: ['trades'] })
    return topic!.partitions.every(({ partition, offset }) => BigInt(offset) === ends[partition])
  })
  await admin.disconnect()
}

/** Rows are numbered from now on, in the order in which the database takes them. */
async function numberRows(launched: Launched): Promise<void> {
  const client = new pg.Client(launched.run.postgres)
  await client.connect()
  await client.query('alter table trades add column seq bigint generated always as identity')
  await client.end()
}

/** Rows of a symbol that came after one of a later event. */
async function outOfOrder(launched: Launched): Promise<number> {
  const row = await launched.query<{ n: string }>(
    'select count(*) as n from (select source_offset < lag(source_offset) over (partition by symbol order by seq) as is_back from trades) x where is_back',
  )
  return Number(row?.n ?? Number.NaN)
}

test('a drained run applies every event exactly once and prints its summary as the one line of stdout', { timeout: 300_000 }, async () => {
  const args = ['--nodes', '3', '--speed', 'max', '--feed', file]
  const launched = new Launched('cluster', [...args, '--drain'])
  expect(await launched.exited, launched.stderr.slice(-4000)).toBe(0)
  const lines = launched.stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(1)
  const summary = JSON.parse(lines[0]!) as Record<string, unknown>
  expect(summary).toEqual({
    events,
    jobs: { storeTrade: events, pushPrice: expect.any(Number), minuteCandle: events },
    rows: { storeTrade: events, minuteCandle: expect.any(Number) },
    seconds: expect.any(Number),
    eventsPerSecond: expect.any(Number),
    repairs: 0,
    deadLetters: 0,
    latencyMs: { p50: expect.any(Number), p99: expect.any(Number), p99_9: expect.any(Number) },
    tickSlipMs: { p99: expect.any(Number) },
  })
  expect(Number(summary['eventsPerSecond']) * Number(summary['seconds'])).toBeCloseTo(events, -4)
  // Started again in the same folder it goes on with its state, and publishes no line twice.
  await using again = new Launched('cluster', args, launched.dir)
  await again.running()
  await expectExact(again)
  const pids = again.run.processes.map(({ pid }) => pid)
  expect(await again.interrupt()).toBe(0)
  // Not later either: nothing of it is left, members and watchdogs included.
  expect(pids).toHaveLength(8)
  if (process.platform === 'linux') expect(pids.filter(runs)).toEqual([])
  expect(processesIn(again.dir)).toEqual([])
  expect(existsSync(again.runFile), 'the run file goes with the run').toBe(false)
})

/** Whether the process runs; what has ended may wait for its new parent to take note of it. */
function runs(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Command lines of processes that name the folder. */
function processesIn(folder: string): string[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc').flatMap((entry) => {
    try {
      const command = readFileSync(`/proc/${Number(entry)}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return command.includes(folder) ? [command] : []
    } catch {
      // No process, or one that ended meanwhile.
      return []
    }
  })
}

async function areReady(launched: Launched): Promise<boolean> {
  const answers = await Promise.allSettled(launched.run.http.map((url) => fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) })))
  return answers.every((answer) => answer.status === 'fulfilled' && answer.value.ok)
}

test(
  'nothing is lost, doubled or put out of order when a node, members, the broker and Postgres are killed in the middle',
  { timeout: 600_000 },
  async () => {
    // Slow enough that the feed lasts longer than all faults.
    await using launched = new Launched('cluster', ['--nodes', '3', '--rate', '6000', '--feed', file])
    await launched.running()
    expect(statSync(launched.runFile).mode & 0o777).toBe(0o600)
    await numberRows(launched)
    const kill = (role: string, ...indexes: number[]) => {
      const pids = launched.pids(role)
      for (const pid of indexes.length === 0 ? pids : indexes.map((index) => pids[index]!)) process.kill(pid, 'SIGKILL')
    }
    const stillRuns = async () => expect(await launched.rows(), 'in the middle of the run').toBeLessThan(events * 0.95)
    await launched.until('rows come', 240_000, async () => (await launched.rows()) >= 10_000)
    kill('node', 0)
    await sleep(4000)
    kill('member', 1)
    await sleep(8000)
    kill('kafka')
    await sleep(8000)
    await stillRuns()
    kill('postgres')
    await sleep(8000)
    // Entries of a ring and their only backup.
    kill('member', 0, 1)
    await sleep(8000)
    await stillRuns()
    kill('member')
    await sleep(10_000)
    // The launcher starts a node again when it was started in the middle of the outage and gave up.
    await launched.until('every node is ready', 120_000, () => areReady(launched))
    const [paused] = launched.pids('node')
    process.kill(paused!, 'SIGSTOP')
    await sleep(20_000)
    process.kill(paused!, 'SIGCONT')
    await stillRuns()
    await expectExact(launched)
    expect(await outOfOrder(launched)).toBe(0)
    expect(await launched.interrupt()).toBe(0)
  },
)

test('the queues and partitions of a killed node are taken over within 3 seconds', { timeout: 300_000 }, async () => {
  await using launched = new Launched('cluster', ['--nodes', '3', '--rate', '2000', '--feed', file])
  await launched.running()
  const client = new pg.Client(launched.run.postgres)
  client.on('error', () => undefined)
  await client.connect()
  const watermarks = async () => {
    const { rows } = await client.query<{ queue: string; applied: string }>(
      `select partition || '.' || queue as queue, applied from forebay.watermarks where task = 'storeTrade'`,
    )
    return new Map(rows.map(({ queue, applied }) => [queue, BigInt(applied)]))
  }
  await launched.until('every node flushes', 60_000, async () => (await launched.rows()) > 10_000)
  let steady = new Map<string, bigint>()
  for (let tries = 0; steady.size === 0 && tries < 8; tries++) {
    steady = await watermarks()
    for (let sample = 0, last = steady; sample < 6; sample++) {
      await sleep(500)
      const now = await watermarks()
      steady = new Map([...steady].filter(([queue]) => now.get(queue)! > last.get(queue)!))
      last = now
    }
  }
  expect(steady.size).toBeGreaterThan(0)
  // The node that reads a queue with a steady flow of jobs: its silence can be told from a lack of events.
  const reads = await Promise.all(
    launched.run.http.map(async (url) => {
      const { queues } = (await (await fetch(`${url}/status`)).json()) as { queues: { partition: number; queue: number }[] }
      return queues.some(({ partition, queue }) => steady.has(`${partition}.${queue}`))
    }),
  )
  process.kill(launched.pids('node')[reads.indexOf(true)]!, 'SIGKILL')
  const killedMs = performance.now()
  // What the dead node had sent to the database before it died may still commit.
  await sleep(50)
  const atDeath = await watermarks()
  const waiting = new Set(steady.keys())
  while (waiting.size > 0 && performance.now() - killedMs < 20_000) {
    for (const [queue, applied] of await watermarks()) if (applied > atDeath.get(queue)!) waiting.delete(queue)
    if (waiting.size > 0) await sleep(20)
  }
  const tookMs = performance.now() - killedMs
  await client.end()
  expect(tookMs).toBeLessThan(3000)

  const pids = launched.run.processes.map(({ pid }) => pid)
  const { pid: launcher } = JSON.parse(readFileSync(join(launched.dir, '.forebay', 'launcher.json'), 'utf8')) as { pid: number }
  process.kill(launcher, 'SIGKILL')
  const deadline = Date.now() + 40_000
  while (pids.some(isAlive) && Date.now() < deadline) await sleep(200)
  expect(pids.filter(isAlive), 'servers end by themselves when their launcher was killed').toEqual([])
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
