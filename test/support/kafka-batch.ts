/** Writes record batches of Kafka's format 2, good ones and forged ones, and answers to fetches. */
import { crc32c } from '@node-rs/crc32'
import type { EventRecord } from '../../src/events/event-log.ts'
import { decodeFetch } from '../../src/events/kafka-fetch-decoder.ts'
import { portionsOf } from '../../src/events/kafka-portions.ts'
import type { PortionLimits } from '../../src/events/kafka-portions.ts'

export interface RecordToWrite {
  readonly key?: Buffer | null
  readonly value?: Buffer | null
  readonly timeDelta?: bigint
  /** Default: its place. */
  readonly offsetDelta?: number
  readonly headers?: readonly (readonly [string, Buffer | null])[]
}

export interface BatchToWrite {
  readonly firstOffset?: bigint
  readonly lastOffsetDelta?: number
  readonly firstTimeMs?: bigint
  readonly maxTimeMs?: bigint
  readonly producerId?: bigint
  readonly leaderEpoch?: number
  readonly attributes?: number
  readonly count?: number
  readonly compress?: (body: Buffer) => Buffer
}

export const codecs = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 }
export const transactional = 0x10
export const control = 0x20

export function varint(value: number | bigint): Buffer {
  const wide = BigInt(value)
  let rest = BigInt.asUintN(64, (wide << 1n) ^ (wide >> 63n))
  const bytes: number[] = []
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(rest)])
}

const field = (bytes: Buffer | null) => (bytes === null ? [varint(-1)] : [varint(bytes.length), bytes])

export function recordBytes({ key = null, value = null, timeDelta = 0n, offsetDelta = 0, headers = [] }: RecordToWrite): Buffer {
  const body = Buffer.concat([
    Buffer.alloc(1),
    varint(timeDelta),
    varint(offsetDelta),
    ...field(key),
    ...field(value),
    varint(headers.length),
    ...headers.flatMap(([name, bytes]) => [...field(Buffer.from(name)), ...field(bytes)]),
  ])
  return Buffer.concat([varint(body.length), body])
}

export function batchBytes(records: readonly RecordToWrite[], of: BatchToWrite = {}): Buffer {
  const plain = Buffer.concat(records.map((record, i) => recordBytes({ offsetDelta: i, ...record })))
  return batchAround(of.compress === undefined ? plain : of.compress(plain), records.length, of)
}

/** A batch with this body, whatever it is. */
export function batchAround(body: Buffer, count: number, of: BatchToWrite = {}): Buffer {
  const { firstOffset = 0n, lastOffsetDelta = count - 1, firstTimeMs = 1_700_000_000_000n, attributes = 0 } = of
  const head = Buffer.alloc(61)
  head.writeBigInt64BE(firstOffset, 0)
  head.writeInt32BE(49 + body.length, 8)
  head.writeInt32BE(of.leaderEpoch ?? 0, 12)
  head.writeInt8(2, 16)
  head.writeInt16BE(attributes, 21)
  head.writeInt32BE(lastOffsetDelta, 23)
  head.writeBigInt64BE(firstTimeMs, 27)
  head.writeBigInt64BE(of.maxTimeMs ?? firstTimeMs, 35)
  head.writeBigInt64BE(of.producerId ?? -1n, 43)
  head.writeInt32BE(of.count ?? count, 57)
  return sealed(Buffer.concat([head, body]))
}

/** With the right checksum. */
export function sealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

export interface Aborted {
  readonly producerId: bigint
  readonly firstOffset: bigint
}

/** A fetch response of one partition. */
export function responseOf(records: Buffer, aborted: readonly Aborted[] = []): Buffer {
  const head = Buffer.alloc(4 + 2 + 4 + 4 + 2 + 6 + 4 + 4 + 2 + 24 + 4 + aborted.length * 16 + 4 + 4)
  let at = head.writeInt32BE(0, 0)
  at = head.writeInt16BE(0, at)
  at = head.writeInt32BE(0, at)
  at = head.writeInt32BE(1, at)
  at = head.writeInt16BE(6, at)
  at += head.write('trades', at)
  at = head.writeInt32BE(1, at)
  at = head.writeInt32BE(3, at)
  at = head.writeInt16BE(0, at)
  for (const offset of [90n, 80n, 5n]) at = head.writeBigInt64BE(offset, at)
  at = head.writeInt32BE(aborted.length, at)
  for (const { producerId, firstOffset } of aborted) at = head.writeBigInt64BE(firstOffset, head.writeBigInt64BE(producerId, at))
  at = head.writeInt32BE(-1, at)
  head.writeInt32BE(records.length, at)
  return Buffer.concat([head, records])
}

export const roomy: PortionLimits = { portionBytesMax: 2 ** 30, recordBytesMax: 2 ** 20 }

export interface ReadFetch {
  readonly events: EventRecord[]
  readonly lastOffset: bigint | undefined
  readonly portions: number
  readonly clampedTimes: number
  readonly leaderEpoch: number | undefined
  readonly bytesMost: number
  readonly error: Error | undefined
}

/** Everything a fetch gives, and what it ends with. */
export async function readFetch(
  records: Buffer,
  { nextOffset = 0n, aborted = [] as readonly Aborted[], limits = roomy, keeps = true } = {},
): Promise<ReadFetch> {
  const fetched = decodeFetch(responseOf(records, aborted)).responses[0]!.partitions[0]!
  const events: EventRecord[] = []
  let [portions, clampedTimes, bytesMost] = [0, 0, 0]
  let lastOffset: bigint | undefined
  let leaderEpoch: number | undefined
  try {
    for await (const batch of portionsOf(fetched, nextOffset, limits, 'partition 3 of topic trades')) {
      if (keeps) for (const event of batch.events) events.push(event)
      portions++
      clampedTimes += batch.clampedTimes ?? 0
      bytesMost = Math.max(bytesMost, batch.bytes ?? 0)
      lastOffset = batch.lastOffset
      leaderEpoch = batch.leaderEpoch
    }
  } catch (error) {
    return { events, lastOffset, portions, clampedTimes, leaderEpoch, bytesMost, error: error as Error }
  }
  return { events, lastOffset, portions, clampedTimes, leaderEpoch, bytesMost, error: undefined }
}
