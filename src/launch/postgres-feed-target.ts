import { PostgresEventPublisher } from '../events/postgres-event-publisher.ts'
import { ForebayError } from '../errors.ts'
import { feedPartitions, feedTopic, type FeedRecord, type FeedTarget } from './feed-target.ts'

/** Publishes a feed to the event log in Postgres. */
export class PostgresFeedTarget implements FeedTarget {
  readonly partitions = feedPartitions
  readonly linesMax = 4000
  readonly #publisher: PostgresEventPublisher

  /** Connects to nothing yet. */
  constructor(url: string) {
    this.#publisher = new PostgresEventPublisher({ url })
  }

  /** Makes the topic when it is missing; at most `retentionEvents` events of a partition are kept. */
  async createTopic(retentionEvents: number): Promise<void> {
    await this.#publisher.createTopic(feedTopic, { partitions: feedPartitions, retentionEvents })
  }

  /** Deletes what the topic does not keep; to be called now and then. */
  async trim(): Promise<void> {
    await this.#publisher.trim(feedTopic)
  }

  async lastLine(partition: number): Promise<number> {
    const last = await this.#publisher.lastRecord(feedTopic, partition)
    if (last === null) return 0
    const line = Number(last.headers['line'])
    if (!Number.isSafeInteger(line))
      throw new ForebayError(
        'FB_FEED',
        `The newest event of partition ${partition} of topic ${feedTopic} has no header \`line\`: something else wrote to it; start with --fresh.`,
      )
    return line
  }

  async publish(records: readonly (readonly FeedRecord[])[]): Promise<void> {
    await Promise.all(
      records.map(async (ofPartition, partition) => {
        if (ofPartition.length > 0) await this.#publisher.publish(feedTopic, partition, ofPartition.map(eventOf))
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#publisher[Symbol.asyncDispose]()
  }
}

function eventOf({ line, symbol, json, timestampMs }: FeedRecord) {
  return { timestampMs, key: Buffer.from(symbol), value: Buffer.from(json), headers: { line: String(line) } }
}
