import { randomUUID } from 'node:crypto'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTimeOf } from '../../src/grid/pid-file.ts'
import { feed } from '../../src/launch/feed.ts'
import type { FeedTarget } from '../../src/launch/feed-target.ts'
import { createFeedTopic, KafkaFeedTarget } from '../../src/launch/kafka-feed-target.ts'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { readMarket } from '../../src/launch/market.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { packageRoot, serversFolder } from '../../src/launch/package-root.ts'
import { recordedProcesses } from '../../src/launch/pid-folder.ts'
import { PostgresFeedTarget } from '../../src/launch/postgres-feed-target.ts'
import { discardPostgres, type PostgresHandle, startPostgres } from '../../src/launch/postgres-server.ts'
import type { ServerHandle } from '../../src/launch/server.ts'
import { KafkaEventLog } from '../../src/events/kafka-event-log.ts'
import { PostgresEventLog } from '../../src/events/postgres-event-log.ts'
import type { EventLog } from '../../src/events/event-log.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay servers '))
const postgresDirs: string[] = []
afterAll(() => {
  for (const postgresDir of postgresDirs) discardPostgres(postgresDir)
  rmSync(dir, { recursive: true, force: true })
})

const portOf = ({ address }: ServerHandle) => Number(address.split(':')[1])

async function query(url: string, text: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await client.query<{ answer: string }>(text)
    return String(rows[0]?.answer)
  } finally {
    await client.end()
  }
}

describe('PostgreSQL from npm packages', () => {
  const start = (name: string, port?: number) => {
    const postgresDir = join(dir, name)
    if (!postgresDirs.includes(postgresDir)) postgresDirs.push(postgresDir)
    return startPostgres({ dir: postgresDir, name, port, pids: join(dir, 'pids') })
  }

  it('runs two side by side, below a folder that only its owner may enter, with spaces in the path', async () => {
    const servers = await Promise.all([start('postgres one'), start('postgres two')])
    try {
      const ids = await Promise.all(
        servers.map(({ url }) => query(url, 'select system_identifier::text as answer from pg_control_system()')),
      )
      expect(ids[0]).not.toBe(ids[1])
      expect(recordedProcesses(join(dir, 'pids')).map(({ pid }) => pid)).toContain(servers[1]!.pid)
      expect(statSync(join(dir, 'postgres one', 'password')).mode & 0o777).toBe(0o600)
      const wrong = servers[0]!.url.replace(/:[^:@]+@/, ':guess@')
      await expect(query(wrong, 'select 1 as answer')).rejects.toThrow(/password/)
    } finally {
      await Promise.all(servers.map((server) => server.stop()))
    }
  })

  it('comes back at its port with what was committed when it is killed, and when it was stopped', async () => {
    const first = await start('postgres killed')
    await query(first.url, `create table t as select 'kept' as answer`)
    first.kill()
    await first.exited
    const second = await start('postgres killed', portOf(first))
    expect(second.url).toBe(first.url)
    expect(await query(second.url, 'select answer from t')).toBe('kept')
    await second.stop()
    const third = await start('postgres killed')
    expect(third.url).toBe(first.url)
    expect(await query(third.url, 'select answer from t')).toBe('kept')
    await third.stop()
  })
})

/** Every event of the topic by partition, as the event log port gives them: order of offsets. */
async function readAll(log: EventLog, partitions: number): Promise<string[][]> {
  const found: string[][] = []
  for (let partition = 0; partition < partitions; partition++) {
    const { startOffset, endOffset } = await log.range(partition)
    const cursor = await log.open(partition, startOffset)
    const events: string[] = []
    for (let last = startOffset - 1n; last < endOffset - 1n;) {
      const batch = await cursor.poll(2000)
      for (const { key, value } of batch.events) events.push(`${String(key)} ${String(value)}`)
      last = batch.lastOffset
    }
    await cursor.close()
    found.push(events)
  }
  return found
}

const market = { seed: 3, eventsPerDay: 60_000 }

/** Checks that every line is there once, in order, in the partition of its symbol. */
function expectWhole(found: readonly (readonly string[])[]): void {
  const lines = [...readMarket(market, { days: 1 })].flat()
  const order = [...new Set(lines.map(({ symbol }) => symbol))]
  for (const [partition, events] of found.entries()) {
    const expected = lines
      .filter(({ symbol }) => order.indexOf(symbol) % found.length === partition)
      .map(({ symbol, json }) => `${symbol} ${json}`)
    expect(events.length).toBe(expected.length)
    expect(events.findIndex((event, n) => event !== expected[n])).toBe(-1)
  }
}

/** Feeds the market while `disturb` is called after a fifth, two fifths … of it; then continues the finished feed once more. */
async function feedDisturbed(open: () => FeedTarget, disturb: (turn: number) => Promise<void>): Promise<void> {
  const never = new AbortController().signal
  let turn = 0
  let disturbing = Promise.resolve()
  const onProgress = (published: number) => {
    if (published < ((turn + 1) * market.eventsPerDay) / 5 || turn >= 3) return
    const now = turn++
    disturbing = disturbing.then(() => disturb(now))
  }
  {
    await using target = open()
    const result = await feed(
      { lines: readMarket(market, { days: 1 }), target, pace: { kind: 'rate', perSecond: 12_000 }, onProgress, onTrouble: () => undefined },
      never,
    )
    expect(result).toEqual({ published: market.eventsPerDay, known: 0 })
  }
  await disturbing
  expect(turn).toBe(3)
  await using again = open()
  expect(await feed({ lines: readMarket(market, { days: 1 }), target: again, pace: { kind: 'max' } }, never)).toEqual({
    published: 0,
    known: market.eventsPerDay,
  })
}

describe('a feed into Kafka', () => {
  let jars: string
  let kafka: ServerHandle
  const start = (port?: number) => startKafka({ dir: join(dir, 'kafka broker'), jars, port, heapMb: 384 })
  beforeAll(async () => {
    jars = (await provisionJars(serversFolder)).kafka
    kafka = await start()
    await createFeedTopic([kafka.address])
  })
  afterAll(() => kafka.stop())

  it('publishes every line once and in order while the broker is killed three times', async () => {
    const brokers = [kafka.address]
    await feedDisturbed(
      () => new KafkaFeedTarget(brokers),
      async () => {
        kafka.kill()
        await kafka.exited
        kafka = await start(portOf(kafka))
        expect([kafka.address]).toEqual(brokers)
      },
    )
    await using log = new KafkaEventLog({ brokers, clientId: 'test', topic: 'trades', pipelineGroup: 'test' })
    expectWhole(await readAll(log, 4))
  }, 180_000)
})

describe('a feed into the event log in Postgres', () => {
  it('publishes every line once and in order while the database is killed', async () => {
    const postgresDir = join(dir, 'postgres fed')
    postgresDirs.push(postgresDir)
    let postgres: PostgresHandle = await startPostgres({ dir: postgresDir })
    try {
      const { url } = postgres
      await using setup = new PostgresFeedTarget(url)
      await setup.createTopic(1_000_000)
      await feedDisturbed(
        () => new PostgresFeedTarget(url),
        async () => {
          postgres.kill()
          await postgres.exited
          postgres = await startPostgres({ dir: postgresDir, port: portOf(postgres) })
        },
      )
      await using log = new PostgresEventLog({ url, topic: 'trades', pipelineGroup: 'test' })
      expectWhole(await readAll(log, 4))
    } finally {
      await postgres.stop()
    }
  }, 180_000)
})

describe('the watchdog', () => {
  it('ends the database of a launcher that was killed', async () => {
    const state = join(dir, `state ${randomUUID()}`)
    postgresDirs.push(join(state, 'postgres'))
    const module = (name: string) => JSON.stringify(pathToFileURL(join(packageRoot, 'src', 'launch', `${name}.ts`)).href)
    const script = `
      const { lockFolder } = await import(${module('launcher-lock')})
      const { startWatchdog } = await import(${module('start-watchdog')})
      const { startPostgres } = await import(${module('postgres-server')})
      lockFolder(${JSON.stringify(state)})
      startWatchdog(${JSON.stringify(state)}, ${JSON.stringify(join(state, 'pids'))})
      const server = await startPostgres({ dir: ${JSON.stringify(join(state, 'postgres'))}, pids: ${JSON.stringify(join(state, 'pids'))} })
      console.log(server.pid)`
    const launcher = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: packageRoot,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const pid = await new Promise<number>((resolve) => launcher.stdout.once('data', (data: Buffer) => resolve(Number(data.toString()))))
    const startTime = startTimeOf(pid)
    expect(startTime).toBeDefined()
    launcher.kill('SIGKILL')
    const killedMs = Date.now()
    while (startTimeOf(pid) === startTime) {
      expect(Date.now() - killedMs).toBeLessThan(30_000)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(Date.now() - killedMs).toBeGreaterThan(8000)
    const log = join(state, 'postgres', 'postgres.log')
    expect(existsSync(log) && readFileSync(log, 'utf8')).not.toMatch(/PANIC/)
  }, 60_000)
})
