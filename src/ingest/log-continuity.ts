/**
 * Is what the log gives the continuation of what was read of it (rule 21)?
 *
 * A leader that was elected uncleanly may lack events that were read and applied, and gives their offsets to others. Nothing of a fetch
 * shows it but the leader epoch: it rises with each election and stays with an event. So at each rise the last event that was read or
 * applied is asked for again: an event that was written under a later leader than any that was read is another one.
 *
 * Boundary: a log without leader epochs, and events that expired or were compacted away meanwhile, show nothing; then nothing is said.
 */
import { ForebayError } from '../errors.ts'
import type { EventBatch, EventLog } from '../events/event-log.ts'

export type LookableLog = Pick<EventLog, 'eventAt' | 'leaderEpochAt'>

/** What was read last may be no event (a transaction's marker, a compacted offset): so far below one is looked for. */
const lookBackOffsets = 4

/** What the ledger holds: the furthest offset of which a job is applied, and that nothing up to it was read under a later leader epoch. */
export type Applied = Known | undefined

/** Nothing up to `offset` was read under a later leader than `epoch`. */
interface Known {
  readonly offset: bigint
  readonly epoch: number
}

export class LogContinuity {
  readonly #log: LookableLog
  readonly #partition: number
  readonly #applied: () => Promise<Applied>
  /** The furthest offset that was read here, also before a repair went back; and the newest epoch. */
  #furthest = -1n
  #newest: number

  /** `leaderEpoch`: the one of `applied` at the start; undefined while none is known. `applied` asks the ledger, whoever applied it. */
  constructor(log: LookableLog, partition: number, leaderEpoch: number | undefined, applied: () => Promise<Applied>) {
    this.#log = log
    this.#partition = partition
    this.#applied = applied
    this.#newest = leaderEpoch ?? -1
  }

  /** The newest leader epoch that continues what was read; undefined while none is known. */
  get leaderEpoch(): number | undefined {
    return this.#newest < 0 ? undefined : this.#newest
  }

  /** Takes note of `batch`. Throws FB_LOG_TRUNCATED when it continues another log than the one that was read, and what log and ledger throw. */
  async check({ events, leaderEpoch }: EventBatch): Promise<void> {
    if (leaderEpoch === undefined) return
    if (leaderEpoch > this.#newest) {
      if (this.#newest >= 0) {
        const applied = await this.#applied()
        await this.#compare({ offset: this.#furthest, epoch: this.#newest }, events, leaderEpoch)
        if (applied !== undefined) await this.#compare(applied, events, leaderEpoch)
      }
      this.#newest = leaderEpoch
    }
    const last = events.at(-1)
    if (last !== undefined && last.offset > this.#furthest) this.#furthest = last.offset
  }

  /**
   * What was read once, and comes again (a repair, a new owner) under a later leader than all that was read, is another event; so is what
   * lies now where reading, or applying, stood.
   */
  async #compare(known: Known, events: EventBatch['events'], present: number): Promise<void> {
    for (const { offset, leaderEpoch } of events) {
      if (offset > known.offset) break
      if (leaderEpoch !== undefined && leaderEpoch > known.epoch) throw this.#truncated(known, present, offset, leaderEpoch)
    }
    for (let offset = known.offset; offset >= 0n && offset > known.offset - BigInt(lookBackOffsets); offset--) {
      const found = await this.#epochAt(offset)
      if (found === undefined) continue
      if (found <= known.epoch) return
      throw this.#truncated(known, present, offset, found)
    }
  }

  async #epochAt(offset: bigint): Promise<number | undefined> {
    if (this.#log.leaderEpochAt !== undefined) return this.#log.leaderEpochAt(this.#partition, offset)
    return (await this.#log.eventAt(this.#partition, offset))?.leaderEpoch
  }

  #truncated({ offset: upTo, epoch }: Known, present: number, offset: bigint, found: number): ForebayError {
    return new ForebayError(
      'FB_LOG_TRUNCATED',
      `partition ${this.#partition}: the events up to offset ${upTo} were read under leader epochs up to ${epoch}, and the log (now at epoch ${present}) holds at ${offset} one of epoch ${found}: ` +
        'a leader was elected uncleanly, and events that were processed are gone',
    )
  }
}
