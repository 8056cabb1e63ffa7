/**
 * The record batches in the bytes of a fetch (Kafka's message format 2): their heads, checked, with the bytes of their records as they
 * lie there. What a batch holds is read by `kafka-records.ts`, after `kafka-inflate.ts` when it is compressed.
 */
import { crc32c } from '@node-rs/crc32'

/** A record batch, its records unread. */
export interface RecordBatch {
  readonly firstOffset: bigint
  readonly lastOffset: bigint
  /** -1 where the log has none. */
  readonly leaderEpoch: number
  readonly producerId: bigint
  readonly isTransactional: boolean
  /** Its one record is the marker that ends a transaction. */
  readonly isControl: boolean
  /** 0: not compressed. */
  readonly codec: number
  /** All its records have the time `maxTimeMs`. */
  readonly isAppendTime: boolean
  readonly firstTimeMs: bigint
  readonly maxTimeMs: bigint
  readonly recordCount: number
  /** Its records, compressed or not. */
  readonly body: Buffer
}

/** What cannot be read in a fetch, and why. */
export class UnreadableRecords extends Error {
  override readonly name = 'UnreadableRecords'
}

const headBytes = 61
/** Of a batch: first offset and length, which its length does not count. */
const uncountedBytes = 12
const formatTwo = 2
const codecMask = 0x07
const appendTimeFlag = 0x08
const transactionalFlag = 0x10
const controlFlag = 0x20
/** The checksum is of everything from here on. */
const summedFrom = 21

/**
 * The whole batches in `bytes`, in order. One cut off at the end is left out, since a broker answers with a prefix of its log; but
 * the first is always whole. Throws UnreadableRecords, after the batches before it were given.
 */
export function* recordBatchesIn(bytes: Buffer): Generator<RecordBatch> {
  for (let at = 0; at < bytes.length;) {
    const left = bytes.length - at
    const batchBytes = left < headBytes ? Infinity : sizeOf(bytes, at)
    if (batchBytes > left) {
      if (at > 0) return
      throw new UnreadableRecords(`the broker sent ${left} bytes, less than the whole of it`)
    }
    yield batchOf(bytes.subarray(at, at + batchBytes))
    at += batchBytes
  }
}

/** The leader epoch of the batch in which `offset` lies, or lay before compaction; undefined where there is none. */
export function leaderEpochIn(bytes: Buffer, offset: bigint): number | undefined {
  for (const { firstOffset, lastOffset, leaderEpoch } of recordBatchesIn(bytes)) {
    if (lastOffset >= offset) return firstOffset <= offset && leaderEpoch >= 0 ? leaderEpoch : undefined
  }
  return undefined
}

function sizeOf(bytes: Buffer, at: number): number {
  const format = bytes.readInt8(at + 16)
  if (format !== formatTwo) {
    const known = format === 0 || format === 1
    throw new UnreadableRecords(
      `it is in message format ${format}, ${known ? 'of Kafka before 0.11: let a broker of Kafka 3 convert the topic, or copy it into another' : 'which is not known'}`,
    )
  }
  const counted = bytes.readInt32BE(at + 8)
  if (counted < headBytes - uncountedBytes) throw new UnreadableRecords(`it says that it has ${counted} bytes`)
  return uncountedBytes + counted
}

function batchOf(bytes: Buffer): RecordBatch {
  if (crc32c(bytes.subarray(summedFrom)) !== bytes.readUInt32BE(17)) throw new UnreadableRecords('its checksum is wrong')
  const firstOffset = bytes.readBigInt64BE(0)
  const attributes = bytes.readInt16BE(21)
  const lastDelta = bytes.readInt32BE(23)
  const recordCount = bytes.readInt32BE(57)
  if (firstOffset < 0n || lastDelta < 0) throw new UnreadableRecords('its offsets are negative')
  if (recordCount < 0 || recordCount > lastDelta + 1) throw new UnreadableRecords(`it says that it has ${recordCount} records`)
  return {
    firstOffset,
    lastOffset: firstOffset + BigInt(lastDelta),
    leaderEpoch: bytes.readInt32BE(12),
    producerId: bytes.readBigInt64BE(43),
    isTransactional: (attributes & transactionalFlag) !== 0,
    isControl: (attributes & controlFlag) !== 0,
    codec: attributes & codecMask,
    isAppendTime: (attributes & appendTimeFlag) !== 0,
    firstTimeMs: bytes.readBigInt64BE(27),
    maxTimeMs: bytes.readBigInt64BE(35),
    recordCount,
    body: bytes.subarray(headBytes),
  }
}
