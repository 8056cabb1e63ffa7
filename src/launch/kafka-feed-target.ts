/**
 * Publishes a feed to Kafka with an idempotent producer, one request in flight.
 *
 * The producer itself repeats a request that got no answer, with the same sequence numbers, so that the broker drops a
 * repetition; that covers a broker that is killed and comes back. When it gives up all the same, the producer is thrown
 * away: its sequence numbers are no longer known to fit. The next one begins after the tail of the log was read.
 * No transactions: their markers take offsets.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Admin, CompressionTypes, type Cluster, type Kafka, type Producer } from 'kafkajs'
import { clusterOf, kafkaClient, releaseCluster } from '../events/kafka-cluster.ts'
import { kafkaProblem } from '../events/kafka-error.ts'
import { feedPartitions, feedTopic, type FeedRecord, type FeedTarget } from './feed-target.ts'

/** The launcher's topic admits events larger than forebay processes, so that they show up as dead letters. */
const messageBytesMax = 4 * 1024 * 1024
const allReplicas = -1
const giveUpMs = 60_000
const leadersMs = 30_000

/** Makes the topic when it is missing. Throws FB_EVENT_LOG_UNREACHABLE. */
export async function createFeedTopic(brokers: readonly string[]): Promise<void> {
  const admin = kafkaClient({ brokers, clientId: 'forebay-launcher' }).admin()
  try {
    await admin.connect()
    await admin.createTopics({
      topics: [
        {
          topic: feedTopic,
          numPartitions: feedPartitions,
          replicationFactor: 1,
          configEntries: [{ name: 'max.message.bytes', value: String(messageBytesMax) }],
        },
      ],
      waitForLeaders: true,
    })
    await untilLed(admin)
  } catch (error) {
    throw kafkaProblem(error, `creating topic ${feedTopic}`, brokers)
  } finally {
    await admin.disconnect()
  }
}

/** A new broker names itself the leader of a partition some moments before it is. */
async function untilLed(admin: Admin): Promise<void> {
  for (const deadlineMs = performance.now() + leadersMs; ;) {
    try {
      await admin.fetchTopicOffsets(feedTopic)
      return
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
      await sleep(100)
    }
  }
}

export class KafkaFeedTarget implements FeedTarget {
  readonly partitions = feedPartitions
  // kafkajs copies what it has grouped for a partition with every further message, so the work grows with the square.
  readonly linesMax = 1500
  readonly #brokers: readonly string[]
  readonly #kafka: Kafka
  #producer: Producer | undefined

  /** Connects to nothing yet. */
  constructor(brokers: readonly string[]) {
    this.#brokers = brokers
    this.#kafka = kafkaClient({ brokers, clientId: 'forebay-feed' })
  }

  async lastLine(partition: number): Promise<number> {
    const cluster = clusterOf(this.#kafka)
    try {
      await cluster.connect()
      await cluster.addTargetTopic(feedTopic)
      return await readLastLine(cluster, partition)
    } catch (error) {
      throw kafkaProblem(error, `reading the end of partition ${partition} of topic ${feedTopic}`, this.#brokers)
    } finally {
      await releaseCluster(cluster)
    }
  }

  async publish(records: readonly (readonly FeedRecord[])[]): Promise<void> {
    const messages = records.flatMap((ofPartition, partition) => ofPartition.map((record) => messageOf(record, partition)))
    try {
      const producer = (this.#producer ??= await this.#connect())
      await producer.send({ topic: feedTopic, messages, acks: allReplicas, compression: CompressionTypes.None })
    } catch (error) {
      await this.#dropProducer()
      throw kafkaProblem(error, `publishing to topic ${feedTopic}`, this.#brokers)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dropProducer()
  }

  async #connect(): Promise<Producer> {
    const retry = { initialRetryTime: 100, maxRetryTime: 1000, multiplier: 1.5, retries: Math.ceil(giveUpMs / 1000) }
    const producer = this.#kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false, retry })
    await producer.connect()
    return producer
  }

  async #dropProducer(): Promise<void> {
    const producer = this.#producer
    this.#producer = undefined
    // Whatever its connections still held is closed with them, and the tail is read after that.
    await producer?.disconnect().catch(() => undefined)
  }
}

function messageOf({ line, symbol, json, timestampMs }: FeedRecord, partition: number) {
  return { partition, key: symbol, value: json, timestamp: String(timestampMs), headers: { line: String(line) } }
}

interface FetchAnswer {
  readonly responses: readonly {
    readonly partitions: readonly { readonly messages: readonly { readonly headers?: Record<string, Buffer | undefined> }[] }[]
  }[]
}

/** The header `line` of the newest event. Fetches with an explicit offset; no consumer group is involved. */
async function readLastLine(cluster: Cluster, partition: number): Promise<number> {
  const [topicOffsets] = await cluster.fetchTopicsOffset([{ topic: feedTopic, partitions: [{ partition }], fromBeginning: false }])
  const endOffset = BigInt(topicOffsets?.partitions[0]?.offset ?? '0')
  if (endOffset === 0n) return 0
  const nodeId = Object.keys(cluster.findLeaderForPartitions(feedTopic, [partition]))[0]
  if (nodeId === undefined) throw new Error(`partition ${partition} has no leader`)
  const broker = await cluster.findBroker({ nodeId })
  const answer: FetchAnswer = await broker.fetch({
    isolationLevel: 0,
    maxWaitTime: 1000,
    minBytes: 1,
    maxBytes: messageBytesMax,
    topics: [{ topic: feedTopic, partitions: [{ partition, fetchOffset: (endOffset - 1n).toString(), maxBytes: messageBytesMax }] }],
  })
  const header = answer.responses[0]?.partitions[0]?.messages.at(-1)?.headers?.['line']
  const line = Number(header?.toString())
  if (!Number.isSafeInteger(line)) throw new Error(`the newest event of partition ${partition} has no header line`)
  return line
}
