/**
 * The event log as a node uses it, with every call watched: reading under `fetch`, the ends under `log-end`. It changes nothing.
 */
import type { EventBatch, EventCursor, EventLog, EventRecord, LogIdentity, PartitionRange } from '../events/event-log.ts'
import type { TroubleWatch } from '../troubles.ts'

export class WatchedEventLog implements EventLog {
  readonly #log: EventLog
  readonly #troubles: TroubleWatch
  readonly retentionMs?: () => Promise<number | null>
  readonly leaderEpochAt?: (partition: number, offset: bigint) => Promise<number | undefined>

  constructor(log: EventLog, troubles: TroubleWatch) {
    this.#log = log
    this.#troubles = troubles
    if (log.leaderEpochAt !== undefined)
      this.leaderEpochAt = (partition, offset) =>
        troubles.watch('log-look', placeOf(partition), () => log.leaderEpochAt!(partition, offset))
    if (log.retentionMs !== undefined) this.retentionMs = () => troubles.watch('log-look', 'retention', () => log.retentionMs!())
  }

  get heldBytes(): number {
    return this.#log.heldBytes ?? 0
  }

  identity(): Promise<LogIdentity> {
    return this.#troubles.watch('log-end', 'topic', () => this.#log.identity())
  }

  range(partition: number): Promise<PartitionRange> {
    return this.#troubles.watch('log-end', placeOf(partition), () => this.#log.range(partition))
  }

  offsetAt(partition: number, timestampMs: number): Promise<bigint> {
    return this.#troubles.watch('log-end', placeOf(partition), () => this.#log.offsetAt(partition, timestampMs))
  }

  eventAt(partition: number, offset: bigint): Promise<EventRecord | undefined> {
    return this.#troubles.watch('log-look', placeOf(partition), () => this.#log.eventAt(partition, offset))
  }

  async open(partition: number, nextOffset: bigint): Promise<EventCursor> {
    const where = placeOf(partition)
    const cursor = await this.#troubles.watch('fetch', where, () => this.#log.open(partition, nextOffset))
    return {
      poll: (waitMs: number): Promise<EventBatch> => this.#troubles.watch('fetch', where, () => cursor.poll(waitMs), waitMs),
      seek: (offset) => cursor.seek(offset),
      close: () => cursor.close(),
    }
  }

  commit(floors: ReadonlyMap<number, bigint>): Promise<void> {
    return this.#troubles.watch('commit', 'floors', () => this.#log.commit(floors))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#log[Symbol.asyncDispose]()
  }
}

/** How troubles name a partition. */
export function placeOf(partition: number): string {
  return `partition ${partition}`
}
