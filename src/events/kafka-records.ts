/**
 * Reads the records of a batch (Kafka's message format 2) out of its bytes, whole or in pieces as they are inflated.
 *
 * A fetch of 4 MiB holds tens of thousands of small events. kafkajs makes about twenty objects of each and keeps half of
 * them until the whole fetch is worked through; here an event is one small object that knows where its key and value lie,
 * and makes their buffers (views, no copies) when it is asked. A record larger than the limit is passed without being held: its beginning
 * is kept for its dead letter.
 */
import { ForebayError } from '../errors.ts'
import { type EventHeader, EventHeaders } from '../pipeline/event-headers.ts'
import type { EventRecord } from './event-log.ts'
import { type RecordBatch, UnreadableRecords } from './kafka-record-batch.ts'
import { clampedTimeMs } from './record-time.ts'
import { VarintReader } from './varint-reader.ts'

/** About what one record costs beside its bytes. */
export const recordObjectBytes = 160
/** Of a record beyond the limit, so much of its beginning is kept; and of its headers, when they are not larger. */
const keptBytesMax = 64 * 1024
/** Lengths and deltas before the key; more than they can take. */
const fieldBytesMax = 64

/** One record of a fetch; keeps the bytes it lies in alive. */
export class KafkaRecord implements EventRecord {
  readonly offset: bigint
  readonly timestampMs: number
  readonly #batch: RecordBatch
  readonly #bytes: Buffer
  readonly #keyEnd: number
  readonly #keyBytes: number
  readonly #valueEnd: number
  readonly #valueBytes: number
  readonly #end: number

  constructor(batch: RecordBatch, offset: bigint, timestampMs: number, bytes: Buffer, at: FieldPlaces) {
    this.offset = offset
    this.timestampMs = timestampMs
    this.#batch = batch
    this.#bytes = bytes
    this.#keyEnd = at.keyEnd
    this.#keyBytes = at.keyBytes
    this.#valueEnd = at.valueEnd
    this.#valueBytes = at.valueBytes
    this.#end = at.end
  }

  get key(): Buffer | null {
    return this.#keyBytes < 0 ? null : this.#bytes.subarray(this.#keyEnd - this.#keyBytes, this.#keyEnd)
  }

  get value(): Buffer | null {
    return this.#valueBytes < 0 ? null : this.#bytes.subarray(this.#valueEnd - this.#valueBytes, this.#valueEnd)
  }

  /** Reading them throws FB_BAD_EVENT when their bytes are no headers. */
  get headers(): EventHeaders {
    return new EventHeaders(() => readHeaders(this.#bytes, this.#valueEnd, this.#end))
  }

  get leaderEpoch(): number {
    return this.#batch.leaderEpoch
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

/** A record larger than the limit while its bytes go by. */
interface PassingRecord {
  readonly record: EventRecord
  skipBytes: number
  /** Its headers, behind what is skipped; 0: they are skipped too. */
  readonly tailBytes: number
}

/**
 * Reads one batch. `feed` gives it bytes, `next` reads records of them, `end` is called when all were fed. What the batch says of itself is
 * believed only as far as its bytes go: nothing is allocated by a length that was merely told.
 */
export class RecordReader {
  readonly #batch: RecordBatch
  readonly #recordBytesMax: number
  readonly #places: FieldPlaces = { keyEnd: 0, keyBytes: -1, valueEnd: 0, valueBytes: -1, end: 0 }
  #varints = new VarintReader(Buffer.alloc(0))
  /** Pieces that came since the last were put together. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  /** With fewer bytes than this, looking is no use. */
  #neededBytes = 1
  /** Records. */
  #left: number
  #lastOffset: bigint
  #passing: PassingRecord | undefined
  /** Bytes that the record keeps which `next` gave last. */
  heldBytes = 0
  /** Its time was moved to one that a record may have. */
  isTimeClamped = false

  constructor(batch: RecordBatch, recordBytesMax: number) {
    this.#batch = batch
    this.#recordBytesMax = recordBytesMax
    this.#left = batch.recordCount
    this.#lastOffset = batch.firstOffset - 1n
  }

  /** What the record that `next` gave last lies in. */
  get buffer(): Buffer {
    return this.#varints.bytes
  }

  /** More bytes of the batch. */
  feed(piece: Buffer): void {
    this.#waiting.push(piece)
    this.#waitingBytes += piece.length
  }

  /** The next record, or undefined when more bytes are needed or all were read. Throws UnreadableRecords. */
  next(): EventRecord | undefined {
    if (this.#left === 0 || !this.#gather()) return undefined
    if (this.#passing !== undefined) return this.#pass(this.#passing)
    const varints = this.#varints
    const { bytes, at } = varints
    if (!hasVarint(bytes, at)) return this.#needs(bytes.length - at + 1)
    const recordBytes = varints.next()
    if (recordBytes < 0) throw new UnreadableRecords(`a record says that it has ${recordBytes} bytes`)
    const isLarge = recordBytes > this.#recordBytesMax
    const wanted = isLarge ? Math.min(recordBytes, keptBytesMax + fieldBytesMax) : recordBytes
    if (bytes.length - varints.at < wanted) {
      const lengthBytes = varints.at - at
      varints.at = at
      return this.#needs(lengthBytes + wanted)
    }
    return isLarge ? this.#readBeginning(recordBytes) : this.#read(recordBytes)
  }

  /** Throws UnreadableRecords unless every record was read and nothing is left. */
  end(): void {
    if (this.#left > 0) throw new UnreadableRecords(`it ends ${this.#left} records too early`)
    if (this.#waitingBytes > 0 || this.#varints.at < this.#varints.bytes.length) {
      throw new UnreadableRecords('bytes are left behind its last record')
    }
  }

  /** Puts together what is there, once it is enough. */
  #gather(): boolean {
    const { bytes, at } = this.#varints
    const left = bytes.length - at
    if (left + this.#waitingBytes < this.#neededBytes) return false
    if (this.#waitingBytes === 0) return true
    const pieces = left === 0 ? this.#waiting : [bytes.subarray(at), ...this.#waiting]
    this.#varints = new VarintReader(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces))
    this.#waiting = []
    this.#waitingBytes = 0
    return true
  }

  #needs(bytes: number): undefined {
    this.#neededBytes = bytes
  }

  #read(recordBytes: number): EventRecord {
    const varints = this.#varints
    const places = this.#places
    places.end = varints.at + recordBytes
    const [offset, timeMs] = this.#readHead()
    places.keyBytes = varints.next()
    places.keyEnd = varints.skip(Math.max(0, places.keyBytes))
    places.valueBytes = varints.next()
    places.valueEnd = varints.skip(Math.max(0, places.valueBytes))
    if (varints.at > places.end) throw beyondEnd()
    varints.at = places.end
    return this.#finish(new KafkaRecord(this.#batch, offset, timeMs, varints.bytes, places), recordBytes)
  }

  /** Attributes (unused), time and offset. */
  #readHead(): [offset: bigint, timeMs: number] {
    const { firstOffset, lastOffset } = this.#batch
    const varints = this.#varints
    varints.skip(1)
    const timeMs = this.#timeOf(varints.nextLong())
    const offset = firstOffset + BigInt(varints.next())
    if (offset <= this.#lastOffset || offset > lastOffset) {
      throw new UnreadableRecords(`a record has offset ${offset}, not between ${this.#lastOffset} and ${lastOffset}`)
    }
    this.#lastOffset = offset
    return [offset, timeMs]
  }

  #timeOf(delta: number | bigint): number {
    const { isAppendTime, firstTimeMs, maxTimeMs } = this.#batch
    const toldMs = isAppendTime ? Number(maxTimeMs) : sumOf(firstTimeMs, delta)
    const timeMs = clampedTimeMs(toldMs)
    this.isTimeClamped = timeMs !== toldMs
    return timeMs
  }

  #finish(record: EventRecord, heldBytes: number): EventRecord {
    this.heldBytes = heldBytes
    this.#left--
    this.#neededBytes = 1
    this.#passing = undefined
    return record
  }

  /** Keeps the beginning of a large record and lets the rest go by. */
  #readBeginning(recordBytes: number): EventRecord | undefined {
    const varints = this.#varints
    const end = varints.at + recordBytes
    const [offset, timestampMs] = this.#readHead()
    const key = this.#readKept()
    // A value behind a key that is not whole is not looked for.
    const value = key.leftBytes > 0 ? { bytes: Buffer.alloc(0), leftBytes: 0 } : this.#readKept()
    const restBytes = end - varints.at
    const tailBytes = restBytes - value.leftBytes
    if (restBytes < key.leftBytes || tailBytes < 0) throw beyondEnd()
    const isTailKept = key.leftBytes === 0 && tailBytes <= keptBytesMax
    const { leaderEpoch } = this.#batch
    const record = {
      offset,
      timestampMs,
      key: key.leftBytes > 0 ? null : key.bytes,
      value: value.bytes,
      leaderEpoch,
      oversizeBytes: recordBytes,
    }
    this.#passing = isTailKept ? { record, skipBytes: value.leftBytes, tailBytes } : { record, skipBytes: restBytes, tailBytes: 0 }
    return this.#pass(this.#passing)
  }

  /** A copy of what is there of a key or a value. */
  #readKept(): { bytes: Buffer | null; leftBytes: number } {
    const varints = this.#varints
    const length = varints.next()
    if (length < 0) return { bytes: null, leftBytes: 0 }
    const there = Math.min(length, varints.bytes.length - varints.at, keptBytesMax)
    const bytes = Buffer.from(varints.bytes.subarray(varints.at, varints.skip(there)))
    return { bytes, leftBytes: length - there }
  }

  #pass(passing: PassingRecord): EventRecord | undefined {
    const varints = this.#varints
    const gone = Math.min(passing.skipBytes, varints.bytes.length - varints.at)
    varints.skip(gone)
    passing.skipBytes -= gone
    if (passing.skipBytes > 0) return this.#needs(1)
    const { record, tailBytes } = passing
    if (varints.bytes.length - varints.at < tailBytes) return this.#needs(tailBytes)
    const heldBytes = (record.key?.length ?? 0) + (record.value?.length ?? 0) + tailBytes
    if (tailBytes === 0) return this.#finish(record, heldBytes)
    const tail = Buffer.from(varints.bytes.subarray(varints.at, varints.skip(tailBytes)))
    return this.#finish({ ...record, headers: new EventHeaders(() => readHeaders(tail, 0, tail.length)) }, heldBytes)
  }
}

function beyondEnd(): UnreadableRecords {
  return new UnreadableRecords('the fields of a record reach beyond its end')
}

/** Whole in 64 bits, as Kafka adds them. */
function sumOf(firstTimeMs: bigint, delta: number | bigint): number {
  const first = Number(firstTimeMs)
  if (typeof delta === 'number' && Number.isSafeInteger(first)) return first + delta
  return Number(BigInt.asIntN(64, firstTimeMs + BigInt(delta)))
}

/** A whole varint begins at `at`, or one that is too long to be one. */
function hasVarint(bytes: Buffer, at: number): boolean {
  for (let i = at; i < bytes.length; i++) if (bytes[i]! < 0x80 || i - at > fieldBytesMax) return true
  return false
}

function readHeaders(bytes: Buffer, at: number, end: number): EventHeader[] {
  const headers: EventHeader[] = []
  const varints = new VarintReader(bytes, at, end)
  try {
    for (let left = varints.next(); left > 0; left--) {
      const nameBytes = varints.next()
      const nameEnd = varints.skip(nameBytes)
      const valueBytes = varints.next()
      const valueEnd = varints.skip(Math.max(0, valueBytes))
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
