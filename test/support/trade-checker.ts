/**
 * The independent checker of the stock-ticks example: reads the events from the event log by a client of its own, recomputes
 * every row of `trades` and `candles` from them and compares with the tables. It shares no code with the pipeline.
 */
import { Kafka } from 'kafkajs'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'

interface Event {
  readonly partition: number
  readonly offset: number
  readonly value: string
}

interface Trade {
  readonly ms_since_midnight: number
  readonly symbol: string
  readonly price_e4: number
  readonly size: number
  readonly exchange: string
  readonly conditions: string
  readonly suspicious: boolean
}

/** What differs; all zero and empty when every event is applied exactly once. */
export interface CheckResult {
  readonly events: number
  readonly rows: number
  readonly missing: number
  readonly extra: number
  readonly wrongCandles: number
  readonly examples: readonly string[]
}

/** Every event of topic `trades`, read from Kafka in offset order per partition. */
export async function readKafkaEvents(brokers: readonly string[]): Promise<Event[]> {
  const kafka = new Kafka({ brokers: [...brokers], clientId: 'trade-checker', logLevel: 0 })
  const admin = kafka.admin()
  await admin.connect()
  const ends = (await admin.fetchTopicOffsets('trades')).map(({ partition, high }) => ({ partition, end: Number(high) }))
  await admin.disconnect()
  const consumer = kafka.consumer({
    groupId: `trade-checker-${process.pid}-${Date.now()}`,
    maxBytesPerPartition: 8 * 1024 * 1024,
    maxWaitTimeInMs: 100,
  })
  await consumer.connect()
  await consumer.subscribe({ topic: 'trades', fromBeginning: true })
  const events: Event[] = []
  const left = new Map(ends.filter(({ end }) => end > 0).map(({ partition, end }) => [partition, end]))
  await new Promise<void>((resolve, reject) => {
    if (left.size === 0) resolve()
    consumer
      .run({
        autoCommit: false,
        eachBatch: ({ batch }) => {
          for (const message of batch.messages)
            events.push({ partition: batch.partition, offset: Number(message.offset), value: String(message.value) })
          if (Number(batch.lastOffset()) + 1 >= (left.get(batch.partition) ?? 0)) left.delete(batch.partition)
          if (left.size === 0) resolve()
          return Promise.resolve()
        },
      })
      .catch(reject)
  })
  await consumer.disconnect()
  return events.sort((a, b) => a.partition - b.partition || a.offset - b.offset)
}

/** Every event of topic `trades`, read from the tables of the Postgres event log. */
export async function readPostgresEvents(url: string): Promise<Event[]> {
  const lines = await copyLines(
    url,
    `select e.partition, e.event_offset, encode(e.value, 'hex') from forebay.log_events e join forebay.log_topics t using (topic) where t.name = 'trades' order by 1, 2`,
  )
  return lines.map((line) => {
    const [partition, offset, value] = line.split('\t')
    return { partition: Number(partition), offset: Number(offset), value: Buffer.from(value!, 'hex').toString() }
  })
}

/**
 * What the log holds otherwise than the file of trades asks for, as sentences: every line once, the n-th symbol to appear in
 * partition n mod 4, the lines of a symbol in their order.
 */
export function checkFeed(file: string, events: readonly Event[]): string[] {
  const [head, ...lines] = gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n')
  const names = head!.split(',')
  const wanted = new Map<string, string[]>()
  for (const line of lines) {
    const fields = line.split(',').map((field, i) => {
      if (names[i] === 'suspicious') return field === '1'
      return ['symbol', 'exchange', 'conditions'].includes(names[i]!) ? field : Number(field)
    })
    const symbol = String(fields[names.indexOf('symbol')])
    if (!wanted.has(symbol)) wanted.set(symbol, [])
    wanted.get(symbol)!.push(JSON.stringify(Object.fromEntries(names.map((name, i) => [name, fields[i]]))))
  }
  const found = new Map<string, string[]>()
  const wrong: string[] = []
  const partitionOf = new Map([...wanted.keys()].map((symbol, n) => [symbol, n % 4]))
  for (const { partition, offset, value } of events) {
    const { symbol } = JSON.parse(value) as Trade
    if (partitionOf.get(symbol) !== partition) wrong.push(`${symbol} at ${partition}@${offset}`)
    if (!found.has(symbol)) found.set(symbol, [])
    found.get(symbol)!.push(value)
  }
  for (const [symbol, values] of wanted) {
    const have = found.get(symbol) ?? []
    if (have.length !== values.length) wrong.push(`${symbol}: ${have.length} events for ${values.length} lines`)
    const place = values.findIndex((value, i) => value !== have[i])
    if (place >= 0) wrong.push(`${symbol}: line ${place} is ${values[place]}, in the log ${have[place]}`)
  }
  return wrong.slice(0, 10)
}

/** Compares the tables of the database at `url` with what `events` ask for. */
export async function checkTrades(url: string, events: readonly Event[]): Promise<CheckResult> {
  const examples: string[] = []
  const wanted = new Map<string, number>()
  const candles = new Map<string, number[]>()
  for (const { partition, offset, value } of events) {
    const trade = JSON.parse(value) as Trade
    const row = [
      partition,
      offset,
      trade.ms_since_midnight,
      trade.symbol,
      trade.price_e4,
      trade.size,
      trade.exchange,
      trade.conditions,
      trade.suspicious ? 't' : 'f',
    ].join('\t')
    wanted.set(row, (wanted.get(row) ?? 0) + 1)
    addToCandle(candles, trade)
  }
  const rows = await copyLines(
    url,
    'select source_partition, source_offset, ms_since_midnight, symbol, price_e4, size, exchange, conditions, suspicious from trades',
  )
  let extra = 0
  for (const row of rows) {
    const left = wanted.get(row) ?? 0
    if (left > 1) wanted.set(row, left - 1)
    else if (left === 1) wanted.delete(row)
    else {
      extra++
      examples.push(`extra row ${row}`)
    }
  }
  for (const row of [...wanted.keys()].slice(0, 5)) examples.push(`missing row ${row}`)
  const found = new Set(await copyLines(url, 'select symbol, minute, open_e4, high_e4, low_e4, close_e4, volume, trades from candles'))
  let wrongCandles = 0
  for (const [key, values] of candles) {
    const line = `${key}\t${values.join('\t')}`
    if (found.delete(line)) continue
    wrongCandles++
    examples.push(`missing candle ${line}`)
  }
  for (const line of found) examples.push(`extra candle ${line}`)
  wrongCandles += found.size
  return {
    events: events.length,
    rows: rows.length,
    missing: [...wanted.values()].reduce((sum, n) => sum + n, 0),
    extra,
    wrongCandles,
    examples: examples.slice(0, 10),
  }
}

/** Open, high, low, close, volume, trades; events come in offset order, and a symbol has one partition. */
function addToCandle(candles: Map<string, number[]>, { symbol, ms_since_midnight, price_e4, size }: Trade): void {
  const key = `${symbol}\t${Math.floor(ms_since_midnight / 60_000)}`
  const candle = candles.get(key)
  if (candle === undefined) {
    candles.set(key, [price_e4, price_e4, price_e4, price_e4, size, 1])
    return
  }
  candle[1] = Math.max(candle[1]!, price_e4)
  candle[2] = Math.min(candle[2]!, price_e4)
  candle[3] = price_e4
  candle[4]! += size
  candle[5]!++
}

async function copyLines(url: string, query: string): Promise<string[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const parts: Buffer[] = []
    for await (const part of client.query(copyTo(`copy (${query}) to stdout`))) parts.push(part as Buffer)
    const lines = Buffer.concat(parts).toString('utf8').split('\n')
    lines.pop()
    return lines
  } finally {
    await client.end()
  }
}
