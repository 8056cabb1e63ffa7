/** A topic of Kafka, read and changed through the admin calls of kafkajs. One connection, made when first needed. */
import type { Admin } from 'kafkajs'
import { ForebayError, sentenceOf } from '../errors.ts'
import type { KafkaAddress } from './kafka-cluster.ts'
import { kafkaClient } from './kafka-cluster.ts'
import { kafkaErrorType, kafkaProblem } from './kafka-error.ts'
import type { FoundTopic, TopicAdmin, TopicChange, WantedTopic } from './topic-settings.ts'
import { partitionsDefault } from './topic-settings.ts'

/** How the protocol numbers topics among what has a configuration, and values set for one topic among their sources. */
const topicResource = 2
const setForTopic = 1
const names = {
  cleanupPolicy: 'cleanup.policy',
  retentionMs: 'retention.ms',
  retentionBytes: 'retention.bytes',
  minInsyncReplicas: 'min.insync.replicas',
} as const

interface Entry {
  readonly configName: string
  readonly configValue: string
  readonly configSource: number
}

export class KafkaTopicAdmin implements TopicAdmin {
  readonly #address: KafkaAddress
  readonly #topic: string
  #admin: Admin | undefined

  /** Connects to nothing yet. */
  constructor(address: KafkaAddress, topic: string) {
    this.#address = address
    this.#topic = topic
  }

  describe(): Promise<FoundTopic | null> {
    return this.#ask('describing', async (admin) => {
      if (!(await admin.listTopics()).includes(this.#topic)) return null
      const { topics } = await admin.fetchTopicMetadata({ topics: [this.#topic] })
      const partitions = topics[0]?.partitions ?? []
      const entries = await this.#entries(admin)
      const number = (name: string) => {
        const value = Number(entries.find(({ configName }) => configName === name)?.configValue ?? -1)
        return value < 0 ? null : value
      }
      return {
        partitions: partitions.length,
        replication: partitions.length === 0 ? null : Math.min(...partitions.map(({ replicas }) => replicas.length)),
        minInsyncReplicas: number(names.minInsyncReplicas),
        cleanupPolicy: entries.find(({ configName }) => configName === names.cleanupPolicy)?.configValue ?? null,
        retentionMs: number(names.retentionMs),
        retentionBytes: number(names.retentionBytes),
        retentionEvents: null,
      }
    })
  }

  async create({ partitions = partitionsDefault, replication, replayWindowMs, minInsyncReplicas }: WantedTopic): Promise<void> {
    const configEntries = [
      { name: names.cleanupPolicy, value: 'delete' },
      ...(replayWindowMs === undefined ? [] : [{ name: names.retentionMs, value: String(Math.ceil(replayWindowMs * 1.25)) }]),
      ...(minInsyncReplicas === undefined ? [] : [{ name: names.minInsyncReplicas, value: String(minInsyncReplicas) }]),
    ]
    await this.#ask('creating', (admin) =>
      admin.createTopics({
        waitForLeaders: true,
        topics: [
          {
            topic: this.#topic,
            numPartitions: partitions,
            ...(replication === undefined ? {} : { replicationFactor: replication }),
            configEntries,
          },
        ],
      }),
    )
  }

  async apply(changes: readonly TopicChange[]): Promise<void> {
    await this.#ask('changing', async (admin) => {
      const count = changes.find(({ setting }) => setting === 'partitions')?.value
      if (typeof count === 'number') await admin.createPartitions({ topicPartitions: [{ topic: this.#topic, count }] })
      const wanted = new Map(
        changes.flatMap(({ setting, value }) =>
          setting in names ? [[names[setting as keyof typeof names] as string, String(value ?? -1)]] : [],
        ),
      )
      if (wanted.size === 0) return
      // This call replaces all that is set for the topic, so what is to stay is said again.
      const kept = (await this.#entries(admin)).filter(
        ({ configSource, configName }) => configSource === setForTopic && !wanted.has(configName),
      )
      const configEntries = [
        ...kept.map(({ configName, configValue }) => ({ name: configName, value: configValue })),
        ...[...wanted].map(([name, value]) => ({ name, value })),
      ]
      await admin.alterConfigs({ validateOnly: false, resources: [{ type: topicResource, name: this.#topic, configEntries }] })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#admin?.disconnect().catch(() => undefined)
  }

  async #entries(admin: Admin): Promise<readonly Entry[]> {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: topicResource, name: this.#topic }] })
    return (resources[0]?.configEntries ?? []) as unknown as readonly Entry[]
  }

  async #ask<T>(doing: string, exchange: (admin: Admin) => Promise<T>): Promise<T> {
    const what = `${doing} topic ${this.#topic}`
    try {
      if (this.#admin === undefined) {
        const admin = kafkaClient(this.#address).admin()
        await admin.connect()
        this.#admin = admin
      }
      return await exchange(this.#admin)
    } catch (error) {
      if (this.#admin === undefined || kafkaErrorType(error) === null) throw kafkaProblem(error, what, this.#address.brokers)
      throw new ForebayError('FB_CONFIG', `Kafka refused ${what}: ${sentenceOf(error)}`, { cause: error })
    }
  }
}
