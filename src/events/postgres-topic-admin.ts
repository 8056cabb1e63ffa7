/** A topic of the event log in Postgres, read and changed in its tables. */
import type { Pool } from 'pg'
import type { PostgresEventDatabase } from './postgres-event-connection.ts'
import { eventPool, postgresFailure } from './postgres-event-connection.ts'
import { PostgresEventPublisher } from './postgres-event-publisher.ts'
import { createEventTables } from './postgres-event-tables.ts'
import type { FoundTopic, TopicAdmin, TopicChange, WantedTopic } from './topic-settings.ts'
import { partitionsDefault } from './topic-settings.ts'

const columns = { retentionMs: 'retention_ms', retentionEvents: 'retention_events' } as const

export class PostgresTopicAdmin implements TopicAdmin {
  readonly #database: PostgresEventDatabase
  readonly #pool: Pool
  readonly #topic: string

  /** Connects to nothing yet. */
  constructor(database: PostgresEventDatabase, topic: string) {
    this.#database = database
    this.#pool = eventPool({ ...database, connectionsMax: 1 })
    this.#topic = topic
  }

  describe(): Promise<FoundTopic | null> {
    return this.#ask('describing', async () => {
      const made = await this.#pool.query<{ is_made: boolean }>(`select to_regclass('forebay.log_topics') is not null as is_made`)
      if (made.rows[0]?.is_made !== true) return null
      const { rows } = await this.#pool.query<{ partitions: number; retention_ms: string | null; retention_events: string | null }>(
        'select partitions, retention_ms, retention_events from forebay.log_topics where name = $1',
        [this.#topic],
      )
      const [row] = rows
      if (row === undefined) return null
      const limits = { retentionMs: numberOf(row.retention_ms), retentionEvents: numberOf(row.retention_events) }
      return {
        partitions: row.partitions,
        ...limits,
        replication: null,
        minInsyncReplicas: null,
        cleanupPolicy: null,
        retentionBytes: null,
      }
    })
  }

  async create({ partitions = partitionsDefault, replayWindowMs }: WantedTopic): Promise<void> {
    await using publisher = new PostgresEventPublisher({ ...this.#database, connectionsMax: 1 })
    await publisher.createTopic(this.#topic, {
      partitions,
      ...(replayWindowMs === undefined ? {} : { retentionMs: Math.ceil(replayWindowMs * 1.25) }),
    })
  }

  async apply(changes: readonly TopicChange[]): Promise<void> {
    await this.#ask('changing', async () => {
      await createEventTables(this.#pool)
      for (const { setting, value } of changes) {
        if (setting === 'partitions') {
          await this.#pool.query(
            `with grown as (update forebay.log_topics set partitions = $2 where name = $1 and partitions < $2 returning topic)
             insert into forebay.log_partitions (topic, partition) select topic, generate_series(0, $2::int - 1) from grown on conflict do nothing`,
            [this.#topic, value],
          )
        } else if (setting in columns) {
          const column = columns[setting as keyof typeof columns]
          await this.#pool.query(`update forebay.log_topics set ${column} = $2 where name = $1`, [this.#topic, value])
        }
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
  }

  async #ask<T>(doing: string, exchange: () => Promise<T>): Promise<T> {
    try {
      return await exchange()
    } catch (error) {
      throw postgresFailure(error, `${doing} topic ${this.#topic}`)
    }
  }
}

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text)
}
