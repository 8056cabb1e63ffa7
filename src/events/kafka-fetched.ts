import type { Cluster } from 'kafkajs'
import type { EventBatch, EventRecord } from './event-log.ts'
import { floorBefore } from './event-log.ts'
import { decodeFetchesOf } from './kafka-fetch-decoder.ts'
import { KafkaRecord } from './kafka-records.ts'

/** One partition in a fetch response, in the shape that kafkajs gives it, as far as it is used here. */
export interface FetchedPartition {
  readonly partition: number
  readonly highWatermark: string
  readonly lastStableOffset: string
  /** The first offset of the log; kafkajs spells `logStartOffset` so. */
  readonly lastStartOffset?: string
  readonly abortedTransactions: readonly AbortedTransaction[] | null
  readonly messages: readonly FetchedMessage[]
  /** The last offset of the record batches, also of one without records; kafkajs does not tell it. */
  readonly lastOffset?: bigint | undefined
  /** The leader epoch of the last of them. */
  readonly leaderEpoch?: number | undefined
  /** Size of the response; kafkajs does not tell it. */
  readonly bytes?: number
}

export interface AbortedTransaction {
  readonly producerId: string
  readonly firstOffset: string
}

/** A record as kafkajs decodes it. */
interface DecodedMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly isControlRecord?: boolean
  /** The record batch the message came in; one object shared by all its messages. */
  readonly batchContext?: FetchedBatchContext
}

export type FetchedMessage = DecodedMessage | KafkaRecord

export interface FetchedBatchContext {
  readonly firstOffset: string
  readonly lastOffsetDelta: number
  readonly producerId: string
  readonly inTransaction: boolean
  /** kafkajs does not tell it. */
  readonly leaderEpoch?: number
}

const abortMarker = 0
const readCommitted = 1

export interface FetchRequest {
  readonly topic: string
  readonly partition: number
  readonly nextOffset: bigint
  /** Most bytes of the answer. One larger record batch still comes whole. */
  readonly bytesMax: number
  /** How long the broker may hold a fetch that finds nothing. */
  readonly waitMs: number
}

/** One fetch from the partition's leader; undefined when the broker throttles this client and answers without any partition. */
export async function fetchFrom(cluster: Cluster, request: FetchRequest): Promise<FetchedPartition | undefined> {
  const { topic, partition, nextOffset, bytesMax, waitMs } = request
  const nodeId = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))[0]
  if (nodeId === undefined) throw new Error(`topic ${topic} has no partition ${partition}`)
  const broker = await cluster.findBroker({ nodeId })
  decodeFetchesOf(broker)
  const response: { responses: { partitions: FetchedPartition[] }[] } = await broker.fetch({
    isolationLevel: readCommitted,
    maxWaitTime: waitMs,
    minBytes: 1,
    maxBytes: bytesMax,
    topics: [{ topic, partitions: [{ partition, fetchOffset: nextOffset.toString(), maxBytes: bytesMax }] }],
  })
  return response.responses[0]?.partitions[0]
}

/**
 * The events of a fetch from `nextOffset`, in order, without control records and without those of aborted
 * transactions; `lastOffset` also passes everything that was left out, a compacted end of a record batch, and a record
 * batch of which compaction left no record.
 */
export function eventsOf(fetched: FetchedPartition, nextOffset: bigint): EventBatch {
  const aborted = new AbortedProducers(fetched.abortedTransactions ?? [])
  const events: EventRecord[] = []
  let lastOffset = floorBefore(nextOffset)
  let context: FetchedBatchContext | undefined
  let isDropped = false
  for (const message of fetched.messages) {
    const offset = BigInt(message.offset)
    const next = message.batchContext
    if (next === undefined) {
      if (offset > lastOffset) lastOffset = offset
      isDropped = false
    } else if (next !== context) {
      context = next
      const batchLast = BigInt(next.firstOffset) + BigInt(next.lastOffsetDelta)
      if (batchLast > lastOffset) lastOffset = batchLast
      isDropped = aborted.drops(next, batchLast, message)
    }
    // A broker answers with whole record batches: the first may begin below what was asked.
    if (isDropped || message.isControlRecord === true || offset < nextOffset) continue
    events.push(
      message instanceof KafkaRecord ? message : { offset, timestampMs: Number(message.timestamp), key: message.key, value: message.value },
    )
  }
  if (fetched.lastOffset !== undefined && fetched.lastOffset > lastOffset) lastOffset = fetched.lastOffset
  const epoch = fetched.leaderEpoch ?? context?.leaderEpoch
  return { events, lastOffset, bytes: fetched.bytes ?? bytesOf(events), ...(epoch === undefined ? {} : { leaderEpoch: epoch }) }
}

/** For what kafkajs decoded. */
function bytesOf(events: readonly EventRecord[]): number {
  return events.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0)
}

/** Which producers are inside an aborted transaction while the record batches of one response are passed in order. */
class AbortedProducers {
  readonly #ahead: { producerId: string; firstOffset: bigint }[]
  readonly #inside = new Set<string>()

  constructor(transactions: readonly AbortedTransaction[]) {
    this.#ahead = transactions
      .map(({ producerId, firstOffset }) => ({ producerId, firstOffset: BigInt(firstOffset) }))
      // The broker lists them by their end; they are entered by their beginning.
      .sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : a.firstOffset > b.firstOffset ? 1 : 0))
  }

  drops(context: FetchedBatchContext, batchLast: bigint, first: FetchedMessage): boolean {
    for (let head = this.#ahead[0]; head !== undefined && head.firstOffset <= batchLast; head = this.#ahead[0]) {
      this.#inside.add(head.producerId)
      this.#ahead.shift()
    }
    if (first.isControlRecord === true) {
      if (controlTypeOf(first) === abortMarker) this.#inside.delete(context.producerId)
      return true
    }
    return context.inTransaction && this.#inside.has(context.producerId)
  }
}

/** A control record's key is two int16: a version and the type (0 abort, 1 commit). */
function controlTypeOf(message: FetchedMessage): number | null {
  return message.key !== null && message.key.length >= 4 ? message.key.readInt16BE(2) : null
}
