/**
 * The writing side of the event log in Postgres: topics, events, retention.
 *
 * Invariant: offsets of a partition are assigned under its row lock and committed with the events in one statement,
 * so a reader never sees an offset whose predecessor becomes visible later.
 */
import type { Pool } from 'pg'
import { must } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import type { EventRecord } from './event-log.ts'
import { eventPool, type PostgresEventDatabase, postgresFailure } from './postgres-event-connection.ts'
import { eventChannel } from './postgres-event-notices.ts'
import { createEventTables, findTopic } from './postgres-event-tables.ts'

export interface EventToPublish {
  readonly timestampMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, string>>
}

/** An event as it was published, with its headers. */
export interface PublishedEvent extends Omit<EventRecord, 'headers'> {
  readonly headers: Readonly<Record<string, string>>
}

export interface PostgresTopicOptions {
  readonly partitions: number
  /** Events older than this are trimmed, by the database's clock. Default: never. */
  readonly retentionMs?: number
  /** At most this many of the newest offsets of a partition are kept. Default: all. */
  readonly retentionEvents?: number
}

/** Most events that one trim deletes from one partition; the rest waits for the next. */
const trimEventsMax = 50_000

const publishEvents = `
with slot as (
  update forebay.log_partitions set next_offset = next_offset + $3
  where topic = $1 and partition = $2
  returning next_offset - $3 as first_offset
), written as (
  insert into forebay.log_events (topic, partition, event_offset, timestamp_ms, key, value, headers)
  select $1, $2, first_offset + n - 1, timestamp_ms, key, value, headers::jsonb
  from slot, unnest($4::bigint[], $5::bytea[], $6::bytea[], $7::text[]) with ordinality as e (timestamp_ms, key, value, headers, n)
)
select first_offset, pg_notify('${eventChannel}', $1::text || ':' || $2::text) from slot`

const trimPartition = `
with bound as (
  select p.topic, p.partition, least(
    p.start_offset + ${trimEventsMax},
    greatest(
      p.start_offset,
      p.next_offset - t.retention_events,
      case when t.retention_ms is not null then coalesce((
        select min(event_offset) from forebay.log_events e
        where e.topic = p.topic and e.partition = p.partition
          and timestamp_ms >= extract(epoch from clock_timestamp()) * 1000 - t.retention_ms
      ), p.next_offset) end
    )
  ) as start_offset
  from forebay.log_partitions p join forebay.log_topics t using (topic)
  where p.topic = $1 and p.partition = $2
  for update of p
), moved as (
  update forebay.log_partitions p set start_offset = bound.start_offset from bound
  where p.topic = bound.topic and p.partition = bound.partition and p.start_offset < bound.start_offset
  returning p.topic, p.partition, p.start_offset
)
delete from forebay.log_events e using moved
where e.topic = moved.topic and e.partition = moved.partition and e.event_offset < moved.start_offset`

export class PostgresEventPublisher {
  readonly #pool: Pool
  readonly #topics = new Map<string, { topic: number; partitions: number }>()

  /** Connects to nothing yet. */
  constructor(database: PostgresEventDatabase) {
    this.#pool = eventPool(database)
  }

  /** Creates the tables and the topic where they are missing; a topic that is there stays as it is. Throws FB_CONFIG when it has another number of partitions. */
  async createTopic(name: string, options: PostgresTopicOptions): Promise<void> {
    const { partitions, retentionMs = null, retentionEvents = null } = options
    await this.#ask(`creating topic ${name}`, async () => {
      await createEventTables(this.#pool)
      await this.#pool.query(
        `with made as (
           insert into forebay.log_topics (name, partitions, retention_ms, retention_events) values ($1, $2, $3, $4)
           on conflict (name) do nothing returning topic, partitions
         )
         insert into forebay.log_partitions (topic, partition) select topic, generate_series(0, partitions - 1) from made`,
        [name, partitions, retentionMs, retentionEvents],
      )
      const found = must(await findTopic(this.#pool, name), `the topic ${name}`)
      if (found.partitions !== partitions) {
        throw new ForebayError(
          'FB_CONFIG',
          `topic ${name} has ${found.partitions} partitions, not ${partitions}; say the number it has, or choose another name`,
        )
      }
    })
  }

  /** Drops the topic with its events and floors; nothing when there is none. */
  async dropTopic(name: string): Promise<void> {
    this.#topics.delete(name)
    await this.#ask(`dropping topic ${name}`, async () => {
      await createEventTables(this.#pool)
      await this.#pool.query(
        `with gone as (delete from forebay.log_topics where name = $1 returning topic)
         delete from forebay.log_events e using gone where e.topic = gone.topic`,
        [name],
      )
    })
  }

  /**
   * Appends the events in this order and returns the offset of the first. All or none; after FB_EVENT_LOG_UNREACHABLE
   * the outcome is unknown: read `lastRecord` before publishing again.
   */
  async publish(name: string, partition: number, events: readonly EventToPublish[]): Promise<bigint> {
    if (events.length === 0) throw new ForebayError('FB_INTERNAL', 'at least one event is published at a time')
    return this.#ask(`publishing to partition ${partition} of topic ${name}`, async () => {
      const { topic } = await this.#topic(name)
      const values = [
        topic,
        partition,
        events.length,
        events.map(({ timestampMs }) => Math.trunc(timestampMs)),
        events.map(({ key }) => key),
        events.map(({ value }) => value),
        events.map(({ headers }) => (headers === undefined ? null : JSON.stringify(headers))),
      ]
      const { rows } = await this.#pool.query<{ first_offset: string }>({ name: 'forebay_log_publish', text: publishEvents, values })
      const row = rows[0]
      if (row === undefined) {
        this.#topics.delete(name)
        throw new ForebayError('FB_TOPIC_MISSING', `topic ${name} has no partition ${partition}; check its number of partitions`)
      }
      return BigInt(row.first_offset)
    })
  }

  /** The newest event of a partition, with its headers, or null when there is none: where a feed goes on. */
  async lastRecord(name: string, partition: number): Promise<PublishedEvent | null> {
    return this.#ask(`reading the end of partition ${partition} of topic ${name}`, async () => {
      const { topic } = await this.#topic(name)
      const { rows } = await this.#pool.query<{
        event_offset: string
        timestamp_ms: string
        key: Buffer | null
        value: Buffer | null
        headers: Record<string, string> | null
      }>(
        `select event_offset, timestamp_ms, key, value, headers from forebay.log_events
         where topic = $1 and partition = $2 order by event_offset desc limit 1`,
        [topic, partition],
      )
      const row = rows[0]
      if (row === undefined) return null
      const { event_offset, timestamp_ms, key, value, headers } = row
      return { offset: BigInt(event_offset), timestampMs: Number(timestamp_ms), key, value, headers: headers ?? {} }
    })
  }

  /** Deletes what the topic's retention no longer keeps, a bounded number of events a call, and returns how many; to be called on a timer. */
  async trim(name: string): Promise<number> {
    return this.#ask(`trimming topic ${name}`, async () => {
      const { topic, partitions } = await this.#topic(name)
      let count = 0
      for (let partition = 0; partition < partitions; partition++) {
        count += (await this.#pool.query(trimPartition, [topic, partition])).rowCount ?? 0
      }
      return count
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }

  async #topic(name: string): Promise<{ topic: number; partitions: number }> {
    const known = this.#topics.get(name)
    if (known !== undefined) return known
    const found = await findTopic(this.#pool, name)
    if (found === null) throw new ForebayError('FB_TOPIC_MISSING', `the event log has no topic ${name}; create it first`)
    this.#topics.set(name, found)
    return found
  }

  async #ask<T>(doing: string, exchange: () => Promise<T>): Promise<T> {
    try {
      return await exchange()
    } catch (error) {
      throw postgresFailure(error, doing)
    }
  }
}
