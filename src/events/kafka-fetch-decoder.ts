/**
 * Puts a decoder of our own in the place of the one kafkajs has for fetches, for its memory and its time: see kafka-records.ts.
 *
 * Boundary: responses of version 11, the newest that kafkajs asks for. Everything else stays as kafkajs has it: other
 * versions, compressed batches, older message formats, and the errors of a response.
 */
import type { Broker } from 'kafkajs'
import type { FetchedPartition } from './kafka-fetched.ts'
import { lastOffsetIn, readRecords } from './kafka-records.ts'

interface Exchange {
  readonly request: { readonly apiKey: number; readonly apiVersion: number }
  readonly response: { decode(bytes: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> }
}

interface Sending {
  send(exchange: Exchange): Promise<unknown>
}

interface FetchResponse {
  readonly throttleTime: number
  readonly clientSideThrottleTime: number
  readonly errorCode: number
  readonly sessionId: number
  readonly responses: readonly { readonly topicName: string; readonly partitions: readonly FetchedPartition[] }[]
}

const fetchKey = 1
const fetchVersion = 11
const changed = new WeakSet<Sending>()

/** Makes fetches of this broker come out as light records; doing it again changes nothing. */
export function decodeFetchesOf(broker: Broker): void {
  const pool = (broker as Broker & { readonly connectionPool?: Sending }).connectionPool
  if (pool === undefined || changed.has(pool)) return
  changed.add(pool)
  const send = pool.send.bind(pool)
  pool.send = (exchange) => {
    const { request, response } = exchange
    if (request.apiKey !== fetchKey || request.apiVersion !== fetchVersion) return send(exchange)
    const decode = (bytes: Buffer) => Promise.resolve(decodeFetch(bytes) ?? response.decode(bytes))
    return send({ ...exchange, response: { decode, parse: (decoded) => response.parse(decoded) } })
  }
}

/** A fetch response of version 11, or null when it holds what only kafkajs reads. */
export function decodeFetch(bytes: Buffer): FetchResponse | null {
  const reader = new FieldReader(bytes)
  const clientSideThrottleTime = reader.int32()
  const errorCode = reader.int16()
  const sessionId = reader.int32()
  const responses = []
  for (let topics = reader.int32(); topics > 0; topics--) {
    const topicName = reader.text()
    const partitions: FetchedPartition[] = []
    for (let left = reader.int32(); left > 0; left--) {
      const fetched = readPartition(reader, bytes)
      if (fetched === null) return null
      partitions.push(fetched)
    }
    responses.push({ topicName, partitions })
  }
  // kafkajs waits by itself when asked to, and wants to see 0 then.
  return { throttleTime: 0, clientSideThrottleTime, errorCode, sessionId, responses }
}

function readPartition(reader: FieldReader, bytes: Buffer): FetchedPartition | null {
  const partition = reader.int32()
  const errorCode = reader.int16()
  const highWatermark = reader.int64()
  const lastStableOffset = reader.int64()
  const lastStartOffset = reader.int64()
  const abortedTransactions = []
  for (let left = reader.int32(); left > 0; left--) {
    abortedTransactions.push({ producerId: reader.int64(), firstOffset: reader.int64() })
  }
  const preferredReadReplica = reader.int32()
  const recordBytes = Math.max(0, reader.int32())
  const start = reader.skip(recordBytes)
  const messages = readRecords(bytes, start, start + recordBytes)
  if (messages === null) return null
  const lastOffset = lastOffsetIn(bytes, start, start + recordBytes)
  const offsets = { highWatermark, lastStableOffset, lastStartOffset, lastOffset }
  return { partition, errorCode, ...offsets, abortedTransactions, preferredReadReplica, messages, bytes: bytes.length } as FetchedPartition
}

class FieldReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.skip(2))
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.skip(4))
  }

  /** As decimal text, like kafkajs. */
  int64(): string {
    return String(this.#bytes.readBigInt64BE(this.skip(8)))
  }

  text(): string {
    const count = this.int16()
    const start = this.skip(count)
    return this.#bytes.toString('utf8', start, start + count)
  }

  /** Passes so many bytes and gives where they begin. */
  skip(count: number): number {
    const start = this.#at
    this.#at += count
    return start
  }
}
