/**
 * The event log port on Apache Kafka.
 *
 * Job: cursors that fetch explicit offsets from the partitions' leaders (`kafka-cursor.ts`), the ranges of partitions,
 * and floors published as the committed offsets of the group named after the pipeline.
 * Boundary: no consumer group is ever joined. A process that comes, goes or dies therefore disturbs no other, there is
 * no session to wait for, and Kafka never resets or commits a position by itself. Floors are committed as a simple
 * (memberless) consumer does, which any number of nodes may do at any time and lag tools show like any group's.
 *
 * States: *open*, *disposed*. One control connection serves everything but reading; it is made when first needed
 * and made anew after a failure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Broker, Cluster, Kafka } from 'kafkajs'
import { assert, must } from '../assert.ts'
import { ForebayError, serverCodeOf } from '../errors.ts'
import { type EventCursor, type EventLog, type EventRecord, type LogIdentity, nextOffsetAfter, type PartitionRange } from './event-log.ts'
import { clusterOf, type KafkaAddress, kafkaClient, releaseCluster } from './kafka-cluster.ts'
import { KafkaCursor } from './kafka-cursor.ts'
import { kafkaErrorType, kafkaFailure } from './kafka-error.ts'
import { fetchFrom } from './kafka-fetched.ts'
import { portionsOf } from './kafka-portions.ts'
import { leaderEpochIn } from './kafka-record-batch.ts'
import type { PortionLimits } from './kafka-portions.ts'

export interface KafkaEventLogOptions extends KafkaAddress {
  readonly topic: string
  /** The consumer group whose committed offsets show the floors; named after the pipeline, without members. */
  readonly pipelineGroup: string
  /** Most bytes of one fetch from one partition. Default 4 MiB. */
  readonly fetchBytesMax?: number
  /** Most bytes of events that are made of a fetch at a time. Default 2 MiB. */
  readonly inflatedBytesMax?: number
  /** Of a record whose value is larger, or whose key and headers have 64 KiB more, only the beginning is kept. Default 64 MiB. */
  readonly eventBytesMax?: number
}

const fetchBytesMaxDefault = 4 * 1024 * 1024
const inflatedBytesMaxDefault = 2 * 1024 * 1024
const eventBytesMaxDefault = 64 * 1024 * 1024
/** Of key, headers and the record's own fields. */
const besideValueBytesMax = 64 * 1024
/** A commit outside of any generation of the group. */
const noGeneration = -1
const noMember = ''
/** A coordinator that was just elected, or the very first commit of a cluster, takes a moment. */
const coordinatorMoves: ReadonlySet<string> = new Set([
  'GROUP_LOAD_IN_PROGRESS',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR_FOR_GROUP',
])
const commitAttemptsMax = 10
const commitRetryMs = 200

/** How the protocol numbers topics among what has a configuration. */
const topicResource = 2

/** A call of a broker that kafkajs has and does not declare. */
interface DescribingBroker {
  describeConfigs(request: {
    resources: readonly { type: number; name: string; configNames: readonly string[] }[]
  }): Promise<{ resources: readonly { configEntries: readonly { configName: string; configValue: string | null }[] }[] }>
}

/** Another one. */
interface CoordinatedBroker {
  findGroupCoordinator(request: { groupId: string; coordinatorType: number }): Promise<unknown>
}

type ClusterMetadata = Awaited<ReturnType<Broker['metadata']>> & { readonly clusterId?: string | null }

export class KafkaEventLog implements EventLog {
  readonly #options: KafkaEventLogOptions
  readonly #kafka: Kafka
  readonly #cursors = new Set<KafkaCursor>()
  readonly #limits: PortionLimits
  #control: Promise<Cluster> | null = null
  #isDisposed = false

  /** Connects to nothing yet. */
  constructor(options: KafkaEventLogOptions) {
    this.#options = options
    this.#kafka = kafkaClient(options)
    const { inflatedBytesMax = inflatedBytesMaxDefault, eventBytesMax = eventBytesMaxDefault } = options
    this.#limits = { portionBytesMax: inflatedBytesMax, recordBytesMax: eventBytesMax + besideValueBytesMax }
  }

  get heldBytes(): number {
    return [...this.#cursors].reduce((sum, cursor) => sum + cursor.heldBytes, 0)
  }

  identity(): Promise<LogIdentity> {
    const { topic } = this.#options
    return this.#ask(`asking for topic ${topic}`, async (cluster) => {
      const nodeId = must(Object.keys(cluster.findLeaderForPartitions(topic, [0]))[0], `the leader of partition 0 of ${topic}`)
      const broker = await cluster.findBroker({ nodeId })
      const metadata: ClusterMetadata = await broker.metadata([topic])
      const found = must(
        metadata.topicMetadata.find((t) => t.topic === topic),
        `the metadata of topic ${topic}`,
      )
      // kafkajs speaks metadata up to version 6; topic ids begin with version 10.
      return { cluster: metadata.clusterId ?? '', topicId: null, partitions: found.partitionMetadata.length }
    })
  }

  /** `endOffset` is the last stable offset: what a reader can reach, so an open transaction does not keep a drain waiting. */
  range(partition: number): Promise<PartitionRange> {
    return this.#ask(`asking for the range of partition ${partition} of topic ${this.#options.topic}`, async (cluster) => {
      // The start first: it only grows, so a range never comes out with its start above its end.
      const startOffset = await this.#listed(cluster, partition, { fromBeginning: true })
      const endOffset = await this.#listed(cluster, partition, { fromBeginning: false })
      return { startOffset, endOffset }
    })
  }

  offsetAt(partition: number, timestampMs: number): Promise<bigint> {
    return this.#ask(`asking for a time in partition ${partition} of topic ${this.#options.topic}`, async (cluster) => {
      const endOffset = await this.#listed(cluster, partition, { fromBeginning: false })
      const found = await this.#listed(cluster, partition, { fromTimestamp: Math.max(0, Math.ceil(timestampMs)) })
      return found < 0n ? endOffset : found
    })
  }

  eventAt(partition: number, offset: bigint): Promise<EventRecord | undefined> {
    const { topic } = this.#options
    return this.#ask(`asking for offset ${offset} of partition ${partition} of topic ${topic}`, async (cluster) => {
      try {
        // A broker answers with at least the record batch that holds the offset, however little is asked for.
        const fetched = await fetchFrom(cluster, { topic, partition, nextOffset: offset, bytesMax: 1, waitMs: 0 })
        if (fetched === undefined) return undefined
        for await (const { events, lastOffset } of portionsOf(fetched, offset, this.#limits, `partition ${partition} of topic ${topic}`)) {
          if (lastOffset >= offset) return events.find((event) => event.offset === offset)
        }
        return undefined
      } catch (error) {
        if (kafkaErrorType(error) === 'OFFSET_OUT_OF_RANGE') return undefined
        throw error
      }
    })
  }

  leaderEpochAt(partition: number, offset: bigint): Promise<number | undefined> {
    const { topic } = this.#options
    return this.#ask(`asking for the leader epoch at offset ${offset} of partition ${partition} of topic ${topic}`, async (cluster) => {
      try {
        const fetched = await fetchFrom(cluster, { topic, partition, nextOffset: offset, bytesMax: 1, waitMs: 0 })
        return fetched === undefined ? undefined : leaderEpochIn(fetched.records, offset)
      } catch (error) {
        if (kafkaErrorType(error) === 'OFFSET_OUT_OF_RANGE') return undefined
        throw error
      }
    })
  }

  retentionMs(): Promise<number | null> {
    const { topic } = this.#options
    return this.#ask(`asking for the retention of topic ${topic}`, async (cluster) => {
      const broker = (await cluster.findControllerBroker()) as Broker & DescribingBroker
      const { resources } = await broker.describeConfigs({
        resources: [{ type: topicResource, name: topic, configNames: ['retention.ms'] }],
      })
      const value = Number(resources[0]?.configEntries.find(({ configName }) => configName === 'retention.ms')?.configValue ?? -1)
      return value < 0 ? null : value
    })
  }

  /** Never waits for Kafka: whether it answers and still holds `nextOffset` shows at the first poll. */
  open(partition: number, nextOffset: bigint): Promise<EventCursor> {
    assert(!this.#isDisposed, 'a disposed event log opens no cursor')
    const { topic, brokers, fetchBytesMax = fetchBytesMaxDefault } = this.#options
    const onClose = () => this.#cursors.delete(cursor)
    const cursor = new KafkaCursor({
      kafka: this.#kafka,
      brokers,
      topic,
      partition,
      nextOffset,
      fetchBytesMax,
      limits: this.#limits,
      onClose,
    })
    this.#cursors.add(cursor)
    return Promise.resolve(cursor)
  }

  async commit(floors: ReadonlyMap<number, bigint>): Promise<void> {
    if (floors.size === 0) return
    const { topic, pipelineGroup: groupId } = this.#options
    const partitions = [...floors].map(([partition, floor]) => ({ partition, offset: nextOffsetAfter(floor).toString() }))
    await this.#ask(`committing floors to group ${groupId}`, async (cluster) => {
      const commit = { groupId, groupGenerationId: noGeneration, memberId: noMember, topics: [{ topic, partitions }] }
      for (let attempt = 1; ; attempt++) {
        try {
          const coordinator = await coordinatorOf(cluster, groupId)
          await coordinator.offsetCommit(commit)
          return
        } catch (error) {
          const type = kafkaErrorType(error)
          if (type === 'UNKNOWN_MEMBER_ID') throw groupTaken(groupId, error)
          if (type === null || !coordinatorMoves.has(type) || attempt >= commitAttemptsMax) throw error
        }
        await sleep(commitRetryMs)
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    await Promise.all([...this.#cursors].map((cursor) => cursor.close()))
    await this.#release(this.#control)
  }

  async #listed(
    cluster: Cluster,
    partition: number,
    at: { fromBeginning: boolean; fromTimestamp?: never } | { fromTimestamp: number; fromBeginning?: never },
  ): Promise<bigint> {
    const { topic } = this.#options
    // What kafkajs remembers of the topic may be older than the partition, and it asks by itself only when it connects.
    if (!isKnown(cluster, topic, partition)) await cluster.refreshMetadata()
    const [found] = await cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], ...at }])
    const offset = found?.partitions[0]?.offset
    if (offset === undefined) {
      throw new ForebayError('FB_TOPIC_MISSING', `topic ${topic} has no partition ${partition}; check its number of partitions`)
    }
    return BigInt(offset)
  }

  /** Runs one exchange on the control connection; a failure may be an old connection's or an old leader's, so a fresh one is tried once. */
  async #ask<T>(doing: string, exchange: (cluster: Cluster) => Promise<T>): Promise<T> {
    assert(!this.#isDisposed, 'a disposed event log is not asked')
    const isFresh = this.#control === null
    try {
      return await this.#exchange(exchange)
    } catch (error) {
      if (isFresh || error instanceof ForebayError || this.#isDisposed) throw kafkaFailure(error, doing, this.#options.brokers)
    }
    try {
      return await this.#exchange(exchange)
    } catch (error) {
      throw kafkaFailure(error, doing, this.#options.brokers)
    }
  }

  async #exchange<T>(exchange: (cluster: Cluster) => Promise<T>): Promise<T> {
    const control = (this.#control ??= this.#connect())
    try {
      return await exchange(await control)
    } catch (error) {
      if (this.#control === control) {
        this.#control = null
        void this.#release(control)
      }
      throw error
    }
  }

  async #connect(): Promise<Cluster> {
    const cluster = clusterOf(this.#kafka)
    try {
      await cluster.connect()
      await cluster.addTargetTopic(this.#options.topic)
      return cluster
    } catch (error) {
      void releaseCluster(cluster)
      throw error
    }
  }

  async #release(control: Promise<Cluster> | null): Promise<void> {
    if (control === null) return
    const cluster = await control.catch(() => null)
    if (cluster !== null) await releaseCluster(cluster)
  }
}

function isKnown(cluster: Cluster, topic: string, partition: number): boolean {
  return Object.keys(cluster.findLeaderForPartitions(topic, [partition])).length > 0
}

/** kafkajs says only that it found none; whoever is asked directly says why. */
async function coordinatorOf(cluster: Cluster, groupId: string): Promise<Broker> {
  try {
    return await cluster.findGroupCoordinator({ groupId })
  } catch (error) {
    if (serverCodeOf(error) !== 'KafkaJSGroupCoordinatorNotFound') throw error
    const broker = (await cluster.findControllerBroker()) as Broker & CoordinatedBroker
    await broker.findGroupCoordinator({ groupId, coordinatorType: 0 })
    throw error
  }
}

function groupTaken(groupId: string, cause: unknown): ForebayError {
  const message = `the floors cannot be committed: somebody else's consumers are members of group ${groupId}; give the pipeline a name that no consumer group has`
  return new ForebayError('FB_EVENT_LOG_UNREACHABLE', message, { cause })
}
