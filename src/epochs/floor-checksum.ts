/**
 * Is this still the topic that the floors were counted on (rule 13)? Kafka gives a topic no id that its client could ask for; in a log
 * that has ids, an emptied and refilled topic shows here.
 *
 * Job: keeps, for each partition, the checksum of an event at or a little below its floor, and compares it with the event that
 * the log holds there now: at start for all partitions, later on a slow timer for those this node owns, which then also moves
 * the mark up to the present floor. A partition that is newly owned begins with the mark that its owner before kept.
 * Boundary: the event log and a small store; nothing of it is on the path of a flush or of a floor.
 *
 * Two owners of a partition for a while do no harm: each mark is of an event of the same topic.
 */
import { createHash } from 'node:crypto'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { EventLog, EventRecord } from '../events/event-log.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'

/** An event that the log held when its partition's floor was at or above `offset`. */
export interface FloorEvent {
  readonly offset: bigint
  readonly checksum: string
  /** Null: the log knows no such thing, or it was not kept. */
  readonly leaderEpoch: number | null
}

/** Where marks are kept. Failures: FB_DATABASE_UNREACHABLE. */
export interface FloorEventStore {
  /** Those of all partitions whose floor is still at or above them. */
  floorEvents(): Promise<ReadonlyMap<number, FloorEvent>>
  keepFloorEvents(events: ReadonlyMap<number, FloorEvent>): Promise<void>
  /** Keeps the partition halted until an operator decides (rule 21). */
  halt(partition: number, reason: string): Promise<void>
}

export interface FloorChecksumPorts {
  readonly log: EventLog
  readonly store: FloorEventStore
  readonly clock: Clock
  readonly observer: Observer
}

export interface FloorChecksumNames {
  readonly pipeline: string
  readonly topic: string
}

/** What a node owns at present, by partition; `part` is undefined while it does not run. */
export type FloorOwners = ReadonlyMap<number, { readonly part: FloorOwner | undefined }>

export interface FloorOwner {
  readonly floor: bigint
  /** The newest leader epoch that it has found to continue what was read: no mark of a later one is to be trusted yet. */
  readonly leaderEpoch: number | undefined
}

const keepMs = 10_000
/** The floor may stand on what is no event (a transaction's marker, a compacted offset): so far below one is looked for. */
const lookBackOffsets = 4

/** Of all that an event is made of; the same event read twice gives the same. */
export function checksumOf({ timestampMs, key, value }: EventRecord): string {
  const hash = createHash('sha256').update(`${timestampMs}/${key?.length ?? 'null'}/${value?.length ?? 'null'}/`)
  if (key !== null) hash.update(key)
  if (value !== null) hash.update(value)
  return hash.digest('hex').slice(0, 32)
}

export class FloorChecksum {
  readonly #ports: FloorChecksumPorts
  readonly #names: FloorChecksumNames
  /** The marks of the partitions that were owned when last looked; undefined: it has none. */
  readonly #owned = new Map<number, FloorEvent | undefined>()

  constructor(ports: FloorChecksumPorts, names: FloorChecksumNames) {
    this.#ports = ports
    this.#names = names
  }

  /** Compares every partition's mark with the log. Throws FB_IDENTITY; warns of what cannot be compared any more. */
  async check(): Promise<void> {
    for (const [partition, event] of await this.#ports.store.floorEvents()) await this.#compare(partition, event, true)
  }

  /**
   * Runs `body`, and meanwhile compares and moves the marks of the partitions owned, once more after a clean end.
   * The signal of `body` aborts with `signal`, or when the topic turns out to be another one: FB_IDENTITY is thrown then.
   */
  async watch(owners: FloorOwners, signal: AbortSignal, body: (signal: AbortSignal) => Promise<void>): Promise<void> {
    // A reset took floors and marks back since: nothing that was seen before holds.
    this.#owned.clear()
    const refused = new AbortController()
    const over = new AbortController()
    const watching = this.#keepUntil(over.signal, owners).catch((error: unknown) => refused.abort(error))
    try {
      await body(AbortSignal.any([signal, refused.signal]))
    } finally {
      over.abort()
      await watching
    }
    refused.signal.throwIfAborted()
    await this.#keepOf(owners)
  }

  #keepOf(owners: FloorOwners): Promise<void> {
    const parts = [...owners].flatMap(([partition, { part }]) =>
      part !== undefined && part.floor >= 0n ? [[partition, part] as const] : [],
    )
    const epochs = new Map(parts.map(([partition, { leaderEpoch }]) => [partition, leaderEpoch ?? -1]))
    return this.keep(new Map(parts.map(([partition, { floor }]) => [partition, floor])), epochs)
  }

  async #keepUntil(signal: AbortSignal, owners: FloorOwners): Promise<void> {
    while (!signal.aborted) {
      await this.#keepOf(owners)
      await this.#ports.clock.sleep(keepMs, signal)
    }
  }

  /** Compares and moves the marks of the partitions in `floors`, once. Throws FB_IDENTITY; any other failure waits for the next time. */
  async keep(floors: ReadonlyMap<number, bigint>, leaderEpochs: ReadonlyMap<number, number> = new Map()): Promise<void> {
    for (const partition of this.#owned.keys()) if (!floors.has(partition)) this.#owned.delete(partition)
    const moved = new Map<number, FloorEvent>()
    try {
      await this.#readOfNew([...floors.keys()].filter((partition) => !this.#owned.has(partition)))
      for (const [partition, floor] of floors) {
        const kept = this.#owned.get(partition)
        if (kept !== undefined) await this.#compare(partition, kept, false)
        const event = kept !== undefined && kept.offset >= floor ? undefined : await this.#lastEvent(partition, floor)
        const isKnown = (event?.leaderEpoch ?? -1) <= (leaderEpochs.get(partition) ?? Infinity)
        if (event !== undefined && isKnown && event.offset !== kept?.offset) moved.set(partition, event)
      }
      if (moved.size > 0) await this.#ports.store.keepFloorEvents(moved)
      for (const [partition, event] of moved) this.#owned.set(partition, event)
    } catch (error) {
      if (!isForebayError(error) || error.policy === 'fatal') throw error
      this.#ports.observer.log('debug', `the events at the floors were not kept: ${sentenceOf(error)}`)
    }
  }

  /** Another node may have moved their marks since this one looked. */
  async #readOfNew(partitions: readonly number[]): Promise<void> {
    if (partitions.length === 0) return
    const stored = await this.#ports.store.floorEvents()
    for (const partition of partitions) this.#owned.set(partition, stored.get(partition))
  }

  async #lastEvent(partition: number, floor: bigint): Promise<FloorEvent | undefined> {
    for (let offset = floor; offset >= 0n && offset > floor - BigInt(lookBackOffsets); offset--) {
      const event = await this.#ports.log.eventAt(partition, offset)
      // What is kept of an event beyond the limits depends on them, and they may change.
      if (event !== undefined && event.oversizeBytes === undefined)
        return { offset, checksum: checksumOf(event), leaderEpoch: event.leaderEpoch ?? null }
    }
    return undefined
  }

  async #compare(partition: number, { offset, checksum, leaderEpoch }: FloorEvent, isStart: boolean): Promise<void> {
    const { log, observer, store } = this.#ports
    const { pipeline, topic } = this.#names
    const event = await log.eventAt(partition, offset)
    if (event === undefined) {
      // A log that ends or begins elsewhere halts the partition by itself: the owner's start knows the floor (rule 1).
      const { endOffset } = await log.range(partition)
      if (isStart && endOffset > offset)
        observer.log(
          'warn',
          `partition ${partition} of topic "${topic}" no longer holds the event at offset ${offset} that pipeline "${pipeline}" processed: it expired, so nothing shows any more that the topic is the same; going on`,
        )
      return
    }
    const found = checksumOf(event)
    if (found === checksum) return
    // A topic made anew begins to count its leaders anew; one that goes on under a later leader has lost its tail.
    if (leaderEpoch !== null && event.leaderEpoch !== undefined && event.leaderEpoch > leaderEpoch) {
      const reason = `partition ${partition}: the event at offset ${offset} was processed as one of leader epoch ${leaderEpoch}, and the log now holds another one there, of epoch ${event.leaderEpoch}: a leader was elected uncleanly, and events that were processed are gone`
      await store.halt(partition, reason)
      observer.log('error', reason)
      return
    }
    // Halted meanwhile (rule 21), or reset: it is no longer compared.
    if (!(await store.floorEvents()).has(partition)) {
      this.#owned.delete(partition)
      return
    }
    throw new ForebayError(
      'FB_IDENTITY',
      `The ledger of pipeline "${pipeline}" was built on a topic "${topic}" whose event at offset ${offset} of partition ${partition} has checksum ${checksum}, but the event log holds another event there, of checksum ${found}: the topic was deleted and made anew, or emptied and filled again; point forebay at the right log, or give the pipeline another name.`,
    )
  }
}
