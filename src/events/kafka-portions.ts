/**
 * The events of a fetch, in portions of bounded size: what a compressed batch inflates to is made as it is asked for, and read once.
 *
 * Left out are control records, records of aborted transactions, and those below the offset that was asked for (a broker answers with whole
 * record batches). `lastOffset` of a portion passes them all the same, also a compacted end of a record batch, and a batch of which
 * compaction left no record.
 */
import type { AbortedTransaction, FetchedPartition } from './kafka-fetch-decoder.ts'
import { ForebayError } from '../errors.ts'
import type { EventBatch, EventRecord } from './event-log.ts'
import { floorBefore } from './event-log.ts'
import { inflated } from './kafka-inflate.ts'
import { recordBatchesIn, UnreadableRecords } from './kafka-record-batch.ts'
import type { RecordBatch } from './kafka-record-batch.ts'
import { recordObjectBytes, RecordReader } from './kafka-records.ts'

export interface PortionLimits {
  /** A portion ends with the record that reaches so many bytes. */
  readonly portionBytesMax: number
  /** Of a larger record (with its key and headers) only the beginning is kept. */
  readonly recordBytesMax: number
}

const abortMarker = 0

/**
 * Portions until the fetch is read; none when it is empty. Throws FB_EVENT_LOG_UNREADABLE for a batch that is damaged or in an unknown codec or
 * format, after everything before it was given. `where` names the partition.
 */
export async function* portionsOf(
  fetched: FetchedPartition,
  nextOffset: bigint,
  limits: PortionLimits,
  where: string,
): AsyncGenerator<EventBatch> {
  const portion = new Portion(floorBefore(nextOffset), fetched.responseBytes, limits.portionBytesMax)
  const aborted = new AbortedProducers(fetched.abortedTransactions)
  let reached = floorBefore(nextOffset)
  try {
    for (const batch of recordBatchesIn(fetched.records)) {
      if (batch.lastOffset <= portion.lastOffset) throw new UnreadableRecords(`it ends at offset ${batch.lastOffset}`)
      reached = batch.firstOffset > reached ? batch.firstOffset : reached
      if (!aborted.drops(batch)) yield* portionsOfBatch(batch, nextOffset, limits, portion)
      portion.pass(batch.lastOffset, batch.leaderEpoch)
      reached = batch.lastOffset + 1n
    }
  } catch (error) {
    if (!(error instanceof UnreadableRecords)) throw error
    if (!portion.isEmpty) yield portion.take()
    throw unreadable(where, reached, error)
  }
  if (portion.hasMoved) yield portion.take()
}

async function* portionsOfBatch(
  batch: RecordBatch,
  nextOffset: bigint,
  limits: PortionLimits,
  portion: Portion,
): AsyncGenerator<EventBatch> {
  const reader = new RecordReader(batch, limits.recordBytesMax)
  const isInflated = batch.codec !== 0
  const pieces = isInflated ? inflated(batch.body, batch.codec) : [batch.body]
  if (Symbol.iterator in pieces) {
    for (const piece of pieces) {
      reader.feed(piece)
      yield* portionsRead(reader, batch, nextOffset, isInflated, portion)
    }
  } else {
    for await (const piece of pieces) {
      reader.feed(piece)
      yield* portionsRead(reader, batch, nextOffset, isInflated, portion)
    }
  }
  reader.end()
}

/** Takes in what can be read of the bytes that are there. */
function* portionsRead(
  reader: RecordReader,
  { leaderEpoch }: RecordBatch,
  nextOffset: bigint,
  isInflated: boolean,
  portion: Portion,
): Generator<EventBatch> {
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    if (record.offset < nextOffset) continue
    portion.add(record, reader, isInflated)
    portion.pass(record.offset, leaderEpoch)
    if (portion.isFull) yield portion.take()
  }
}

/** Collects events until it is taken; then begins anew behind them. */
class Portion {
  readonly #responseBytes: number
  readonly #bytesMax: number
  #events: EventRecord[] = []
  #bytes = 0
  /** With all of the pieces that its events lie in. */
  #ownBytes = 0
  /** The last of these pieces. */
  #buffer: Buffer | undefined
  #clampedTimes = 0
  #leaderEpoch = -1
  /** Some events lie in the response itself. */
  #keepsResponse = false
  hasMoved = false
  lastOffset: bigint

  constructor(lastOffset: bigint, responseBytes: number, bytesMax: number) {
    this.lastOffset = lastOffset
    this.#responseBytes = responseBytes
    this.#bytesMax = bytesMax
  }

  get isEmpty(): boolean {
    return this.#events.length === 0
  }

  get isFull(): boolean {
    return this.#bytes >= this.#bytesMax
  }

  add(record: EventRecord, { buffer, heldBytes, isTimeClamped }: RecordReader, isInflated: boolean): void {
    this.#events.push(record)
    this.#bytes += recordObjectBytes + heldBytes
    this.#ownBytes += recordObjectBytes + (record.oversizeBytes === undefined ? 0 : heldBytes)
    if (isTimeClamped) this.#clampedTimes++
    if (!isInflated) this.#keepsResponse = true
    else if (buffer !== this.#buffer) {
      this.#buffer = buffer
      this.#ownBytes += buffer.length
    }
  }

  pass(lastOffset: bigint, leaderEpoch: number): void {
    this.lastOffset = lastOffset
    this.#leaderEpoch = leaderEpoch
    this.hasMoved = true
  }

  take(): EventBatch {
    const bytes = this.#ownBytes + (this.#keepsResponse ? this.#responseBytes : 0)
    const batch = {
      events: this.#events,
      lastOffset: this.lastOffset,
      bytes,
      ...(this.#clampedTimes > 0 ? { clampedTimes: this.#clampedTimes } : {}),
      ...(this.#leaderEpoch >= 0 ? { leaderEpoch: this.#leaderEpoch } : {}),
    }
    this.#events = []
    this.#bytes = this.#ownBytes = this.#clampedTimes = 0
    this.#buffer = undefined
    this.#keepsResponse = this.hasMoved = false
    return batch
  }
}

/** Which producers are inside an aborted transaction while the record batches of one response are passed in order. */
class AbortedProducers {
  readonly #ahead: AbortedTransaction[]
  readonly #inside = new Set<bigint>()

  constructor(transactions: readonly AbortedTransaction[]) {
    // The broker lists them by their end; they are entered by their beginning.
    this.#ahead = [...transactions].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : a.firstOffset > b.firstOffset ? 1 : 0))
  }

  /** Whether the records of `batch` are none of a reader's. */
  drops(batch: RecordBatch): boolean {
    for (let head = this.#ahead[0]; head !== undefined && head.firstOffset <= batch.lastOffset; head = this.#ahead[0]) {
      this.#inside.add(head.producerId)
      this.#ahead.shift()
    }
    if (batch.isControl) {
      if (controlTypeOf(batch) === abortMarker) this.#inside.delete(batch.producerId)
      return true
    }
    return batch.isTransactional && this.#inside.has(batch.producerId)
  }
}

/** A control record's key is two int16: a version and the type (0 abort, 1 commit); null when compaction took the record. */
function controlTypeOf(batch: RecordBatch): number | null {
  const reader = new RecordReader(batch, Infinity)
  reader.feed(batch.body)
  const key = reader.next()?.key
  return key !== null && key !== undefined && key.length >= 4 ? key.readInt16BE(2) : null
}

function unreadable(where: string, offset: bigint, cause: UnreadableRecords): ForebayError {
  const message =
    `The record batch at offset ${offset} of ${where} cannot be read: ${cause.message}. Nothing was skipped: everything before it is processed, and the partition waits there. ` +
    'Look at the disk of the leader and let an intact replica lead; when the producer wrote it so, its events have to be deleted from the topic (kafka-delete-records) and given up with forebay reset --skip-lost.'
  return new ForebayError('FB_EVENT_LOG_UNREADABLE', message, { cause })
}
