/**
 * The event log port on tables of Postgres: the standalone default, for people without Kafka.
 *
 * Job: cursors over `forebay.log_events`, ranges, and floors kept in `forebay.log_floors`.
 * Boundary: reads and commits floors; `PostgresEventPublisher` creates topics, publishes and trims.
 * States: *open*, *disposed*.
 */
import { assert } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import { headersOfTexts } from '../pipeline/event-headers.ts'
import type { EventCursor, EventLog, EventRecord, LogIdentity, PartitionRange } from './event-log.ts'
import { PostgresCursor } from './postgres-cursor.ts'
import { eventPool, type PostgresEventDatabase, postgresFailure } from './postgres-event-connection.ts'
import { PostgresEventNotices } from './postgres-event-notices.ts'
import { clampedTimeMs } from './record-time.ts'
import { findTopic, type PostgresTopic } from './postgres-event-tables.ts'

export interface PostgresEventLogOptions extends PostgresEventDatabase {
  readonly topic: string
  /** The name under which floors are kept; the pipeline's. */
  readonly pipelineGroup: string
  /** Most events of one batch. Default 5,000. */
  readonly fetchEventsMax?: number
  /** A batch ends with the event that reaches this many bytes of keys and values. Default 4 MiB. */
  readonly fetchBytesMax?: number
}

const fetchEventsMaxDefault = 5_000
const fetchBytesMaxDefault = 4 * 1024 * 1024

export class PostgresEventLog implements EventLog {
  readonly #options: PostgresEventLogOptions
  readonly #pool
  readonly #cursors = new Set<PostgresCursor>()
  #notices: PostgresEventNotices | null = null
  #topic: PostgresTopic | null = null
  #isDisposed = false

  /** Connects to nothing yet. */
  constructor(options: PostgresEventLogOptions) {
    this.#options = options
    this.#pool = eventPool(options)
  }

  get heldBytes(): number {
    return [...this.#cursors].reduce((sum, cursor) => sum + cursor.heldBytes, 0)
  }

  async identity(): Promise<LogIdentity> {
    // Asked anew each time: a topic made anew under its old name must show.
    this.#topic = null
    const { cluster, topicId, partitions } = await this.#ask('asking for the topic', () => this.#found())
    return { cluster, topicId, partitions }
  }

  range(partition: number): Promise<PartitionRange> {
    return this.#ask(`asking for the range of partition ${partition}`, async () => {
      const { topic } = await this.#found()
      const { rows } = await this.#pool.query<{ start_offset: string; next_offset: string }>(
        'select start_offset, next_offset from forebay.log_partitions where topic = $1 and partition = $2',
        [topic, partition],
      )
      const row = rows[0] ?? this.#partitionMissing(partition)
      return { startOffset: BigInt(row.start_offset), endOffset: BigInt(row.next_offset) }
    })
  }

  offsetAt(partition: number, timestampMs: number): Promise<bigint> {
    return this.#ask(`asking for a time in partition ${partition}`, async () => {
      const { topic } = await this.#found()
      const { rows } = await this.#pool.query<{ found: string }>(
        `select coalesce((
           select min(event_offset) from forebay.log_events e
           where e.topic = p.topic and e.partition = p.partition and timestamp_ms >= $3
         ), next_offset) as found
         from forebay.log_partitions p where topic = $1 and partition = $2`,
        [topic, partition, Math.ceil(timestampMs)],
      )
      const row = rows[0] ?? this.#partitionMissing(partition)
      return BigInt(row.found)
    })
  }

  eventAt(partition: number, offset: bigint): Promise<EventRecord | undefined> {
    return this.#ask(`asking for offset ${offset} of partition ${partition}`, async () => {
      const { topic } = await this.#found()
      const { rows } = await this.#pool.query<{
        timestamp_ms: string
        key: Buffer | null
        value: Buffer | null
        headers: Record<string, string> | null
      }>('select timestamp_ms, key, value, headers from forebay.log_events where topic = $1 and partition = $2 and event_offset = $3', [
        topic,
        partition,
        offset.toString(),
      ])
      const row = rows[0]
      if (row === undefined) return undefined
      const { timestamp_ms, key, value, headers } = row
      return { offset, timestampMs: clampedTimeMs(Number(timestamp_ms)), key, value, headers: headersOfTexts(headers) }
    })
  }

  retentionMs(): Promise<number | null> {
    return this.#ask('asking for the retention', async () => {
      const { topic } = await this.#found()
      const { rows } = await this.#pool.query<{ ms: string | null }>('select retention_ms as ms from forebay.log_topics where topic = $1', [
        topic,
      ])
      const ms = rows[0]?.ms ?? null
      return ms === null ? null : Number(ms)
    })
  }

  /** Never waits for the database: whether it answers and still holds `nextOffset` shows at the first poll. */
  open(partition: number, nextOffset: bigint): Promise<EventCursor> {
    assert(!this.#isDisposed, 'a disposed event log opens no cursor')
    const { topic, url, fetchEventsMax = fetchEventsMaxDefault, fetchBytesMax = fetchBytesMaxDefault } = this.#options
    this.#notices ??= new PostgresEventNotices(url)
    const cursor: PostgresCursor = new PostgresCursor({
      pool: this.#pool,
      notices: this.#notices,
      topicNumber: async () => (await this.#found()).topic,
      topic,
      partition,
      nextOffset,
      fetchEventsMax,
      fetchBytesMax,
      onClose: () => this.#cursors.delete(cursor),
    })
    this.#cursors.add(cursor)
    return Promise.resolve(cursor)
  }

  async commit(floors: ReadonlyMap<number, bigint>): Promise<void> {
    if (floors.size === 0) return
    await this.#ask('committing floors', async () => {
      const { topic } = await this.#found()
      // In one order always, so that two committers never wait for each other crosswise.
      const sorted = [...floors].sort(([a], [b]) => a - b)
      await this.#pool.query(
        `insert into forebay.log_floors (topic, pipeline_group, partition, floor)
         select $1, $2, partition, floor from unnest($3::int[], $4::bigint[]) as f (partition, floor)
         on conflict (topic, pipeline_group, partition) do update set floor = excluded.floor, committed_at = now()`,
        [topic, this.#options.pipelineGroup, sorted.map(([partition]) => partition), sorted.map(([, floor]) => floor.toString())],
      )
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return
    this.#isDisposed = true
    await Promise.all([...this.#cursors].map((cursor) => cursor.close()))
    await this.#notices?.[Symbol.asyncDispose]()
    await this.#pool.end()
  }

  async #found(): Promise<PostgresTopic> {
    const { topic } = this.#options
    this.#topic ??= await findTopic(this.#pool, topic)
    if (this.#topic === null)
      throw new ForebayError('FB_TOPIC_MISSING', `the event log has no topic ${topic}; create it, or correct the topic's name`)
    return this.#topic
  }

  #partitionMissing(partition: number): never {
    const message = `topic ${this.#options.topic} has no partition ${partition}; check its number of partitions`
    throw new ForebayError('FB_TOPIC_MISSING', message)
  }

  async #ask<T>(doing: string, exchange: () => Promise<T>): Promise<T> {
    assert(!this.#isDisposed, 'a disposed event log is not asked')
    try {
      return await exchange()
    } catch (error) {
      throw postgresFailure(error, `${doing} (topic ${this.#options.topic})`)
    }
  }
}
