/**
 * The event log of a simulation: partitions with sparse offsets, control records (at the end too), retention that moves the
 * start, and cursors that seek while a poll is under way.
 */
import { ForebayError } from '../../src/errors.ts'
import { floorBefore } from '../../src/events/event-log.ts'
import type { EventBatch, EventCursor, EventLog, EventRecord, LogIdentity, PartitionRange } from '../../src/events/event-log.ts'
import { demand } from '../guarantees/violation.ts'
import type { Oracle } from './oracle.ts'
import type { Random } from './random.ts'
import { drawEvent, encodeEvent } from './workload.ts'
import type { SimTask, SimTraffic } from './workload.ts'
import type { Wire } from './wire.ts'

interface TopicPartition {
  readonly records: EventRecord[]
  startOffset: bigint
  endOffset: bigint
  /** The floor that lag tools see; anybody may set it. */
  committed: bigint
  /** Rises with each election of a leader. */
  leaderEpoch: number
  /** Where the log was cut off by an unclean election; what comes after is of another life, and nobody may process it. */
  truncatedAt: bigint | undefined
}

/** Beyond all that a schedule produces. */
const strangerOffset = 1_000_000

export type TopicWitness = Pick<Oracle, 'expect' | 'floorPublished'>

/** The topic itself: what all nodes see. */
export class SimTopic {
  readonly partitions: TopicPartition[]
  /** Share of the events that end their process. */
  killRate = 0
  /** Partitions that nobody may read. */
  readonly refused = new Set<number>()
  readonly #random: Random
  /** Of its own, so that a world without killers is as it was without them. */
  readonly #killing: Random
  readonly #tasks: readonly SimTask[]
  readonly #traffic: SimTraffic
  readonly #oracle: TopicWitness
  /** As Kafka has them; the log in Postgres knows none. */
  readonly hasLeaderEpochs: boolean
  readonly #isHalted: (partition: number) => boolean

  constructor(options: {
    random: Random
    partitions: number
    traffic: SimTraffic
    tasks: readonly SimTask[]
    oracle: TopicWitness
    firstOffset: number
    killing: Random
    /** Whether events tell under which leader they were written. */
    hasLeaderEpochs: boolean
    /** Whether the partition is halted until an operator decides. */
    isHalted(partition: number): boolean
  }) {
    this.hasLeaderEpochs = options.hasLeaderEpochs
    this.#isHalted = options.isHalted
    this.#random = options.random
    this.#killing = options.killing
    this.#tasks = options.tasks
    this.#traffic = options.traffic
    this.#oracle = options.oracle
    const first = BigInt(options.firstOffset)
    this.partitions = Array.from({ length: options.partitions }, () => ({
      records: [],
      startOffset: first,
      endOffset: first,
      committed: floorBefore(first),
      leaderEpoch: 0,
      truncatedAt: undefined,
    }))
  }

  /** Appends an event, now and then behind a hole or before a control record. */
  produce(partition: number, nowMs: number): void {
    const random = this.#random
    const log = this.partitions[partition]!
    if (log.truncatedAt !== undefined) {
      // Without epochs nothing shows a log that grew again before anybody looked.
      if (this.hasLeaderEpochs || this.#isHalted(partition)) this.#regrow(partition, nowMs)
      return
    }
    // An election that loses nothing.
    if (random.chance(0.05)) log.leaderEpoch++
    if (random.chance(0.25)) log.endOffset += BigInt(random.int(1, 3))
    const drawn = drawEvent(random, { partition, offset: Number(log.endOffset) }, this.#traffic, this.#tasks)
    const kills = !drawn.isUndecodable && !drawn.hasBadKey && this.killRate > 0 && this.#killing.chance(this.killRate)
    const event = { ...drawn, kills }
    this.#oracle.expect(event)
    this.append(partition, { timestampMs: 1_700_000_000_000 + nowMs, key: Buffer.from(`k${event.key}`), value: encodeEvent(event) })
    if (random.chance(0.15)) log.endOffset += 1n
  }

  append(partition: number, event: Omit<EventRecord, 'offset'>): void {
    const log = this.partitions[partition]!
    log.records.push({ offset: log.endOffset, ...(this.hasLeaderEpochs ? { leaderEpoch: log.leaderEpoch } : {}), ...event })
    log.endOffset += 1n
  }

  get isTruncated(): boolean {
    return this.partitions.some(({ truncatedAt }) => truncatedAt !== undefined)
  }

  /** An unclean election: the log ends before `endOffset` from now on. False when that would take nothing, or leave nothing. */
  truncate(partition: number, endOffset: bigint): boolean {
    const log = this.partitions[partition]!
    const isLeft = log.records.some(({ offset }) => offset >= log.startOffset && offset < endOffset)
    if (log.truncatedAt !== undefined || endOffset >= log.endOffset || !isLeft) return false
    log.records.splice(log.records.findIndex(({ offset }) => offset >= endOffset))
    log.endOffset = log.truncatedAt = endOffset
    log.leaderEpoch++
    return true
  }

  /** The last event at or below `floor`, of the life in which it was processed. */
  eventAtFloor(partition: number, floor: bigint): EventRecord | undefined {
    const { records, truncatedAt } = this.partitions[partition]!
    return records.findLast(({ offset }) => offset <= floor && (truncatedAt === undefined || offset < truncatedAt))
  }

  /** An event that the oracle has never heard of: whoever processes it is found out. */
  #regrow(partition: number, nowMs: number): void {
    const stranger = { partition, offset: strangerOffset }
    const event = drawEvent(this.#random, stranger, this.#traffic, this.#tasks)
    this.append(partition, { timestampMs: 1_700_000_000_000 + nowMs, key: Buffer.from(`k${event.key}`), value: encodeEvent(event) })
  }

  /** Moves the start up to `startOffset`. */
  expire(partition: number, startOffset: bigint): boolean {
    const log = this.partitions[partition]!
    // The event that shows what was cut off would be gone.
    if (log.truncatedAt !== undefined) return false
    if (startOffset <= log.startOffset || startOffset > log.endOffset) return false
    log.startOffset = startOffset
    return true
  }

  commit(floors: ReadonlyMap<number, bigint>): void {
    for (const [partition, floor] of floors) {
      this.#oracle.floorPublished(partition, Number(floor))
      this.partitions[partition]!.committed = floor
    }
  }

  /** Up to `count` records from `nextOffset` on, and the last offset they pass. */
  read(partition: number, nextOffset: bigint, count: number): EventBatch {
    const log = this.partitions[partition]!
    let first = log.records.length
    while (first > 0 && log.records[first - 1]!.offset >= nextOffset) first--
    const events = log.records.slice(first, first + count)
    const following = log.records[first + events.length]
    const last = events.at(-1)?.offset ?? floorBefore(nextOffset)
    // A batch may end with its last event, or pass what follows it without being an event.
    const passed = following === undefined ? log.endOffset - 1n : following.offset - 1n
    const isLate = events.length > 0 && this.#random.chance(0.4)
    const leaderEpoch = events.at(-1)?.leaderEpoch
    return { events, lastOffset: isLate || passed < last ? last : passed, ...(leaderEpoch === undefined ? {} : { leaderEpoch }) }
  }
}

/** The topic as one node sees it. */
export class SimEventLog implements EventLog {
  readonly #topic: SimTopic
  readonly #wire: Wire

  constructor(topic: SimTopic, wire: Wire) {
    this.#topic = topic
    this.#wire = wire
  }

  identity(): Promise<LogIdentity> {
    return this.#wire.call('log', 'identity', () => ({ cluster: 'sim', topicId: 'sim', partitions: this.#topic.partitions.length }))
  }

  range(partition: number): Promise<PartitionRange> {
    return this.#wire.call('log', `range p${partition}`, () => {
      const { startOffset, endOffset } = this.#topic.partitions[partition]!
      return { startOffset, endOffset }
    })
  }

  offsetAt(partition: number, timestampMs: number): Promise<bigint> {
    return this.#wire.call('log', `offsetAt p${partition}`, () => {
      const { records, endOffset } = this.#topic.partitions[partition]!
      return records.find((record) => record.timestampMs >= timestampMs)?.offset ?? endOffset
    })
  }

  eventAt(partition: number, offset: bigint): Promise<EventRecord | undefined> {
    return this.#wire.call('log', `eventAt p${partition} ${offset}`, () => {
      const { records, startOffset } = this.#topic.partitions[partition]!
      return offset < startOffset ? undefined : records.find((record) => record.offset === offset)
    })
  }

  open(partition: number, nextOffset: bigint): Promise<EventCursor> {
    return this.#wire.call('log', `open p${partition} ${nextOffset}`, () => new SimCursor(this.#topic, this.#wire, partition, nextOffset))
  }

  commit(floors: ReadonlyMap<number, bigint>): Promise<void> {
    return this.#wire.call('log', 'commit', () => this.#topic.commit(floors))
  }

  /** The published floor, for those who trust it against the rules. */
  committed(partition: number): bigint {
    return this.#topic.partitions[partition]!.committed
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class SimCursor implements EventCursor {
  readonly #topic: SimTopic
  readonly #wire: Wire
  readonly #partition: number
  #next: bigint
  #generation = 0
  #isPolling = false
  #isClosed = false

  constructor(topic: SimTopic, wire: Wire, partition: number, nextOffset: bigint) {
    this.#topic = topic
    this.#wire = wire
    this.#partition = partition
    this.#next = nextOffset
  }

  async poll(waitMs: number): Promise<EventBatch> {
    demand(!this.#isPolling && !this.#isClosed, 'port', () => 'two polls of one cursor at once, or a poll of a closed one')
    this.#isPolling = true
    const generation = this.#generation
    const log = this.#topic.partitions[this.#partition]!
    const { faults, scheduler } = this.#wire
    const empty = (): EventBatch => ({ events: [], lastOffset: floorBefore(this.#next) })
    try {
      const batch = await this.#wire.call('log', `poll p${this.#partition}`, () => this.#take(generation, faults.random.int(1, 6)), {
        dueMs: scheduler.nowMs + Math.max(1, waitMs),
        isReady: () => log.endOffset !== this.#next || generation !== this.#generation || this.#next < log.startOffset || this.#isClosed,
      })
      if (generation === this.#generation) {
        this.#next = batch.lastOffset + 1n
        return batch
      }
      // The batch was on its way when the cursor was told to go elsewhere.
      if (batch.events.length > 0) faults.count('staleBatch')
      return empty()
    } finally {
      this.#isPolling = false
    }
  }

  #take(generation: number, count: number): EventBatch {
    const log = this.#topic.partitions[this.#partition]!
    if (generation !== this.#generation) return { events: [], lastOffset: floorBefore(this.#next) }
    if (this.#isClosed) return { events: [], lastOffset: floorBefore(this.#next) }
    if (this.#topic.refused.has(this.#partition)) {
      throw new ForebayError('FB_EVENT_LOG_REFUSED', `partition ${this.#partition} may not be read`)
    }
    if (this.#next < log.startOffset || this.#next > log.endOffset) {
      throw new ForebayError(
        this.#next < log.startOffset ? 'FB_RETENTION_PASSED' : 'FB_LOG_TRUNCATED',
        `partition ${this.#partition}: offset ${this.#next} is not in the log, which holds ${log.startOffset} to ${log.endOffset}`,
      )
    }
    if (log.endOffset === this.#next) return { events: [], lastOffset: floorBefore(this.#next) }
    return this.#topic.read(this.#partition, this.#next, count)
  }

  seek(nextOffset: bigint): void {
    this.#generation++
    this.#next = nextOffset
  }

  async close(): Promise<void> {
    this.#isClosed = true
  }
}
