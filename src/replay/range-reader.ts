/**
 * Reads the events of a range of one partition, a slice at a time, with a cursor of its own: no consumer group and no floor ever
 * sees it. A log that is away is waited for, `patienceMs` at most.
 */
import { assert } from '../assert.ts'
import { ForebayError, isForebayError } from '../errors.ts'
import { floorBefore, nextOffsetAfter } from '../events/event-log.ts'
import type { EventBatch, EventCursor, EventLog, EventRecord } from '../events/event-log.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'

interface Slice {
  readonly events: readonly EventRecord[]
  /** Everything of the range up to here is passed. */
  readonly lastOffset: bigint
}

interface Limits {
  readonly eventsMax: number
  readonly bytesMax: number
  /** Only events up to this record time; default: all. */
  readonly timeMsMax?: number
}

const pollWaitMs = 500
/** From the first offset of a slice to its last, less than this: the lines of its jobs count their offsets from the first in 32 bits. */
const spanOffsetsMax = 2n ** 31n
const patienceMs = 60_000

export class RangeReader implements AsyncDisposable {
  readonly partition: number
  readonly #log: EventLog
  readonly #clock: Clock
  readonly #lastOffset: bigint
  #cursor: EventCursor | undefined
  #position: bigint
  #batch: EventBatch
  #taken = 0

  /** Reads from `firstOffset` to `lastOffset`, both included; connects when first asked. */
  constructor(log: EventLog, clock: Clock, range: { partition: number; firstOffset: bigint; lastOffset: bigint }) {
    this.partition = range.partition
    this.#log = log
    this.#clock = clock
    this.#lastOffset = range.lastOffset
    this.#position = floorBefore(range.firstOffset)
    this.#batch = { events: [], lastOffset: this.#position }
  }

  /** Everything of the range up to here was handed out. */
  get position(): bigint {
    return this.#position
  }

  get isAtEnd(): boolean {
    return this.#position >= this.#lastOffset
  }

  /** Goes on after `position`, backwards too. */
  rewind(position: bigint): void {
    this.#position = position
    this.#batch = { events: [], lastOffset: position }
    this.#taken = 0
    this.#cursor?.seek(nextOffsetAfter(position))
  }

  /** Record time of the next event, or undefined when the range holds no other. Throws what the log throws. */
  async nextTimeMs(signal: AbortSignal): Promise<number | undefined> {
    await this.#fill(signal)
    return this.#batch.events[this.#taken]?.timestampMs
  }

  /** The next events; none, with an unmoved `lastOffset`, when the next one is not yet due. Throws what the log throws. */
  async next({ eventsMax, bytesMax, timeMsMax = Infinity }: Limits, signal: AbortSignal): Promise<Slice> {
    await this.#fill(signal)
    const { events } = this.#batch
    const from = this.#taken
    let bytes = 0
    while (this.#taken < events.length && this.#taken - from < eventsMax && bytes < bytesMax) {
      const { timestampMs, value, offset } = events[this.#taken]!
      if (timestampMs > timeMsMax || offset - events[from]!.offset >= spanOffsetsMax) break
      bytes += value?.length ?? 0
      this.#position = offset
      this.#taken++
    }
    if (this.#taken === events.length && this.#position < this.#batch.lastOffset) this.#position = this.#batch.lastOffset
    return { events: events.slice(from, this.#taken), lastOffset: this.#position }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cursor?.close()
  }

  /** Afterwards an event waits, the range is at its end, or the signal has aborted. */
  async #fill(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff()
    let deadline = this.#clock.now() + patienceMs
    while (this.#taken >= this.#batch.events.length && !this.isAtEnd && !signal.aborted) {
      this.#cursor ??= await this.#log.open(this.partition, nextOffsetAfter(this.#position))
      try {
        const batch = await this.#cursor.poll(pollWaitMs)
        if (batch.lastOffset <= this.#position) this.#checkPatience(deadline)
        if (batch.lastOffset <= this.#position) continue
        this.#take(batch)
        deadline = this.#clock.now() + patienceMs
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry' || this.#clock.now() > deadline) throw error
        await this.#clock.sleep(backoff.next(), signal)
      }
    }
  }

  #checkPatience(deadline: number): void {
    if (this.#clock.now() <= deadline) return
    throw new ForebayError(
      'FB_EVENT_LOG_UNREACHABLE',
      `partition ${this.partition} gave nothing after offset ${this.#position} for ${patienceMs / 1000} s, although the range goes on to ${this.#lastOffset}; check the event log`,
    )
  }

  #take({ events, lastOffset }: EventBatch): void {
    const inside =
      events.length > 0 && events.at(-1)!.offset > this.#lastOffset ? events.filter((e) => e.offset <= this.#lastOffset) : events
    assert(inside.length === 0 || inside[0]!.offset > this.#position, 'I4: events come in the order of their offsets')
    this.#batch = { events: inside, lastOffset: lastOffset < this.#lastOffset ? lastOffset : this.#lastOffset }
    this.#taken = 0
    if (inside.length === 0) this.#position = this.#batch.lastOffset
  }
}
