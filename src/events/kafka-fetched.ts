import type { FetchedPartition } from './kafka-fetch-decoder.ts'
import type { Cluster } from 'kafkajs'
import { decodeFetchesOf } from './kafka-fetch-decoder.ts'

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
