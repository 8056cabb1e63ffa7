/**
 * Reads record batches (Kafka's message format 2, not compressed) out of the bytes of a fetch.
 *
 * A fetch of 4 MiB holds tens of thousands of small events. kafkajs makes about twenty objects of each and keeps half of
 * them until the whole fetch is worked through; here an event is one small object that knows where its key and value lie,
 * and makes their buffers (views, no copies) when it is asked.
 */
import { ForebayError } from '../errors.ts'
import { type EventHeader, EventHeaders } from './event-headers.ts'
import type { EventRecord } from './event-log.ts'

/** What all records of one batch have in common. */
export interface RecordBatch {
  readonly firstOffset: string
  readonly lastOffsetDelta: number
  readonly producerId: string
  readonly inTransaction: boolean
  readonly leaderEpoch: number
}

/** One record of a fetch; keeps the bytes of the fetch alive. */
export class KafkaRecord implements EventRecord {
  readonly offset: bigint
  readonly timestampMs: number
  readonly isControlRecord: boolean
  readonly batchContext: RecordBatch
  readonly #bytes: Buffer
  readonly #keyEnd: number
  readonly #keyBytes: number
  readonly #valueEnd: number
  readonly #valueBytes: number
  readonly #end: number

  constructor(batch: RecordBatch, isControlRecord: boolean, offset: bigint, timestampMs: number, bytes: Buffer, at: FieldPlaces) {
    this.batchContext = batch
    this.isControlRecord = isControlRecord
    this.offset = offset
    this.timestampMs = timestampMs
    this.#bytes = bytes
    this.#keyEnd = at.keyEnd
    this.#keyBytes = at.keyBytes
    this.#valueEnd = at.valueEnd
    this.#valueBytes = at.valueBytes
    this.#end = at.end
  }

  get leaderEpoch(): number {
    return this.batchContext.leaderEpoch
  }

  /** Reading them throws FB_BAD_EVENT when their bytes are no headers. */
  get headers(): EventHeaders {
    return new EventHeaders(() => readHeaders(this.#bytes, this.#valueEnd, this.#end))
  }

  get key(): Buffer | null {
    return this.#keyBytes < 0 ? null : this.#bytes.subarray(this.#keyEnd - this.#keyBytes, this.#keyEnd)
  }

  get value(): Buffer | null {
    return this.#valueBytes < 0 ? null : this.#bytes.subarray(this.#valueEnd - this.#valueBytes, this.#valueEnd)
  }
}

/** Where key and value of one record lie; a length of -1 stands for null. */
interface FieldPlaces {
  keyEnd: number
  keyBytes: number
  valueEnd: number
  valueBytes: number
  /** Where the record ends; its headers begin where its value ends. */
  end: number
}

const headBytes = 61
const formatTwo = 2
const compressionMask = 0x07
const logAppendTimeFlag = 0x08
const transactionalFlag = 0x10
const controlFlag = 0x20

/**
 * The records in `bytes` from `start` to `end`; a batch cut off at the end is left out, since a broker answers with a
 * prefix of its log. Null when a batch is compressed or of an older format. Throws Error for a damaged one.
 */
export function readRecords(bytes: Buffer, start: number, end: number): KafkaRecord[] | null {
  const records: KafkaRecord[] = []
  for (let at = start; at + headBytes <= end;) {
    const batchEnd = at + 12 + bytes.readInt32BE(at + 8)
    if (batchEnd > end) break
    if (batchEnd < at + headBytes || bytes.readInt8(at + 16) !== formatTwo) return null
    if ((bytes.readInt16BE(at + 21) & compressionMask) !== 0) return null
    readBatch(bytes, at, batchEnd, records)
    at = batchEnd
  }
  return records
}

/**
 * The last offset of the whole batches in `bytes` from `start` to `end`, or undefined when there is none. Compaction keeps the head of
 * a batch of which no record is left: its offsets are passed all the same.
 */
export function lastOffsetIn(bytes: Buffer, start: number, end: number): bigint | undefined {
  let last: bigint | undefined
  for (let at = start; at + headBytes <= end;) {
    const batchEnd = at + 12 + bytes.readInt32BE(at + 8)
    if (batchEnd > end || batchEnd < at + headBytes) break
    last = bytes.readBigInt64BE(at) + BigInt(bytes.readInt32BE(at + 23))
    at = batchEnd
  }
  return last
}

function readBatch(bytes: Buffer, at: number, end: number, records: KafkaRecord[]): void {
  const firstOffset = bytes.readBigInt64BE(at)
  const attributes = bytes.readInt16BE(at + 21)
  const firstTimeMs = Number(bytes.readBigInt64BE(at + 27))
  const maxTimeMs = Number(bytes.readBigInt64BE(at + 35))
  const isAppendTime = (attributes & logAppendTimeFlag) !== 0
  const isControl = (attributes & controlFlag) !== 0
  const count = bytes.readInt32BE(at + 57)
  const batch: RecordBatch = {
    firstOffset: String(firstOffset),
    lastOffsetDelta: bytes.readInt32BE(at + 23),
    producerId: String(bytes.readBigInt64BE(at + 43)),
    inTransaction: (attributes & transactionalFlag) !== 0,
    leaderEpoch: bytes.readInt32BE(at + 12),
  }
  const reader = new VarintReader(bytes, at + headBytes, end)
  const places: FieldPlaces = { keyEnd: 0, keyBytes: -1, valueEnd: 0, valueBytes: -1, end: 0 }
  for (let i = 0; i < count; i++) {
    const recordBytes = reader.next()
    const recordEnd = reader.at + recordBytes
    reader.skip(1)
    const timeMs = firstTimeMs + reader.next()
    const offset = firstOffset + BigInt(reader.next())
    places.keyBytes = reader.next()
    places.keyEnd = reader.skip(Math.max(0, places.keyBytes))
    places.valueBytes = reader.next()
    places.valueEnd = reader.skip(Math.max(0, places.valueBytes))
    places.end = recordEnd
    if (recordEnd < reader.at) throw damaged(at)
    reader.skip(recordEnd - reader.at)
    records.push(new KafkaRecord(batch, isControl, offset, isAppendTime ? maxTimeMs : timeMs, bytes, places))
  }
}

function readHeaders(bytes: Buffer, at: number, end: number): EventHeader[] {
  const headers: EventHeader[] = []
  const reader = new VarintReader(bytes, at, end)
  try {
    for (let left = reader.next(); left > 0; left--) {
      const nameBytes = reader.next()
      const nameEnd = reader.skip(nameBytes)
      const valueBytes = reader.next()
      const valueEnd = reader.skip(Math.max(0, valueBytes))
      headers.push([
        bytes.toString('utf8', nameEnd - nameBytes, nameEnd),
        valueBytes < 0 ? null : bytes.subarray(valueEnd - valueBytes, valueEnd),
      ])
    }
  } catch (error) {
    throw new ForebayError('FB_BAD_EVENT', "the record's headers are damaged", { cause: error })
  }
  return headers
}

/** Reads zigzag varints of up to 53 bits; more is no length, and no time that a clock tells. */
class VarintReader {
  at: number
  readonly #bytes: Buffer
  readonly #end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  next(): number {
    const bytes = this.#bytes
    let value = 0
    let factor = 1
    for (;;) {
      if (this.at >= this.#end || factor > Number.MAX_SAFE_INTEGER) throw damaged(this.at)
      const byte = bytes[this.at++]!
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
      factor *= 128
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** Passes so many bytes and gives where they end. */
  skip(count: number): number {
    if (count < 0) throw damaged(this.at)
    this.at += count
    if (this.at > this.#end) throw damaged(this.at)
    return this.at
  }
}

function damaged(at: number): Error {
  return new Error(`the record batch at byte ${at} of a fetch is damaged`)
}
