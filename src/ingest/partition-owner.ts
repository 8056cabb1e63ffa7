/**
 * Owns one partition of the event log: reads its events, makes jobs of them and keeps the partition's queues filled.
 *
 * One life, from `run` until its signal aborts or it throws; a new owner is made for the next life. It starts at the floor
 * and never trusts the grid (rule 1). Two loops share its state:
 *
 * - *ingest* polls, converts and appends, one unacknowledged segment a queue. It stands still while a window is full or
 *   the grid is away: the log is the spill (rule 3).
 * - *settle* raises the floor, opens the windows, repairs what readers flagged and keeps the tails of the queues its own
 *   (rules 4, 7, 8).
 *
 * While the pipeline is asked to drain (rule 11) ingest reads no further than what some queue has applied already.
 *
 * A repair changes the state at once and raises the generation; whatever ingest had under way in the old one is void.
 * Ownership is only a saving of work: two owners of a partition for a while harm nothing.
 *
 * Holds I3 (with `floorAllowedBy`), I6, I10, I11.
 */
import { assert } from '../assert.ts'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import { floorBefore, nextOffsetAfter } from '../events/event-log.ts'
import type { EventBatch, EventCursor, EventLog } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { flagKey, flagMapName, ringName, stampText } from '../grid/queue-name.ts'
import { decodeSegment, encodeSegment } from '../grid/segment.ts'
import type { LineKind } from '../grid/segment.ts'
import type { Observer } from '../observer.ts'
import { highestWatermark, lowestWatermark } from '../offsets/ledger.ts'
import type { Ledger, OwnerCapture, PartitionView } from '../offsets/ledger.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import type { Converter } from './converter.ts'
import { QueueOutbox } from './queue-outbox.ts'
import type { Draft } from './queue-outbox.ts'

export interface PartitionOwnerPorts {
  readonly log: EventLog
  readonly grid: JobGrid
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
}

export interface PartitionOwnerOptions {
  readonly partition: number
  /** Queues of the partition. */
  readonly queues: number
  /** Unique for this life (rule 2). */
  readonly owner: string
  readonly scope: string
  readonly secret: string
  readonly sections: readonly { task: string; kind: LineKind }[]
  readonly linesBytesMax: number
  readonly windowSegmentsMax: number
  /** How long jobs of a slow log wait for company in their segment. */
  readonly lingerMs: number
}

const pollWaitMs = 100
const sliceEvents = 512
const roomWaitMs = 5
/** Between two looks at the watermarks: with a window that fills up, otherwise. Each look is a transaction. */
const hastySettleMs = 50
const settleMs = 200
const heartbeatMs = 200
const repairIntervalMs = 500
const flagsMs = 200
const partingMs = 5000

export class PartitionOwner {
  readonly #ports: PartitionOwnerPorts
  readonly #options: PartitionOwnerOptions
  readonly #converter: Converter
  #outboxes: QueueOutbox[] = []
  #cursor: EventCursor | undefined
  #position = -1n
  #floor = -1n
  #generation = 0
  #repair = 0
  /** Of the flags, and of a repair. */
  #nextLookMs = 0
  #nextHeartbeatMs = 0
  #bufferedSinceMs: number | undefined
  /** Where reading stops while the pipeline is asked to drain. */
  #drainTo: bigint | undefined
  #view: PartitionView | undefined
  /** Watermark of each queue at the last look at its tail. */
  #stalled: bigint[] = []

  constructor(ports: PartitionOwnerPorts, options: PartitionOwnerOptions, converter: Converter) {
    this.#ports = ports
    this.#options = options
    this.#converter = converter
  }

  get partition(): number {
    return this.#options.partition
  }

  /** The last offset whose jobs are all sent or buffered. */
  get position(): bigint {
    return this.#position
  }

  /** The floor as last settled. */
  get floor(): bigint {
    return this.#floor
  }

  get outboxes(): readonly QueueOutbox[] {
    return this.#outboxes
  }

  /**
   * Throws FB_RETENTION_PASSED or FB_LOG_TRUNCATED (the partition must halt), FB_EPOCH_CLOSED, or what the ledger throws
   * while starting.
   */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const stop = new AbortController()
    const abort = () => stop.abort()
    signal.addEventListener('abort', abort)
    try {
      await this.#start()
      await Promise.all([this.#ingest(stop.signal).finally(abort), this.#settleUntil(stop.signal).finally(abort)])
    } finally {
      signal.removeEventListener('abort', abort)
      await this.#cursor?.close()
    }
  }

  /** Raises the floor to what is applied now; for the end of a node's life. */
  async settle(): Promise<void> {
    this.#observe(await this.#ports.ledger.settle(this.#capture()))
  }

  async #start(): Promise<void> {
    const { ledger, log } = this.#ports
    const { partition, queues, sections } = this.#options
    const view = await ledger.read(partition)
    const { startOffset, endOffset } = await log.range(partition)
    const nextOffset = nextOffsetAfter(view.floor)
    if (nextOffset < startOffset) {
      throw new ForebayError(
        'FB_RETENTION_PASSED',
        `partition ${partition}: the floor is ${view.floor}, but the log begins at ${startOffset}: ${startOffset - nextOffset} offsets are gone unprocessed. ` +
          'Nothing was skipped; raise the retention of the topic, and decide whether those events may be given up',
      )
    }
    if (nextOffset > endOffset) {
      throw new ForebayError(
        'FB_LOG_TRUNCATED',
        `partition ${partition}: the floor is ${view.floor}, but the log ends at ${endOffset}: the topic was truncated or made anew`,
      )
    }
    this.#floor = this.#position = view.floor
    this.#drainTo = drainTo(view)
    this.#outboxes = Array.from(
      { length: queues },
      (_, queue) => new QueueOutbox(queue, lowestWatermark(view, queue), sections, this.#options),
    )
    this.#stalled = this.#outboxes.map(() => -2n)
    this.#cursor = await log.open(partition, nextOffset)
  }

  async #ingest(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff()
    while (!signal.aborted) {
      const generation = this.#generation
      try {
        const batch = this.#isHeld() ? await this.#hold(signal) : await this.#poll()
        backoff.reset()
        if (generation === this.#generation) await this.#take(batch, generation, signal)
      } catch (error) {
        if (isForebayError(error) && error.policy === 'halt') await this.#part(signal)
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        await this.#ports.clock.sleep(backoff.next(), signal)
      }
      if (this.#hasLingered()) await this.#send(true, this.#generation, signal)
    }
  }

  #poll(): Promise<EventBatch> {
    assert(this.#cursor !== undefined, 'a started owner has a cursor')
    if (this.#bufferedSinceMs === undefined) return this.#cursor.poll(pollWaitMs)
    const waitedMs = this.#ports.clock.now() - this.#bufferedSinceMs
    return this.#cursor.poll(Math.max(0, this.#options.lingerMs - waitedMs))
  }

  /** Asked to drain, and past everything that is applied: with no row above its floor a cut can be made (rule 11). */
  #isHeld(): boolean {
    return this.#drainTo !== undefined && this.#position >= this.#drainTo
  }

  async #hold(signal: AbortSignal): Promise<EventBatch> {
    await this.#ports.clock.sleep(roomWaitMs, signal)
    return { events: [], lastOffset: this.#position }
  }

  async #take(batch: EventBatch, generation: number, signal: AbortSignal): Promise<void> {
    const { observer, clock } = this.#ports
    let jobs = 0
    for (let from = 0; from < batch.events.length; from += sliceEvents) {
      const slice = batch.events.slice(from, from + sliceEvents)
      const converted = this.#converter.convertAll(slice, this.partition)
      for (let i = 0; i < slice.length; i++) {
        const { offset, timestampMs } = slice[i]!
        const event = converted[i]!
        assert(offset > this.#position, 'I4: events come in the order of their offsets')
        jobs += event.lines.length
        const outbox = this.#outboxes[event.queue]!
        outbox.add(event, offset, timestampMs, this.#position)
        this.#position = offset
        if (!outbox.hasSealed) continue
        await this.#send(false, generation, signal)
        if (generation !== this.#generation || signal.aborted) return
      }
      // A turn for waiting I/O keeps cadences exact while a large batch is converted.
      await clock.sleep(0)
      if (generation !== this.#generation || signal.aborted) return
    }
    this.#position = batch.lastOffset
    if (batch.events.length === 0) return
    observer.count('events', batch.events.length)
    observer.count('jobs', jobs)
    if (this.#outboxes.some((outbox) => !outbox.isIdle)) this.#bufferedSinceMs ??= clock.now()
  }

  #hasLingered(): boolean {
    return this.#bufferedSinceMs !== undefined && this.#ports.clock.now() - this.#bufferedSinceMs >= this.#options.lingerMs
  }

  /** Before a halt: the log may never give again what is buffered, so it is sent and may be applied, for no longer than `partingMs`. */
  async #part(signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports
    const over = new AbortController()
    const until = AbortSignal.any([signal, over.signal])
    const time = clock.sleep(partingMs, until).then(() => over.abort())
    await this.#send(true, this.#generation, until)
    while (!until.aborted && this.#outboxes.some(({ windowSegments }) => windowSegments > 0)) await clock.sleep(hastySettleMs, until)
    over.abort()
    await time
  }

  /** Appends every full draft, and the open ones too when `withOpen`; waits for the acknowledgements. */
  async #send(withOpen: boolean, generation: number, signal: AbortSignal): Promise<void> {
    if (withOpen) this.#bufferedSinceMs = undefined
    await Promise.all(this.#outboxes.map((outbox) => this.#sendQueue(outbox, withOpen, generation, signal)))
  }

  async #sendQueue(outbox: QueueOutbox, withOpen: boolean, generation: number, signal: AbortSignal): Promise<void> {
    const isCurrent = () => generation === this.#generation && !signal.aborted
    while (isCurrent()) {
      const draft = outbox.takeDraft(this.#position, withOpen)
      if (draft === undefined) return
      if (outbox.isFull) this.#ports.observer.count('windowFull', 1)
      while (outbox.isFull && isCurrent()) await this.#ports.clock.sleep(roomWaitMs, signal)
      if (isCurrent()) await this.#append(outbox, draft, isCurrent, signal)
    }
  }

  /** Sends the same frozen bytes until the grid has them, or until they are void. */
  async #append(outbox: QueueOutbox, draft: Draft, isCurrent: () => boolean, signal: AbortSignal): Promise<void> {
    const { grid, observer, clock } = this.#ports
    const { scope, secret, owner, partition } = this.#options
    const { queue } = outbox
    const head = { scope, partition, queue, owner, repair: this.#repair, lo: outbox.sent, hi: draft.hi }
    const bytes = encodeSegment(head, draft.sections, secret)
    const backoff = new Backoff()
    while (isCurrent()) {
      try {
        await grid.append(ringName(scope, { partition, queue }), bytes)
        if (!isCurrent()) return
        outbox.acknowledge(draft.hi, bytes.length)
        observer.count('segments', 1)
        observer.count('segmentBytes', bytes.length)
        return
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        observer.count('appendRetries', 1)
        await clock.sleep(backoff.next(), signal)
      }
    }
  }

  async #settleUntil(signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#ports
    const backoff = new Backoff()
    let trouble: string | undefined
    while (!signal.aborted) {
      const calmMs = clock.now() + settleMs
      // A window may fill meanwhile.
      do await clock.sleep(hastySettleMs, signal)
      while (!signal.aborted && !this.#isHasty() && clock.now() < calmMs)
      if (signal.aborted) return
      try {
        await this.settle()
        await this.#repairFlagged()
        await this.#keepTails()
        backoff.reset()
        trouble = undefined
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        const sentence = sentenceOf(error)
        // Once for as long as it lasts.
        observer.log(sentence === trouble ? 'debug' : 'warn', `partition ${this.partition}: ${sentence}`, { code: error.code })
        trouble = sentence
        await clock.sleep(backoff.next(), signal)
      }
    }
  }

  /** Windows are to open, or a cut waits. */
  #isHasty(): boolean {
    return this.#drainTo !== undefined || this.#outboxes.some((outbox) => outbox.isHalfFull)
  }

  #capture(): OwnerCapture {
    const queues = this.#outboxes.map(({ sent, isIdle }) => ({ sent, isIdle }))
    return { partition: this.partition, position: this.#position, queues }
  }

  #observe(view: PartitionView): void {
    this.#floor = view.floor
    this.#drainTo = drainTo(view)
    for (const outbox of this.#outboxes) outbox.release(lowestWatermark(view, outbox.queue))
    this.#view = view
  }

  async #repairFlagged(): Promise<void> {
    const { grid, ledger, clock, observer } = this.#ports
    const { scope, owner, partition } = this.#options
    if (clock.now() < this.#nextLookMs) return
    this.#nextLookMs = clock.now() + flagsMs
    const flags = await grid.entries(flagMapName(scope))
    const stamp = stampText({ owner, repair: this.#repair })
    const flagged = this.#outboxes.filter(({ queue }) => flags.get(flagKey({ partition, queue })) === stamp)
    if (flagged.length === 0) return
    const view = await ledger.read(partition)
    const needy = flagged.filter((outbox) => lowestWatermark(view, outbox.queue) < outbox.sent)
    if (needy.length > 0) {
      this.#rewind(needy, view)
      this.#nextLookMs = clock.now() + repairIntervalMs
      observer.count('repairs', needy.length)
      observer.log('warn', `partition ${partition}: the grid lost jobs; making them again from offset ${nextOffsetAfter(this.#position)}`, {
        queues: needy.map(({ queue }) => queue),
        repair: this.#repair,
      })
    }
    for (const { queue } of flagged) await grid.remove(flagMapName(scope), flagKey({ partition, queue }))
  }

  /** Rule 8, in one piece: other queues keep what they sent, and lose what they had only buffered to the second reading. */
  #rewind(needy: readonly QueueOutbox[], view: PartitionView): void {
    this.#generation++
    this.#repair++
    this.#bufferedSinceMs = undefined
    let position = this.#position
    for (const outbox of this.#outboxes) {
      const isNeedy = needy.includes(outbox)
      const isIdle = outbox.isIdle
      outbox.clear()
      if (isNeedy) outbox.rewind(lowestWatermark(view, outbox.queue))
      if ((isNeedy || !isIdle) && outbox.sent < position) position = outbox.sent
    }
    this.#position = position
    this.#cursor?.seek(nextOffsetAfter(position))
  }

  /** Rule 4: where a queue makes no progress, its tail must be this owner's latest entry, or the loss of the last segment stays unseen. */
  async #keepTails(): Promise<void> {
    const { clock } = this.#ports
    if (clock.now() < this.#nextHeartbeatMs) return
    this.#nextHeartbeatMs = clock.now() + heartbeatMs
    for (const outbox of this.#outboxes) {
      const watermark = this.#view === undefined ? floorBefore(0n) : lowestWatermark(this.#view, outbox.queue)
      const isStalled = outbox.sent > watermark && this.#stalled[outbox.queue] === watermark
      this.#stalled[outbox.queue] = watermark
      if (isStalled) await this.#keepTail(outbox)
    }
  }

  async #keepTail(outbox: QueueOutbox): Promise<void> {
    const { grid, observer } = this.#ports
    const { scope, secret, owner, partition } = this.#options
    const generation = this.#generation
    const ring = ringName(scope, { partition, queue: outbox.queue })
    const { entry } = await grid.tail(ring)
    const tail = entry === undefined ? undefined : decodeSegment(entry, secret)
    const isOwn = tail !== undefined && tail.owner === owner && tail.repair === this.#repair && tail.hi >= outbox.sent
    if (isOwn || generation !== this.#generation) return
    const head = { scope, partition, queue: outbox.queue, owner, repair: this.#repair, lo: outbox.sent, hi: outbox.sent }
    await grid.append(ring, encodeSegment(head, [], secret))
    observer.count('heartbeats', 1)
  }
}

function drainTo(view: PartitionView): bigint | undefined {
  return view.isDraining === true ? highestWatermark(view) : undefined
}
