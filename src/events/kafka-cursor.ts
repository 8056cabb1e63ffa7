/**
 * A reading position in one partition of a Kafka topic.
 *
 * Job: a loop of its own fetches from the partition's leader over connections of its own, at most one batch ahead of
 * what `poll` has handed out, so that the next batch is there while one is worked on, and no other partition waits. A fetch comes in
 * portions: what a compressed one inflates to is made portion by portion, and the next fetch follows the last of them.
 * Boundary: the caller polls and seeks; Kafka answers fetches that name an explicit offset.
 *
 * States: *fetching* (the buffer is empty); *full* (a batch waits for `poll`; the loop sleeps); *failed* (the last
 * fetch threw; the loop tries again after a short, bounded pause and `poll` tells why once its wait is over);
 * *closed*. A seek empties the buffer and starts a new generation; what an older generation fetched is thrown away.
 *
 * Invariants: batches of one generation join without a gap or an overlap (`#fetchOffset` is always one after the last
 * batch taken in); a fetch below the log's start is an error of the broker, never a jump (I11).
 */
import type { Cluster, Kafka } from 'kafkajs'
import { assert } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import { type EventBatch, type EventCursor, floorBefore, nextOffsetAfter } from './event-log.ts'
import { clusterOf, releaseCluster } from './kafka-cluster.ts'
import { kafkaErrorType, kafkaProblem } from './kafka-error.ts'
import { fetchFrom } from './kafka-fetched.ts'
import { portionsOf } from './kafka-portions.ts'
import type { PortionLimits } from './kafka-portions.ts'

/** How long a broker may hold a fetch that finds nothing. */
const fetchWaitMs = 100
/** The same after so many fetches in a row that found nothing: an event ends the wait all the same, a seek has to wait for it. */
const idleFetchWaitMs = 500
const idleAfterFetches = 20
/** After a small batch the next fetch starts no sooner than this, or a trickle of events would cost a request each. */
const smallFetchIntervalMs = 4
const smallBatchEvents = 64
/** A fetch that has been under way for so long counts as unanswered. */
const silenceMs = 3_000
const retryFirstMs = 50
const retryLastMs = 500

export interface KafkaCursorOptions {
  readonly kafka: Kafka
  readonly brokers: readonly string[]
  readonly topic: string
  readonly partition: number
  readonly nextOffset: bigint
  /** Most bytes of one fetch. One larger record batch still comes whole. */
  readonly fetchBytesMax: number
  readonly limits: PortionLimits
  readonly onClose: () => void
}

/** A fetch while it is read. */
interface Portions {
  readonly generation: number
  readonly batches: AsyncGenerator<EventBatch>
  readonly responseBytes: number
  readonly startedAt: number
  /** That it gave until now. */
  events: number
}

export class KafkaCursor implements EventCursor {
  readonly #options: KafkaCursorOptions
  readonly #running: Promise<void>
  /** The next offset to ask for: one after the buffered batch, or after what was handed out. */
  #fetchOffset: bigint
  /** The last offset that `poll` handed out, or one before where `seek` went. */
  #lastOffset: bigint
  /** Of the last fetch, while it is not read to its end. */
  #portions: Portions | null = null
  #buffered: EventBatch | null = null
  #bufferedBytes = 0
  /** Of the batch that `poll` handed out last. */
  #handedBytes = 0
  #failure: ForebayError | null = null
  /** When the fetch under way began. */
  #fetchSinceMs: number | null = null
  #generation = 0
  /** In a row. */
  #emptyFetches = 0
  #isClosed = false
  #cluster: Cluster | null = null
  /** The last cluster the loop used, even when it was released since. */
  #lastCluster: Cluster | null = null
  /** Ends the wait of the poll under way. */
  #wakePoll: (() => void) | null = null
  /** Ends the sleep of the fetch loop. */
  #wakeLoop: (() => void) | null = null

  constructor(options: KafkaCursorOptions) {
    assert(options.nextOffset >= 0n, 'a cursor starts at offset 0 or above')
    this.#options = options
    this.#fetchOffset = options.nextOffset
    this.#lastOffset = floorBefore(options.nextOffset)
    this.#running = this.#run()
  }

  /** Bytes of the batch that waits, of the one handed out last, and of the fetch they are made from. */
  get heldBytes(): number {
    return this.#bufferedBytes + this.#handedBytes + (this.#portions?.responseBytes ?? 0)
  }

  async poll(waitMs: number): Promise<EventBatch> {
    assert(!this.#isClosed, 'a closed cursor is not polled')
    assert(this.#wakePoll === null, 'one poll at a time')
    const generation = this.#generation
    this.#handedBytes = 0
    if (this.#buffered === null && !this.#isHalted()) await this.#waitForBatch(waitMs)
    if (generation !== this.#generation) return this.#nothing()
    const batch = this.#buffered
    if (batch !== null) {
      this.#handedBytes = this.#bufferedBytes
      this.#drop()
      this.#lastOffset = batch.lastOffset
      this.#wakeLoop?.()
      return batch
    }
    if (this.#failure !== null && !this.#isClosed) throw this.#failure
    this.#mustHaveAnswered()
    return this.#nothing()
  }

  seek(nextOffset: bigint): void {
    assert(nextOffset >= 0n, 'a seek goes to offset 0 or above')
    this.#generation++
    this.#emptyFetches = 0
    this.#fetchOffset = nextOffset
    this.#lastOffset = floorBefore(nextOffset)
    this.#drop()
    // Another position may well be inside the log; a broker that is away stays away.
    if (this.#isHalted()) this.#failure = null
    this.#wakePoll?.()
    this.#wakeLoop?.()
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#drop()
      this.#wakePoll?.()
      this.#wakeLoop?.()
      this.#releaseCluster()
      this.#options.onClose()
    }
    await this.#running
  }

  #drop(): void {
    this.#buffered = null
    this.#bufferedBytes = 0
  }

  #nothing(): EventBatch {
    return { events: [], lastOffset: this.#lastOffset }
  }

  /** A fetch that a broker never answers must not pass for a log without events. */
  #mustHaveAnswered(): void {
    const { topic, partition, brokers } = this.#options
    const silentMs = this.#fetchSinceMs === null ? 0 : performance.now() - this.#fetchSinceMs
    if (silentMs < silenceMs || this.#isClosed) return
    const message = `Kafka at ${brokers.join(', ')} has not answered a fetch from offset ${this.#fetchOffset} of partition ${partition} of topic ${topic} for ${Math.round(silentMs / 1000)} s; look at the leader of the partition`
    throw new ForebayError('FB_EVENT_LOG_UNREACHABLE', message)
  }

  #isHalted(): boolean {
    return this.#failure !== null && this.#failure.policy === 'halt'
  }

  #waitForBatch(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#wakePoll = null
        resolve()
      }
      const timer = setTimeout(wake, waitMs)
      this.#wakePoll = wake
    })
  }

  #sleep(ms: number | null): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#wakeLoop = null
        resolve()
      }
      const timer = ms === null ? undefined : setTimeout(wake, ms)
      this.#wakeLoop = wake
    })
  }

  async #run(): Promise<void> {
    let retryMs = retryFirstMs
    while (!this.#isClosed) {
      if (this.#buffered !== null) {
        await this.#sleep(null)
        continue
      }
      const generation = this.#generation
      try {
        const batch = await this.#nextPortion()
        retryMs = retryFirstMs
        if (generation !== this.#generation || this.#isClosed) continue
        this.#take(batch)
      } catch (error) {
        this.#fetchSinceMs = null
        this.#releaseCluster()
        const failure = await this.#explain(error)
        if (generation !== this.#generation || this.#isClosed) continue
        this.#failure = failure
        if (failure.policy === 'halt') this.#wakePoll?.()
        await this.#sleep(retryMs)
        retryMs = Math.min(retryMs * 2, retryLastMs)
      }
    }
    this.#cluster = null
    await this.#dropPortions()
    // A release while the loop was still connecting leaves open what was connected after it, and with it the process alive.
    if (this.#lastCluster !== null) await releaseCluster(this.#lastCluster)
  }

  #take(batch: EventBatch): void {
    this.#failure = null
    if (batch.lastOffset < this.#fetchOffset) return
    const first = batch.events[0]
    assert(first === undefined || first.offset >= this.#fetchOffset, 'a batch begins at the fetched offset or above')
    this.#fetchOffset = nextOffsetAfter(batch.lastOffset)
    this.#buffered = batch
    this.#bufferedBytes = batch.bytes ?? 0
    this.#wakePoll?.()
  }

  /** The next portion of the last fetch, or the first of a new one; empty when nothing came. */
  async #nextPortion(): Promise<EventBatch> {
    if (this.#portions !== null && this.#portions.generation !== this.#generation) await this.#dropPortions()
    this.#portions ??= await this.#fetch(this.#generation)
    if (this.#portions === null) return this.#nothingFetched()
    const portions = this.#portions
    const { value, done } = await portions.batches.next().catch((error: unknown) => {
      this.#portions = null
      throw error
    })
    if (done !== true) {
      portions.events += value.events.length
      return value
    }
    this.#portions = null
    this.#emptyFetches = portions.events > 0 ? 0 : this.#emptyFetches + 1
    // By now all of it was handed out, so no poll that takes a batch ends the pause.
    const pauseMs = portions.startedAt + smallFetchIntervalMs - performance.now()
    if (portions.events < smallBatchEvents && pauseMs > 0) await this.#sleep(pauseMs)
    return this.#nothingFetched()
  }

  #nothingFetched(): EventBatch {
    return { events: [], lastOffset: floorBefore(this.#fetchOffset) }
  }

  async #fetch(generation: number): Promise<Portions | null> {
    const { topic, partition, fetchBytesMax, limits } = this.#options
    const startedAt = (this.#fetchSinceMs = performance.now())
    const cluster = await this.#connected()
    const nextOffset = this.#fetchOffset
    const waitMs = this.#emptyFetches < idleAfterFetches ? fetchWaitMs : idleFetchWaitMs
    const fetched = await fetchFrom(cluster, { topic, partition, nextOffset, bytesMax: fetchBytesMax, waitMs })
    this.#fetchSinceMs = null
    if (fetched === undefined) return null
    const batches = portionsOf(fetched, nextOffset, limits, `partition ${partition} of topic ${topic}`)
    return { generation, batches, responseBytes: fetched.responseBytes, startedAt, events: 0 }
  }

  async #dropPortions(): Promise<void> {
    const portions = this.#portions
    this.#portions = null
    await portions?.batches.return(undefined)
  }

  async #connected(): Promise<Cluster> {
    if (this.#cluster !== null) return this.#cluster
    const cluster = clusterOf(this.#options.kafka)
    this.#cluster = cluster
    this.#lastCluster = cluster
    await cluster.connect()
    await cluster.addTargetTopic(this.#options.topic)
    return cluster
  }

  #releaseCluster(): void {
    const cluster = this.#cluster
    this.#cluster = null
    if (cluster !== null) void releaseCluster(cluster)
  }

  /** Out of range means that the events are gone: nothing may be skipped silently. */
  async #explain(error: unknown): Promise<ForebayError> {
    const { topic, partition, brokers } = this.#options
    const nextOffset = this.#fetchOffset
    const doing = `reading partition ${partition} of topic ${topic} from offset ${nextOffset}`
    if (kafkaErrorType(error) !== 'OFFSET_OUT_OF_RANGE') return kafkaProblem(error, doing, brokers)
    try {
      const startOffset = await this.#startOffset()
      const code = nextOffset < startOffset ? 'FB_RETENTION_PASSED' : 'FB_LOG_TRUNCATED'
      return new ForebayError(code, outOfRange(topic, partition, nextOffset, startOffset), { cause: error })
    } catch (rangeError) {
      return kafkaProblem(rangeError, doing, brokers)
    }
  }

  async #startOffset(): Promise<bigint> {
    const { topic, partition } = this.#options
    const cluster = await this.#connected()
    const [found] = await cluster.fetchTopicsOffset([{ topic, partitions: [{ partition }], fromBeginning: true }])
    const offset = found?.partitions[0]?.offset
    if (offset === undefined) throw new Error(`topic ${topic} has no partition ${partition}`)
    return BigInt(offset)
  }
}

function outOfRange(topic: string, partition: number, nextOffset: bigint, startOffset: bigint): string {
  const where = `partition ${partition} of topic ${topic}`
  if (nextOffset < startOffset) {
    return `${where} begins at offset ${startOffset}, but offset ${nextOffset} was to be read next: retention deleted events that were not yet processed; lengthen the topic's retention and reset the pipeline`
  }
  return `${where} ends before offset ${nextOffset}, which was to be read next: the topic was truncated or created anew`
}
