import { Kafka, logLevel, type Producer } from 'kafkajs'
import pg from 'pg'
import { floorBefore } from '../../src/events/event-log.ts'
import { KafkaEventLog } from '../../src/events/kafka-event-log.ts'
import { PostgresEventLog } from '../../src/events/postgres-event-log.ts'
import { PostgresEventPublisher } from '../../src/events/postgres-event-publisher.ts'
import type { EventLogHarness } from './event-log.contract.ts'

const partitions = 4
const pipelineGroup = 'contract'

/** The contract's harness on a running broker: gaps are aborted transactions. */
export async function kafkaHarness(brokers: string[], topic: string): Promise<EventLogHarness & { kafka: Kafka }> {
  const kafka = new Kafka({ brokers, clientId: 'contract', logLevel: logLevel.NOTHING })
  const admin = kafka.admin()
  await admin.connect()
  // The contract's timestamps are of 1970: a broker's own retention would delete its events at once.
  const configEntries = [{ name: 'retention.ms', value: '-1' }]
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }], waitForLeaders: true })
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const transactional: Producer = kafka.producer({ transactionalId: `${topic}-gaps`, maxInFlightRequests: 1, idempotent: true })
  await transactional.connect()
  const log = new KafkaEventLog({ brokers, clientId: 'contract', topic, pipelineGroup, fetchBytesMax: 4_096 })
  return {
    kafka,
    log,
    partitions,
    async publish(partition, values, fromMs) {
      const messages = values.map((value, n) => ({ value, partition, timestamp: String(fromMs + n), headers: { line: value } }))
      await producer.send({ topic, messages })
    },
    async leaveGap(partition) {
      const before = (await log.range(partition)).endOffset
      const transaction = await transactional.transaction()
      await transaction.send({ topic, messages: [1, 2, 3].map((n) => ({ value: `aborted${n}`, partition, timestamp: '2000' })) })
      await transaction.abort()
      // The marker is written after the abort is acknowledged.
      while ((await log.range(partition)).endOffset < before + 4n) await new Promise((resolve) => setTimeout(resolve, 20))
    },
    async deleteBelow(partition, offset) {
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: offset.toString() }] })
    },
    async committed(partition) {
      const [found] = await admin.fetchOffsets({ groupId: pipelineGroup, topics: [topic] })
      const offset = BigInt(found?.partitions.find((p) => p.partition === partition)?.offset ?? '-1')
      return offset < 0n ? null : floorBefore(offset)
    },
    async stop() {
      await log[Symbol.asyncDispose]()
      await Promise.all([producer.disconnect(), transactional.disconnect(), admin.disconnect()])
    },
  }
}

/** The contract's harness on a running database: gaps are offsets that were handed out without events. */
export async function postgresHarness(url: string, topic: string): Promise<EventLogHarness & { publisher: PostgresEventPublisher }> {
  const publisher = new PostgresEventPublisher({ url })
  await publisher.createTopic(topic, { partitions })
  const log = new PostgresEventLog({ url, topic, pipelineGroup, fetchEventsMax: 97 })
  const pool = new pg.Pool({ connectionString: url })
  const inTopic = 'topic = (select topic from forebay.log_topics where name = $1) and partition = $2'
  return {
    publisher,
    log,
    partitions,
    async publish(partition, values, fromMs) {
      const events = values.map((value, n) => ({ timestampMs: fromMs + n, key: null, value: Buffer.from(value), headers: { line: value } }))
      await publisher.publish(topic, partition, events)
    },
    async leaveGap(partition) {
      await pool.query(`update forebay.log_partitions set next_offset = next_offset + 4 where ${inTopic}`, [topic, partition])
    },
    async deleteBelow(partition, offset) {
      await pool.query(`update forebay.log_partitions set start_offset = $3 where ${inTopic}`, [topic, partition, offset.toString()])
      await pool.query(`delete from forebay.log_events where ${inTopic} and event_offset < $3`, [topic, partition, offset.toString()])
    },
    async committed(partition) {
      const found = await pool.query<{ floor: string }>(`select floor from forebay.log_floors where ${inTopic} and pipeline_group = $3`, [
        topic,
        partition,
        pipelineGroup,
      ])
      const floor = found.rows[0]?.floor
      return floor === undefined ? null : BigInt(floor)
    },
    async stop() {
      await log[Symbol.asyncDispose]()
      await Promise.all([publisher[Symbol.asyncDispose](), pool.end()])
    },
  }
}
