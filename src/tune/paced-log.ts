/**
 * An event log that publishes known events again at an even rate, with the present time: for a trial run on a topic to which nobody
 * publishes just now. It begins with the first poll and never ends; offsets count from 0.
 */
import type { EventBatch, EventCursor, EventLog, EventRecord, LogIdentity, PartitionRange } from '../events/event-log.ts'
import type { Clock } from '../schedule/clock.ts'

export interface PacedLogOptions {
  readonly identity: LogIdentity
  /** By partition; those without events use the others'. At least one event in all. */
  readonly records: ReadonlyMap<number, readonly EventRecord[]>
  /** Over all partitions. */
  readonly perSecond: number
}

const batchEventsMax = 5000

export class PacedLog implements EventLog {
  readonly #clock: Clock
  readonly #options: PacedLogOptions

  constructor(clock: Clock, options: PacedLogOptions) {
    this.#clock = clock
    this.#options = options
  }

  identity(): Promise<LogIdentity> {
    return Promise.resolve(this.#options.identity)
  }

  range(_partition: number): Promise<PartitionRange> {
    return Promise.resolve({ startOffset: 0n, endOffset: 0n })
  }

  offsetAt(_partition: number, _timestampMs: number): Promise<bigint> {
    return Promise.resolve(0n)
  }

  eventAt(_partition: number, _offset: bigint): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  open(partition: number, nextOffset: bigint): Promise<EventCursor> {
    const { records, perSecond, identity } = this.#options
    const own = records.get(partition) ?? []
    const source = own.length > 0 ? own : [...records.values()].flat()
    return Promise.resolve(new PacedCursor(this.#clock, source, (identity.partitions * 1000) / perSecond, Number(nextOffset)))
  }

  /** Nobody is told of a trial. */
  commit(_floors: ReadonlyMap<number, bigint>): Promise<void> {
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}

class PacedCursor implements EventCursor {
  readonly #clock: Clock
  readonly #records: readonly EventRecord[]
  readonly #everyMs: number
  #next: number
  /** When the event of offset 0 is, or would have been, due. */
  #zeroMs: number | undefined

  constructor(clock: Clock, records: readonly EventRecord[], everyMs: number, next: number) {
    this.#clock = clock
    this.#records = records
    this.#everyMs = everyMs
    this.#next = next
  }

  async poll(waitMs: number): Promise<EventBatch> {
    const zeroMs = (this.#zeroMs ??= this.#clock.now() - this.#next * this.#everyMs)
    const dueMs = zeroMs + this.#next * this.#everyMs
    const untilMs = Math.min(dueMs, this.#clock.now() + waitMs)
    if (untilMs > this.#clock.now()) await this.#clock.sleep(untilMs - this.#clock.now())
    const nowMs = this.#clock.now()
    const end = Math.min(Math.floor((nowMs - zeroMs) / this.#everyMs) + 1, this.#next + batchEventsMax)
    const events: EventRecord[] = []
    for (; this.#next < end; this.#next++) {
      const { key, value } = this.#records[this.#next % this.#records.length]!
      const lateMs = nowMs - (zeroMs + this.#next * this.#everyMs)
      events.push({ offset: BigInt(this.#next), timestampMs: this.#clock.wallMs() - lateMs, key, value })
    }
    return { events, lastOffset: BigInt(this.#next - 1) }
  }

  seek(nextOffset: bigint): void {
    this.#next = Number(nextOffset)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
