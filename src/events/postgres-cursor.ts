/**
 * A reading position in one partition of a topic kept in Postgres.
 *
 * Job: one query a batch, by offset; between batches it waits for a notice that the partition grew.
 * Boundary: the caller polls and seeks; the tables answer with events and the partition's range in one snapshot.
 * States: *idle*, *polling*, *closed*. A seek starts a new generation; what an older one read is thrown away.
 * Invariants: offsets are assigned under the partition's row lock and become visible in order, so what a snapshot shows
 * below `next_offset` is complete; a position below `start_offset` halts (I11).
 */
import type { Pool } from 'pg'
import { assert } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import { headersOfTexts } from '../pipeline/event-headers.ts'
import { type EventBatch, type EventCursor, type EventRecord, floorBefore, nextOffsetAfter } from './event-log.ts'
import { postgresFailure } from './postgres-event-connection.ts'
import { clampedTimeMs } from './record-time.ts'
import type { PostgresEventNotices } from './postgres-event-notices.ts'

export interface PostgresCursorOptions {
  readonly pool: Pool
  readonly notices: PostgresEventNotices
  /** The topic's number. Asked at every poll until it is known, so that a cursor may be opened while the database is away. */
  readonly topicNumber: () => Promise<number>
  readonly topic: string
  readonly partition: number
  readonly nextOffset: bigint
  readonly fetchEventsMax: number
  readonly fetchBytesMax: number
  readonly onClose: () => void
}

interface Row {
  readonly start_offset: string
  readonly next_offset: string
  readonly event_offset: string | null
  readonly timestamp_ms: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, string>> | null
  readonly bytes: string
}

const fetchEvents = `
select p.start_offset, p.next_offset, e.event_offset, e.timestamp_ms, e.key, e.value, e.headers, e.bytes
from forebay.log_partitions p
left join lateral (
  select event_offset, timestamp_ms, key, value, headers, bytes
  from (
    select event_offset, timestamp_ms, key, value, headers, own, sum(own) over (order by event_offset) as bytes
    from (
      select event_offset, timestamp_ms, key, value, headers,
        coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + coalesce(octet_length(headers::text), 0) as own
      from forebay.log_events
      where topic = $1 and partition = $2 and event_offset >= $3
      order by event_offset limit $4
    ) few
  ) counted
  where bytes - own < $5
) e on true
where p.topic = $1 and p.partition = $2
order by e.event_offset`

export class PostgresCursor implements EventCursor {
  readonly #options: PostgresCursorOptions
  #lastOffset: bigint
  #nextOffset: bigint
  #generation = 0
  /** Of the batch that `poll` handed out last. */
  #heldBytes = 0
  #isClosed = false
  #isPolling = false
  #wake: (() => void) | null = null

  constructor(options: PostgresCursorOptions) {
    assert(options.nextOffset >= 0n, 'a cursor starts at offset 0 or above')
    this.#options = options
    this.#nextOffset = options.nextOffset
    this.#lastOffset = floorBefore(options.nextOffset)
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  async poll(waitMs: number): Promise<EventBatch> {
    assert(!this.#isClosed, 'a closed cursor is not polled')
    assert(!this.#isPolling, 'one poll at a time')
    this.#isPolling = true
    try {
      const batch = await this.#poll(performance.now() + waitMs)
      this.#heldBytes = batch.bytes ?? 0
      return batch
    } finally {
      this.#isPolling = false
    }
  }

  seek(nextOffset: bigint): void {
    assert(nextOffset >= 0n, 'a seek goes to offset 0 or above')
    this.#generation++
    this.#moveTo(floorBefore(nextOffset), nextOffset)
    this.#wake?.()
  }

  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#heldBytes = 0
      this.#wake?.()
      this.#options.onClose()
    }
    return Promise.resolve()
  }

  #moveTo(lastOffset: bigint, nextOffset: bigint): void {
    this.#lastOffset = lastOffset
    this.#nextOffset = nextOffset
  }

  async #poll(deadline: number): Promise<EventBatch> {
    const { notices, partition, topic, topicNumber } = this.#options
    const generation = this.#generation
    const isOver = () => generation !== this.#generation || this.#isClosed
    while (true) {
      let payload = ''
      let seen = 0
      let failure: ForebayError | null = null
      try {
        const number = await topicNumber()
        payload = `${number}:${partition}`
        seen = notices.count(payload)
        const nextOffset = this.#nextOffset
        const rows = isOver() ? [] : await this.#fetch(number, nextOffset)
        if (isOver()) return this.#nothing()
        const batch = this.#batchOf(rows, nextOffset)
        if (batch.lastOffset >= nextOffset) {
          this.#moveTo(batch.lastOffset, nextOffsetAfter(batch.lastOffset))
          return batch
        }
      } catch (error) {
        failure = postgresFailure(error, `reading partition ${partition} of topic ${topic}`)
        if (failure.policy !== 'retry') throw failure
      }
      const remainingMs = deadline - performance.now()
      if (remainingMs > 0 && !isOver()) {
        const waiting = notices.wait(payload, seen, remainingMs)
        this.#wake = waiting.wake
        await waiting.done
        this.#wake = null
      }
      if (isOver()) return this.#nothing()
      if (performance.now() >= deadline) {
        if (failure !== null) throw failure
        return this.#nothing()
      }
    }
  }

  #nothing(): EventBatch {
    return { events: [], lastOffset: this.#lastOffset }
  }

  async #fetch(topicNumber: number, nextOffset: bigint): Promise<readonly Row[]> {
    const { pool, partition, fetchEventsMax, fetchBytesMax } = this.#options
    const values = [topicNumber, partition, nextOffset.toString(), fetchEventsMax, fetchBytesMax]
    const { rows } = await pool.query<Row>({ name: 'forebay_log_fetch', text: fetchEvents, values })
    return rows
  }

  #batchOf(rows: readonly Row[], nextOffset: bigint): EventBatch {
    const { topic, partition, fetchEventsMax, fetchBytesMax } = this.#options
    const head = rows[0]
    if (head === undefined) {
      throw new ForebayError('FB_TOPIC_MISSING', `topic ${topic} has no partition ${partition}; check its number of partitions`)
    }
    const startOffset = BigInt(head.start_offset)
    const endOffset = BigInt(head.next_offset)
    if (nextOffset < startOffset || nextOffset > endOffset) {
      throw new ForebayError(
        nextOffset < startOffset ? 'FB_RETENTION_PASSED' : 'FB_LOG_TRUNCATED',
        outOfRange(`partition ${partition} of topic ${topic}`, nextOffset, startOffset, endOffset),
      )
    }
    const events: EventRecord[] = []
    let clampedTimes = 0
    for (const { event_offset, timestamp_ms, key, value, headers } of rows) {
      if (event_offset === null) break
      const timestampMs = clampedTimeMs(Number(timestamp_ms))
      if (String(timestampMs) !== timestamp_ms) clampedTimes++
      events.push({ offset: BigInt(event_offset), timestampMs, key, value, headers: headersOfTexts(headers) })
    }
    const tail = events.at(-1)
    // A batch that was not cut short has seen everything below the end, also where offsets are missing.
    const isCut = tail !== undefined && (events.length >= fetchEventsMax || Number(rows.at(-1)?.bytes) >= fetchBytesMax)
    const bytes = Number(rows.findLast((row) => row.event_offset !== null)?.bytes ?? 0)
    const lastOffset = isCut ? tail.offset : floorBefore(endOffset)
    return { events, bytes, lastOffset, ...(clampedTimes > 0 ? { clampedTimes } : {}) }
  }
}

function outOfRange(where: string, nextOffset: bigint, startOffset: bigint, endOffset: bigint): string {
  return nextOffset < startOffset
    ? `${where} begins at offset ${startOffset}, but offset ${nextOffset} was to be read next: retention deleted events that were not yet processed; lengthen the topic's retention and reset the pipeline`
    : `${where} ends at offset ${endOffset}, before offset ${nextOffset} which was to be read next: the topic was truncated or created anew; reset the pipeline`
}
