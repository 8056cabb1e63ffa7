/** What the contenders of the benchmark share: servers, the topic with its trades, empty tables, and the form of a result. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import pg from 'pg'
import { feed } from '../../src/launch/feed.ts'
import { KafkaFeedTarget, createFeedTopic } from '../../src/launch/kafka-feed-target.ts'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { lockFolder } from '../../src/launch/launcher-lock.ts'
import { readMarket } from '../../src/launch/market.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { discardPostgres, startPostgres } from '../../src/launch/postgres-server.ts'
import { startWatchdog } from '../../src/launch/start-watchdog.ts'
import { readTradeFile } from '../../src/launch/trade-file.ts'

const root = resolve(import.meta.dirname, '../..')
const recorded = resolve(root, '../shared/data/trades-2013-10-08.csv.gz')

/** Handed to each contender's process as JSON. */
export interface BenchInput {
  readonly url: string
  readonly brokers: readonly string[]
  readonly hazelcastJars: string
  readonly dir: string
  /** Fill `candles` and push prices too. */
  readonly isWhole: boolean
  /** Finish after so many trades. */
  readonly events: number
  /** Trades before the latency is measured: code is compiled and connections are made meanwhile. */
  readonly warmUp: number
  /** Unique for the run. */
  readonly run: string
}

/** The first line a contender prints: from now on it reads. */
export const readyLine = 'ready'

export interface BenchResult {
  /** From the first event polled to the last row committed. */
  readonly seconds: number
  /** From the record's time to the committed row, in ms; meaningful when the feed is paced. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly p99_9: number } | null
  readonly tickSlipMs: { readonly p99: number } | null
  readonly rssMb: number
}

export interface Bench extends AsyncDisposable {
  readonly input: Omit<BenchInput, 'isWhole' | 'run' | 'warmUp'>
  /** Publishes `events` trades at `perSecond`, or as fast as it goes, until `signal` aborts. */
  publish(events: number, perSecond: number | undefined, signal?: AbortSignal): Promise<void>
  /** Empties the tables and forgets every ledger. */
  clean(): Promise<void>
}

export async function openBench(events: number): Promise<Bench> {
  const dir = mkdtempSync(join(tmpdir(), 'forebay-bench-'))
  const pids = join(dir, 'pids')
  const unlock = lockFolder(dir)
  // Ends the servers when this process is killed.
  const watchdog = startWatchdog(dir, pids)
  const jars = await provisionJars(join(root, '.servers'))
  const postgres = await startPostgres({ dir: join(dir, 'postgres'), pids })
  const kafka = await startKafka({ dir: join(dir, 'kafka'), jars: jars.kafka, pids })
  const brokers = [kafka.address]
  await createFeedTopic(brokers)
  const clean = async () => {
    const client = new pg.Client(postgres.url)
    await client.connect()
    await client.query(
      `drop schema if exists forebay cascade; drop table if exists trades, candles, direct_offsets; ${readFileSync(join(root, 'examples/stock-ticks/schema.sql'), 'utf8')}`,
    )
    await client.query('checkpoint')
    await client.end()
  }
  return {
    input: { url: postgres.url, brokers, hazelcastJars: jars.hazelcast, dir, events },
    clean,
    async publish(count, perSecond, signal = new AbortController().signal) {
      await using target = new KafkaFeedTarget(brokers)
      const lines = existsSync(recorded) ? readTradeFile(recorded) : readMarket({}, { days: 1 })
      const pace = perSecond === undefined ? ({ kind: 'max' } as const) : ({ kind: 'rate', perSecond } as const)
      await feed({ lines: firstOf(lines, count), target, pace }, signal)
    },
    async [Symbol.asyncDispose]() {
      await kafka.stop()
      await postgres.stop()
      await watchdog.end()
      unlock()
      discardPostgres(join(dir, 'postgres'))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function* firstOf<T>(arrays: AsyncIterable<readonly T[]> | Iterable<readonly T[]>, count: number): AsyncGenerator<readonly T[]> {
  let left = count
  for await (const array of arrays) {
    yield array.slice(0, left)
    left -= array.length
    if (left <= 0) return
  }
}
