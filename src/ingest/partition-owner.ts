/**
 * Owns one partition of the event log: reads its events, makes jobs of them and keeps the partition's queues filled.
 *
 * One life, from `run` until its signal aborts or it throws; a new owner is made for the next life. It starts at the floor
 * and never trusts the grid (rule 1). Two loops share its state (`PartitionOutbox`):
 *
 * - *ingest*, here, polls, converts and has it sent (`SegmentSender`). It stands still while a window is full or the grid is
 *   away: the log is the spill (rule 3).
 * - *settle* (`PartitionSettler`) raises the floor, opens the windows, repairs what readers flagged and keeps the tails of the
 *   queues its own (rules 4, 7, 8).
 *
 * While the pipeline is asked to drain (rule 11) ingest reads no further than what some queue has applied already.
 *
 * A repair changes the state at once and raises the generation; whatever ingest had under way in the old one is void.
 * Ownership is only a saving of work: two owners of a partition for a while harm nothing.
 *
 * Holds I3 (with `floorAllowedBy`), I6, I10, I11.
 */
import { ForebayError, isForebayError } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import type { EventBatch, EventCursor, EventRecord } from '../events/event-log.ts'
import { Backoff } from '../schedule/backoff.ts'
import { haltRefusal, highestWatermark } from '../ledger/ledger.ts'
import { CarefulConversion, sandboxEventsMax } from './careful-conversion.ts'
import type { ConvertedEvent, Converter } from './converter.ts'
import { LogContinuity } from './log-continuity.ts'
import type { Applied } from './log-continuity.ts'
import { PartitionOutbox } from './partition-outbox.ts'
import { hastySettleMs, roomWaitMs } from './partition-owner-options.ts'
import type { PartitionOwnerOptions, PartitionOwnerPorts } from './partition-owner-options.ts'
import { PartitionSettler } from './partition-settler.ts'
import type { QueueOutbox } from './queue-outbox.ts'
import { SegmentSender } from './segment-sender.ts'

const pollWaitMs = 100
const sliceEvents = 512
const partingMs = 5000

/** What a started owner works with. */
interface Work {
  readonly outbox: PartitionOutbox
  readonly sender: SegmentSender
  readonly settler: PartitionSettler
  readonly cursor: EventCursor
  readonly continuity: LogContinuity
  readonly conversion: CarefulConversion | undefined
}

export class PartitionOwner {
  readonly #ports: PartitionOwnerPorts
  readonly #options: PartitionOwnerOptions
  readonly #converter: Converter
  /** Undefined until it has started. */
  #hasToldOfTimes = false
  #work: Work | undefined

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
    return this.#work?.outbox.position ?? -1n
  }

  /** The floor as last settled. */
  get floor(): bigint {
    return this.#work?.settler.floor ?? -1n
  }

  /** The newest leader epoch that is known to continue what was read; undefined while none is. */
  get leaderEpoch(): number | undefined {
    return this.#work?.continuity.leaderEpoch
  }

  /** What it does while it looks for an event that ends its process, for people (rule 23). */
  get careful(): string | undefined {
    return this.#work?.conversion?.sentence
  }

  get outboxes(): readonly QueueOutbox[] {
    return this.#work?.outbox.queues ?? []
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
      const work = await this.#start()
      await Promise.all([this.#ingest(work, stop.signal).finally(abort), work.settler.run(stop.signal).finally(abort)])
    } catch (error) {
      if (isForebayError(error, 'FB_LOG_TRUNCATED')) await this.#latch(error, signal)
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
      await this.#work?.cursor.close()
      if (this.#work !== undefined) await this.#leave()
    }
  }

  /** Who dies before is counted by the next owner (rule 23); a database that is away makes it so too. */
  async #leave(): Promise<void> {
    try {
      await this.#ports.careful?.book.leave(this.partition, this.#options.owner)
    } catch (error) {
      if (!isForebayError(error)) throw error
    }
  }

  /** Rule 21: a log that grows again heals nothing, so the next life must know. Tried until the ledger has it, or the partition is given away. */
  async #latch({ message: reason }: ForebayError, signal: AbortSignal): Promise<void> {
    const { ledger, log, clock } = this.#ports
    const { partition } = this.#options
    const backoff = new Backoff()
    while (!signal.aborted) {
      try {
        const view = await ledger.read(partition)
        if (view.halt !== undefined) throw haltRefusal(view.halt)
        const { endOffset: logEnd } = await log.range(partition)
        const halt = { partition, reason, floor: view.floor, logEnd }
        await ledger.halt(halt)
        throw haltRefusal(halt)
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        await clock.sleep(backoff.next(), signal)
      }
    }
  }

  /** Raises the floor to what is applied now; for the end of a node's life. */
  async settle(): Promise<void> {
    await this.#work?.settler.settle()
  }

  async #start(): Promise<Work> {
    const { ledger, log } = this.#ports
    const { partition } = this.#options
    const view = await ledger.read(partition)
    if (view.halt !== undefined) throw haltRefusal(view.halt)
    const { startOffset, endOffset } = await log.range(partition)
    const nextOffset = nextOffsetAfter(view.floor)
    if (nextOffset < startOffset) {
      throw new ForebayError(
        'FB_RETENTION_PASSED',
        `partition ${partition}: the floor is ${view.floor}, but the log begins at ${startOffset}: ${startOffset - nextOffset} offsets are gone unprocessed. ` +
          'Nothing was skipped; raise the retention of the topic, and decide whether those events may be given up',
      )
    }
    // Also where only a row has passed the end: what comes at those offsets is not what was applied.
    const applied = highestWatermark(view)
    if (nextOffsetAfter(applied) > endOffset) {
      throw new ForebayError(
        'FB_LOG_TRUNCATED',
        `partition ${partition}: the floor is ${view.floor}${applied > view.floor ? `, and jobs up to ${applied} are applied` : ''}, but the log ends at ${endOffset}: the topic was truncated or made anew`,
      )
    }
    const appliedNow = async (): Promise<Applied> => {
      const now = await ledger.read(partition)
      return now.leaderEpoch === undefined ? undefined : { offset: highestWatermark(now), epoch: now.leaderEpoch }
    }
    const continuity = new LogContinuity(log, partition, view.leaderEpoch, appliedNow)
    const outbox = new PartitionOutbox(view, this.#options)
    const sender = new SegmentSender(this.#ports, this.#options, outbox)
    const cursor = await log.open(partition, nextOffset)
    const onRewind = () => cursor.seek(nextOffsetAfter(outbox.position))
    const settler = new PartitionSettler(
      this.#ports,
      { ...this.#options, onRewind, leaderEpoch: () => continuity.leaderEpoch },
      outbox,
      view,
    )
    return (this.#work = { outbox, sender, settler, cursor, continuity, conversion: await this.#conversion() })
  }

  async #conversion(): Promise<CarefulConversion | undefined> {
    const { careful, clock, observer } = this.#ports
    if (careful === undefined) return undefined
    const record = await careful.book.begin(this.partition, this.#options.owner)
    return new CarefulConversion({ ...careful, clock, observer }, this.#converter, this.partition, record)
  }

  async #ingest(work: Work, signal: AbortSignal): Promise<void> {
    const { outbox, sender } = work
    const backoff = new Backoff()
    // The cursor has passed it: it is kept until it is known to continue what was read.
    let polled: { readonly batch: EventBatch; readonly generation: number } | undefined
    while (!signal.aborted) {
      const { generation } = outbox
      if (polled?.generation !== generation) polled = undefined
      try {
        polled ??= { batch: this.#isHeld(work) ? await this.#hold(work, signal) : await this.#poll(work), generation }
        await work.continuity.check(polled.batch)
        while (work.settler.isEpochUnkept && !signal.aborted) await this.#ports.clock.sleep(hastySettleMs, signal)
        backoff.reset()
        const { batch } = polled
        polled = undefined
        if (generation === outbox.generation) await this.#take(work, batch, generation, signal)
      } catch (error) {
        if (isForebayError(error) && error.policy === 'halt') await this.#part(work, signal)
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        await this.#ports.clock.sleep(backoff.next(), signal)
      }
      if (this.#hasLingered(work)) await sender.send(true, outbox.generation, signal)
    }
  }

  #poll({ cursor, outbox }: Work): Promise<EventBatch> {
    if (outbox.bufferedSinceMs === undefined) return cursor.poll(pollWaitMs)
    const waitedMs = this.#ports.clock.now() - outbox.bufferedSinceMs
    return cursor.poll(Math.max(0, this.#options.lingerMs - waitedMs))
  }

  /** Asked to drain, and past everything that is applied: with no row above its floor a cut can be made (rule 11). */
  #isHeld({ settler, outbox }: Work): boolean {
    return settler.drainTo !== undefined && outbox.position >= settler.drainTo
  }

  async #hold({ outbox }: Work, signal: AbortSignal): Promise<EventBatch> {
    await this.#ports.clock.sleep(roomWaitMs, signal)
    return { events: [], lastOffset: outbox.position }
  }

  async #take(work: Work, batch: EventBatch, generation: number, signal: AbortSignal): Promise<void> {
    const { outbox, sender, conversion } = work
    const { observer, clock } = this.#ports
    this.#tellOfTimes(batch)
    let [jobs, tombstones] = [0, 0]
    for (let from = 0; from < batch.events.length;) {
      const isCareful = conversion?.isCareful === true
      const slice = batch.events.slice(from, from + (isCareful ? sandboxEventsMax : sliceEvents))
      const converted = await this.#convert(work, slice, generation, signal)
      if (converted === undefined || generation !== outbox.generation || signal.aborted) return
      from += slice.length
      for (let i = 0; i < slice.length; i++) {
        const event = converted[i]!
        jobs += event.lines.length
        if (event.isSkipped === true) tombstones++
        if (!outbox.add(event, slice[i]!).hasSealed) continue
        await sender.send(false, generation, signal)
        if (generation !== outbox.generation || signal.aborted) return
      }
      // What is known good does not wait for what may take its time.
      if (isCareful) await sender.send(true, generation, signal)
      // A turn for waiting I/O keeps cadences exact while a large batch is converted.
      await clock.sleep(0)
      if (generation !== outbox.generation || signal.aborted) return
    }
    outbox.pass(batch.lastOffset)
    if (batch.events.length === 0) return
    observer.count('events', batch.events.length)
    observer.count('jobs', jobs)
    if (tombstones > 0) observer.count('tombstones', tombstones)
    if (!outbox.isIdle) outbox.bufferedSinceMs ??= clock.now()
  }

  /**
   * Tried until the decoder knows what it must: the batch is not given up, since the cursor has passed it. Undefined when the
   * conversion is void: another generation, or the end.
   */
  async #convert(
    { outbox, sender, conversion }: Work,
    events: readonly EventRecord[],
    generation: number,
    signal: AbortSignal,
  ): Promise<readonly ConvertedEvent[] | undefined> {
    const { clock, observer } = this.#ports
    const backoff = new Backoff()
    for (;;) {
      try {
        await this.#prepare(events)
        if (generation !== outbox.generation || signal.aborted) return undefined
        const startedMs = clock.now()
        if (conversion?.isCareful === true) return await conversion.convertAll(events, signal)
        const converted =
          conversion === undefined ? this.#converter.convertAll(events, this.partition) : await conversion.convertAll(events, signal)
        observer.value('convertMs', clock.now() - startedMs)
        return converted
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        // What is known good does not wait for what may take its time.
        await sender.send(true, generation, signal)
        if (generation !== outbox.generation || signal.aborted) return undefined
        await clock.sleep(backoff.next(), signal)
        if (generation !== outbox.generation || signal.aborted) return undefined
      }
    }
  }

  #prepare(events: readonly EventRecord[]): Promise<void> | undefined {
    const { troubles } = this.#ports
    const preparing = this.#converter.prepare(events)
    if (preparing === undefined || troubles === undefined) return preparing
    return troubles.watch('schemas', `partition ${this.partition}`, () => preparing)
  }

  /** Once in this life; the metric counts all. */
  #tellOfTimes({ clampedTimes = 0, lastOffset }: EventBatch): void {
    const { observer } = this.#ports
    if (clampedTimes === 0) return
    observer.count('clampedTimes', clampedTimes)
    if (this.#hasToldOfTimes) return
    this.#hasToldOfTimes = true
    observer.log(
      'warn',
      `partition ${this.partition}: events up to offset ${lastOffset} have record times before 1970 or after 9999 (their producer may write none, or nanoseconds); they are read with the nearest time in between`,
    )
  }

  #hasLingered({ outbox }: Work): boolean {
    return outbox.bufferedSinceMs !== undefined && this.#ports.clock.now() - outbox.bufferedSinceMs >= this.#options.lingerMs
  }

  /** Before a halt: the log may never give again what is buffered, so it is sent and may be applied, for no longer than `partingMs`. */
  async #part({ outbox, sender }: Work, signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports
    const over = new AbortController()
    const until = AbortSignal.any([signal, over.signal])
    const time = clock.sleep(partingMs, until).then(() => over.abort())
    await sender.send(true, outbox.generation, until)
    while (!until.aborted && outbox.queues.some(({ windowSegments }) => windowSegments > 0)) await clock.sleep(hastySettleMs, until)
    over.abort()
    await time
  }
}
