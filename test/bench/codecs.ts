/**
 * What reading costs in each codec: the same events, made from the bytes of a fetch to lines of jobs, as a node does it without its
 * servers. Prints rates and, side by side, their ratios to uncompressed; then what headers cost that nobody asks for, beside records of the
 * same bytes which say that they have none.
 *
 *     node --import tsx test/bench/codecs.ts
 */
import { gzipSync } from 'node:zlib'
import * as zlib from 'node:zlib'
import lz4 from 'lz4-napi'
import snappy from 'snappy'
import * as z from 'zod'
import { decodeFetch } from '../../src/events/kafka-fetch-decoder.ts'
import { portionsOf } from '../../src/events/kafka-portions.ts'
import { Converter } from '../../src/ingest/converter.ts'
import { json } from '../../src/index.ts'
import type { At } from '../../src/index.ts'
import { batchBytes, codecs, responseOf, sealed } from '../support/kafka-batch.ts'
import type { BatchToWrite } from '../support/kafka-batch.ts'

const events = 40_000
const zstdCompressSync = (zlib as unknown as { zstdCompressSync?: (body: Buffer) => Buffer }).zstdCompressSync

function fetchOf(batchEvents: number, of: BatchToWrite, headers: readonly (readonly [string, Buffer])[] = []): Buffer {
  const batches: Buffer[] = []
  for (let first = 0; first < events; first += batchEvents) {
    const records = Array.from({ length: batchEvents }, (_, i) => {
      const n = first + i
      const trade = {
        symbol: `S${(n * 7919) % 500}`,
        price_e4: (n * 104_729) % 2_000_000,
        size: (n % 40) * 100,
        ms_since_midnight: 34_200_000 + n,
        exchange: 'Q',
      }
      return { key: Buffer.from(trade.symbol), value: Buffer.from(JSON.stringify(trade)), timeDelta: BigInt(i), headers }
    })
    batches.push(batchBytes(records, { ...of, firstOffset: BigInt(first) }))
  }
  return responseOf(Buffer.concat(batches))
}

const trade = z.object({ symbol: z.string(), price_e4: z.int(), size: z.int(), ms_since_midnight: z.int(), exchange: z.string() })

function converterOf(ask: (at: At) => unknown): Converter {
  return new Converter({
    source: { topic: 't', tombstones: 'skip', decode: json(trade) },
    key: undefined,
    tasks: [
      { name: 'a', isTracked: true, convert: (event, at) => (ask(at), event), encode: (job) => Object.values(job as object).join('\t') },
    ],
    queues: 8,
    eventBytesMax: 1 << 20,
    linesBytesMax: 1 << 20,
  })
}

async function rateOf(fetch: Buffer, converter: Converter): Promise<number> {
  const startedAt = performance.now()
  let count = 0
  const limits = { portionBytesMax: 2 << 20, recordBytesMax: 1 << 20 }
  for await (const batch of portionsOf(decodeFetch(fetch).responses[0]!.partitions[0]!, 0n, limits, 'here')) {
    for (let from = 0; from < batch.events.length; from += 512)
      count += converter.convertAll(batch.events.slice(from, from + 512), 0).length
  }
  if (count !== events) throw new Error(`${count} events came`)
  return events / (performance.now() - startedAt)
}

/**
 * Median rates, in thousands of events a second, and the median ratio to the first way of the same round; the ways take turns, forwards and
 * backwards, so that all meet the same machine.
 */
async function compare(title: string, ways: readonly (readonly [string, Buffer, Converter])[], rounds = 15): Promise<void> {
  const rates = ways.map((): number[] => [])
  for (let round = -3; round < rounds; round++) {
    const order = [...ways.entries()]
    for (const [i, [, fetch, converter]] of round % 2 === 0 ? order : order.toReversed()) {
      const rate = await rateOf(fetch, converter)
      if (round >= 0) rates[i]!.push(rate)
    }
  }
  console.log(`\n${title}`)
  for (const [i, [name, fetch]] of ways.entries()) {
    const ratios = rates[i]!.map((rate, round) => (100 * rate) / rates[0]![round]!)
    const [rate, ratio] = [medianOf(rates[i]!).toFixed(0), medianOf(ratios).toFixed(1)]
    console.log(
      `${name.padEnd(30)} ${rate.padStart(5)} k events/s  ${ratio.padStart(6)}% (${quartersOf(ratios)})  ${(fetch.length / 1e6).toFixed(1)} MB`,
    )
  }
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b)
}

function medianOf(values: readonly number[]): number {
  return sorted(values)[Math.floor(values.length / 2)]!
}

/** Between these lies half of them. */
function quartersOf(values: readonly number[]): string {
  const inOrder = sorted(values)
  return [1, 3].map((quarter) => inOrder[Math.floor((inOrder.length * quarter) / 4)]!.toFixed(1)).join(' to ')
}

function xerial(body: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])]
  for (let at = 0; at < body.length; at += 32 * 1024) {
    const block = snappy.compressSync(Buffer.from(body.subarray(at, at + 32 * 1024)))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

/** The same bytes, but for the count of headers, which is 0 in each record: what lies behind it is then read by nobody. */
function withoutHeaders(fetch: Buffer): Buffer {
  const changed = Buffer.from(fetch)
  const name = Buffer.from('traceparent')
  for (let at = changed.indexOf(name); at >= 0; at = changed.indexOf(name, at + 1)) changed[at - 2] = 0
  const { records } = decodeFetch(changed).responses[0]!.partitions[0]!
  for (let at = 0; at < records.length;) {
    const end = at + 12 + records.readInt32BE(at + 8)
    sealed(records.subarray(at, end))
    at = end
  }
  return changed
}

const plain = converterOf(() => undefined)
for (const batchEvents of [100, 4000]) {
  const way = (name: string, codec: number, compress: (body: Buffer) => Buffer) =>
    [name, fetchOf(batchEvents, { attributes: codec, compress }), plain] as const
  await compare(`batches of ${batchEvents} events, Node ${process.version}`, [
    ['uncompressed', fetchOf(batchEvents, {}), plain],
    way('lz4', codecs.lz4, (body) => lz4.compressFrameSync(Buffer.from(body))),
    way('snappy (Java)', codecs.snappy, xerial),
    way('snappy (raw)', codecs.snappy, (body) => snappy.compressSync(Buffer.from(body))),
    way('gzip', codecs.gzip, (body) => gzipSync(body)),
    ...(zstdCompressSync === undefined ? [] : [way('zstd', codecs.zstd, zstdCompressSync)]),
  ])
}
const headers: readonly (readonly [string, Buffer])[] = [
  ['traceparent', Buffer.from('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')],
  ['content-type', Buffer.from('application/json')],
]
const withHeaders = fetchOf(100, {}, headers)
await compare(
  'two headers an event, batches of 100 events',
  [
    ['skipped by the decoder', withoutHeaders(withHeaders), plain],
    ['there, not asked for', withHeaders, plain],
    ['there, not asked for (again)', withHeaders, plain],
    ['asked for', withHeaders, converterOf((at) => at.headers.text('traceparent'))],
    ['no such bytes', fetchOf(100, {}), plain],
  ],
  41,
)
