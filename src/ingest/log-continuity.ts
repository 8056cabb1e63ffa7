/**
 * Is what the log gives the continuation of what was read of it (rule 21)?
 *
 * A leader that was elected uncleanly may lack events that were read and applied, and gives their offsets to others. Nothing of a fetch
 * shows it but the leader epoch: it rises with each election and stays with an event. So at each rise the last event that was read is
 * asked for again: an event that was written under a later leader than any that was read is another one.
 *
 * Boundary: a log without leader epochs, and events that expired or were compacted away meanwhile, show nothing; then nothing is said.
 */
import { ForebayError } from '../errors.ts'
import type { EventBatch, EventLog } from '../events/event-log.ts'

/** What was read last may be no event (a transaction's marker, a compacted offset): so far below one is looked for. */
const lookBackOffsets = 4

export class LogContinuity {
  readonly #log: Pick<EventLog, 'eventAt'>
  readonly #partition: number
  /** The furthest offset that is known to have been read, also before a repair went back. */
  #furthest: bigint
  #newest: number

  /** `leaderEpoch`: the newest one that had been read when the floor was raised to `floor`; undefined while none is known. */
  constructor(log: Pick<EventLog, 'eventAt'>, partition: number, floor: bigint, leaderEpoch: number | undefined) {
    this.#log = log
    this.#partition = partition
    this.#furthest = floor
    this.#newest = leaderEpoch ?? -1
  }

  /** The newest leader epoch that continues what was read; undefined while none is known. */
  get leaderEpoch(): number | undefined {
    return this.#newest < 0 ? undefined : this.#newest
  }

  /** Takes note of `batch`. Throws FB_LOG_TRUNCATED when it continues another log than the one that was read, and what the log throws. */
  async check({ events, leaderEpoch }: EventBatch): Promise<void> {
    if (leaderEpoch === undefined) return
    if (leaderEpoch > this.#newest) {
      if (this.#newest >= 0) {
        this.#compareOwn(events, leaderEpoch)
        await this.#compare(leaderEpoch)
      }
      this.#newest = leaderEpoch
    }
    const last = events.at(-1)
    if (last !== undefined && last.offset > this.#furthest) this.#furthest = last.offset
  }

  /** What was read once, and comes again (a repair) under a later leader than all that was read, is another event. */
  #compareOwn(events: EventBatch['events'], present: number): void {
    for (const { offset, leaderEpoch } of events) {
      if (offset > this.#furthest) return
      if (leaderEpoch !== undefined && leaderEpoch > this.#newest) throw this.#truncated(present, offset, leaderEpoch)
    }
  }

  async #compare(present: number): Promise<void> {
    for (let offset = this.#furthest; offset >= 0n && offset > this.#furthest - BigInt(lookBackOffsets); offset--) {
      const found = await this.#log.eventAt(this.#partition, offset)
      if (found?.leaderEpoch === undefined) continue
      if (found.leaderEpoch <= this.#newest) return
      throw this.#truncated(present, offset, found.leaderEpoch)
    }
  }

  #truncated(present: number, offset: bigint, found: number): ForebayError {
    return new ForebayError(
      'FB_LOG_TRUNCATED',
      `partition ${this.#partition}: the events up to offset ${this.#furthest} were read under leader epochs up to ${this.#newest}, and the log (now at epoch ${present}) holds at ${offset} one of epoch ${found}: ` +
        'a leader was elected uncleanly, and events that were processed are gone',
    )
  }
}
