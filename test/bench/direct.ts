/**
 * The contender without a grid: kafkajs eachBatch, and for each batch one transaction with COPY, the merged candles and the
 * offset. Written as well as a good engineer would: four partitions at once, 4 MiB a fetch, validated events, no await that
 * is not needed.
 */
import { Kafka, logLevel } from 'kafkajs'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import * as z from 'zod'
import { Histogram } from '../../src/status/histogram.ts'
import { readyLine } from './setting.ts'
import type { BenchInput, BenchResult } from './setting.ts'

const input = JSON.parse(process.argv[2]!) as BenchInput
const schema = z.object({
  ms_since_midnight: z.int().min(0),
  symbol: z.string().min(1),
  price_e4: z.int().min(0),
  size: z.int().min(0),
  exchange: z.string(),
  conditions: z.string(),
  suspicious: z.boolean(),
})
type Candle = [symbol: string, minute: number, open: number, high: number, low: number, close: number, volume: number, trades: number]

const pool = new pg.Pool({ connectionString: input.url, max: 4 })
await pool.query('create table direct_offsets (partition int primary key, next_offset bigint not null)')
const kafka = new Kafka({ brokers: [...input.brokers], logLevel: logLevel.NOTHING })
const consumer = kafka.consumer({ groupId: `direct-${input.run}`, maxBytesPerPartition: 4 << 20, maxBytes: 64 << 20, maxWaitTimeInMs: 50 })
consumer.on(consumer.events.GROUP_JOIN, () => console.log(readyLine))
await consumer.connect()
await consumer.subscribe({ topic: 'trades', fromBeginning: true })
const latency = new Histogram()
let startedMs: number | undefined
let rows = 0
const finished = deferred()

await consumer.run({
  autoCommit: false,
  partitionsConsumedConcurrently: 4,
  eachBatch: async ({ batch, resolveOffset }) => {
    startedMs ??= performance.now()
    const { partition, messages } = batch
    let text = ''
    const candles = new Map<string, Candle>()
    for (const { offset, value } of messages) {
      const trade = schema.parse(JSON.parse(value!.toString()))
      const { ms_since_midnight: ms, symbol, price_e4: price, size, exchange, conditions, suspicious } = trade
      text += `${partition}\t${offset}\t${ms}\t${escaped(symbol)}\t${price}\t${size}\t${escaped(exchange)}\t${escaped(conditions)}\t${suspicious ? 't' : 'f'}\n`
      if (input.isWhole) merge(candles, symbol, Math.floor(ms / 60_000), price, size)
    }
    const client = await pool.connect()
    try {
      await client.query('begin')
      await client.query({
        name: 'offset',
        text: 'insert into direct_offsets values ($1, $2) on conflict (partition) do update set next_offset = excluded.next_offset',
        values: [partition, String(BigInt(batch.lastOffset()) + 1n)],
      })
      await new Promise<void>((resolve, reject) => {
        const copy = client.query(copyFrom('copy trades from stdin'))
        copy.on('finish', resolve).on('error', reject)
        copy.end(text)
      })
      if (candles.size > 0) await upsert(client, [...candles.values()])
      await client.query('commit')
    } finally {
      client.release()
    }
    const now = Date.now()
    if (rows >= input.warmUp) for (const { timestamp } of messages) latency.record(Math.max(0, now - Number(timestamp)), 1)
    resolveOffset(batch.lastOffset())
    rows += messages.length
    if (rows >= input.events) finished.resolve()
  },
})
await finished.promise
const result: BenchResult = {
  seconds: (performance.now() - startedMs!) / 1000,
  latencyMs: { p50: latency.percentile(50) ?? 0, p99: latency.percentile(99) ?? 0, p99_9: latency.percentile(99.9) ?? 0 },
  tickSlipMs: null,
  rssMb: process.memoryUsage().rss / 2 ** 20,
}
console.log(JSON.stringify(result))
await consumer.disconnect()
await pool.end()

function escaped(text: string): string {
  return /[\\\t\n\r]/.test(text) ? text.replace(/[\\\t\n\r]/g, (char) => `\\${char}`) : text
}

function merge(candles: Map<string, Candle>, symbol: string, minute: number, price: number, size: number): void {
  const key = `${symbol}\t${minute}`
  const candle = candles.get(key)
  if (candle === undefined) {
    candles.set(key, [symbol, minute, price, price, price, price, size, 1])
    return
  }
  if (price > candle[3]) candle[3] = price
  if (price < candle[4]) candle[4] = price
  candle[5] = price
  candle[6] += size
  candle[7]++
}

async function upsert(client: pg.PoolClient, rows: readonly Candle[]): Promise<void> {
  await client.query({
    name: 'candles',
    text: `insert into candles as c select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
      on conflict (symbol, minute) do update set high_e4 = greatest(c.high_e4, excluded.high_e4), low_e4 = least(c.low_e4, excluded.low_e4),
      close_e4 = excluded.close_e4, volume = c.volume + excluded.volume, trades = c.trades + excluded.trades`,
    values: [0, 1, 2, 3, 4, 5, 6, 7].map((column) => rows.map((row) => row[column])),
  })
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => undefined as void
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
