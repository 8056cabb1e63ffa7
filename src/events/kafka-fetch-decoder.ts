/**
 * Puts a decoder of our own in the place of the one kafkajs has for fetches, for its memory, its time and its codecs: it leaves the
 * record batches as they came (`kafka-portions.ts` reads them).
 *
 * Boundary: responses of version 11, the newest that kafkajs asks for; brokers speak it since Kafka 2.3. What a broker says of
 * errors stays with kafkajs.
 */
import type { Broker } from 'kafkajs'
import { ForebayError } from '../errors.ts'

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
    if (request.apiKey !== fetchKey) return send(exchange)
    if (request.apiVersion !== fetchVersion) return Promise.reject(tooOld(request.apiVersion))
    const decode = async (bytes: Buffer) => decodeFetch(bytes)
    return send({ ...exchange, response: { decode, parse: (decoded) => response.parse(decoded) } })
  }
}

function tooOld(apiVersion: number): ForebayError {
  const message = `The broker answers fetches of version ${apiVersion} at most, forebay asks for version ${fetchVersion}; it needs Kafka 2.3 or later.`
  return new ForebayError('FB_EVENT_LOG_UNSUPPORTED', message)
}

/** A fetch response of version 11. */
export function decodeFetch(bytes: Buffer): FetchResponse {
  const reader = new FieldReader(bytes)
  const clientSideThrottleTime = reader.int32()
  const errorCode = reader.int16()
  const sessionId = reader.int32()
  const responses = []
  for (let topics = reader.int32(); topics > 0; topics--) {
    const topicName = reader.text()
    const partitions: FetchedPartition[] = []
    for (let left = reader.int32(); left > 0; left--) partitions.push(readPartition(reader, bytes))
    responses.push({ topicName, partitions })
  }
  // kafkajs waits by itself when asked to, and wants to see 0 then.
  return { throttleTime: 0, clientSideThrottleTime, errorCode, sessionId, responses }
}

function readPartition(reader: FieldReader, bytes: Buffer): FetchedPartition {
  const partition = reader.int32()
  const errorCode = reader.int16()
  // High watermark, last stable offset and start of the log.
  reader.skip(3 * 8)
  const abortedTransactions: AbortedTransaction[] = []
  for (let left = reader.int32(); left > 0; left--) abortedTransactions.push({ producerId: reader.int64(), firstOffset: reader.int64() })
  // The replica that a reader should prefer.
  reader.skip(4)
  const recordBytes = Math.max(0, reader.int32())
  const start = reader.skip(recordBytes)
  return { partition, errorCode, abortedTransactions, records: bytes.subarray(start, start + recordBytes), responseBytes: bytes.length }
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

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.skip(8))
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

/** One partition in a fetch response. */
export interface FetchedPartition {
  readonly partition: number
  readonly errorCode: number
  readonly abortedTransactions: readonly AbortedTransaction[]
  /** Its record batches, as they came. */
  readonly records: Buffer
  /** Size of the response, which `records` keeps in memory. */
  readonly responseBytes: number
}

/** A transaction that was aborted: records of `producerId` from `firstOffset` up to its marker never happened. */
export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: bigint
}
