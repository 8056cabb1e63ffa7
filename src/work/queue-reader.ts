/**
 * Reads one queue and hands its jobs to the tasks' inboxes, once and in order (rule 5).
 *
 * Its memory is `received` and the inboxes. It is *blank* until it has read the watermarks, then *following* the ring.
 * `forget` makes it blank again: after a gap, a fenced or failed flush, or when the watermarks turn out to be behind its
 * memory. Nothing is lost by that, since a ring is read without taking from it. Watermarks ahead of all that it received are
 * no cause to forget: it moves on to them.
 *
 * A gap is first answered by looking at the watermarks, then by forgetting, for what it dropped or never saw may stand in the
 * ring; what is still a gap then is *suspect*: the segment is dropped, since in ring order the repair queues behind it, and
 * the queue's flag is raised, again on every pass, until the gap closes.
 *
 * Holds I1 and I4 together with the compare-and-set, and I10: it reads no further than a window of segments.
 */
import { isForebayError } from '../errors.ts'
import { GridDoubt } from '../grid/grid-doubt.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { flagKey, flagMapName, ringName, stampText } from '../grid/queue-name.ts'
import { decodeSegment } from '../grid/segment.ts'
import type { Segment } from '../grid/segment.ts'
import type { Observer } from '../observer.ts'
import { effectiveWatermark, lowestWatermark, watermarkRow } from '../ledger/ledger.ts'
import type { Ledger, PartitionView, QueueId } from '../ledger/ledger.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import { TaskInbox } from './task-inbox.ts'

export interface QueueReaderPorts {
  readonly grid: JobGrid
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
}

export interface QueueReaderOptions extends QueueId {
  readonly scope: string
  readonly secret: string
  readonly trackedTasks: readonly string[]
  readonly untrackedTasks: readonly string[]
  readonly windowSegmentsMax: number
  /** Called after jobs were added to the inboxes. */
  readonly onJobs: (reader: QueueReader) => void
}

/** Entries of one read: enough to keep up with a full ring, and few, for a read comes on top of a full window (I10). */
export const readEntriesMax = 16
const readWaitMs = 1000
/** With a gap open, whose flag is raised again and again. */
const gapReadWaitMs = 200
const heldWaitMs = 5
const flagIntervalMs = 200
/** Between two looks at the tail while the reader is idle: as a rule, and while the grid may have lost something. */
const tailLookMs = 10_000
const doubtfulTailLookMs = 1000

/** What a reader remembered before a look at the watermarks. */
export interface Recollection {
  readonly memory: number
  /** By tracked task: its row, and up to where all was applied. */
  readonly watermarks: ReadonlyMap<string, { readonly row: bigint; readonly applied: bigint }>
}

export class QueueReader {
  /** The queue in one word. */
  readonly name: string
  readonly #ports: QueueReaderPorts
  readonly #options: QueueReaderOptions
  readonly #ring: string
  /** Empty while blank. */
  #inboxes = new Map<string, TaskInbox>()
  #isBlank = true
  #received = -1n
  /** Segments of which some inbox still holds a part, oldest first: a part keeps the whole segment in memory. */
  #held: { readonly hi: bigint; readonly bytes: number }[] = []
  #sequence = 0n
  /** Ends the wait of a read when there is something else to do. */
  #over = new AbortController()
  /** Names this memory: what a flush learned of an older one is void. */
  #memory = 0
  /** Where this memory stood when it last met a gap and was forgotten: the same gap again is a true one. */
  #suspectAt: bigint | undefined
  #gapStamp: string | undefined
  #flaggedMs = -Infinity
  /** Up to where segments behind a gap were dropped: the ring holds them still. */
  #droppedTo = -1n
  /** An owner waits for something that this memory holds applied. */
  #isDoubted = false
  #tailSeenMs = -Infinity

  constructor(ports: QueueReaderPorts, options: QueueReaderOptions) {
    this.#ports = ports
    this.#options = options
    this.#ring = ringName(options.scope, options)
    this.name = flagKey(options)
  }

  get id(): QueueId {
    return { partition: this.#options.partition, queue: this.#options.queue }
  }

  get received(): bigint {
    return this.#received
  }

  get memory(): number {
    return this.#memory
  }

  /** Bytes of the segments that wait for the flush of some task. */
  get heldBytes(): number {
    this.#dropSettled()
    return this.#held.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Undefined while the reader is blank. */
  inbox(task: string): TaskInbox | undefined {
    return this.#inboxes.get(task)
  }

  /** Drops all memory; the watermarks and the ring are read again. */
  forget(): void {
    if (this.#isBlank) return
    this.#ports.observer.count('forgets', 1)
    this.#isBlank = true
    this.#memory++
    this.#endRead()
    this.#inboxes = new Map()
    this.#held = []
  }

  /** A flush of `task` up to `to` is committed; void when `memory` is not the present one. */
  settle(task: string, to: bigint, memory: number): void {
    if (memory === this.#memory) this.#inboxes.get(task)?.settle(to)
  }

  /** What a look at the watermarks is compared with; undefined while blank. */
  recall(): Recollection | undefined {
    if (this.#isBlank) return undefined
    const watermarks = this.#options.trackedTasks.map((task) => {
      const { row, applied } = this.#inboxes.get(task)!
      return [task, { row, applied }] as const
    })
    return { memory: this.#memory, watermarks: new Map(watermarks) }
  }

  /**
   * Compares this memory with `view`, read after `known` was recalled. A row or a watermark behind it: the database forgot a
   * commit, whatever other tasks still hold. Watermarks beyond all that it received: it moves on to them, unless what it dropped is needed now.
   */
  compare(known: Recollection, view: PartitionView): void {
    if (known.memory !== this.#memory) return
    const { queue } = this.#options
    for (const [task, { row, applied }] of known.watermarks) {
      if (watermarkRow(view, task, queue) < row || effectiveWatermark(view, task, queue) < applied) return this.forget()
    }
    const lowest = lowestWatermark(view, queue)
    if (lowest <= this.#received) return
    // A flush that ended meanwhile knows more than this view.
    for (const task of known.watermarks.keys()) if (watermarkRow(view, task, queue) < this.#inboxes.get(task)!.row) return
    if (this.#droppedTo > lowest) return this.forget()
    for (const task of known.watermarks.keys()) {
      this.#inboxes.get(task)!.follow(effectiveWatermark(view, task, queue), watermarkRow(view, task, queue))
    }
    this.#received = lowest
    this.#gapStamp = undefined
  }

  /** Throws what no waiting mends. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#ports
    const backoff = new Backoff()
    const doubt = new GridDoubt(this.#ports)
    const stop = () => this.#endRead()
    signal.addEventListener('abort', stop)
    try {
      while (!signal.aborted) {
        try {
          if (this.#isBlank) await this.#remember()
          else if (this.#isHolding()) await clock.sleep(heldWaitMs, signal)
          else await this.#pass(doubt, signal)
          backoff.reset()
        } catch (error) {
          if (!isForebayError(error) || error.policy !== 'retry') throw error
          observer.log('debug', `queue ${this.name}: ${error.message}`, { code: error.code })
          await clock.sleep(backoff.next(), signal)
        }
      }
    } finally {
      doubt.close()
      signal.removeEventListener('abort', stop)
    }
  }

  #endRead(): void {
    this.#over.abort()
    this.#over = new AbortController()
  }

  async #remember(): Promise<void> {
    const { partition, queue, trackedTasks, untrackedTasks } = this.#options
    const memory = this.#memory
    const view = await this.#ports.ledger.read(partition)
    if (memory !== this.#memory) return
    const lowest = lowestWatermark(view, queue)
    this.#received = lowest
    this.#sequence = 0n
    this.#inboxes = new Map()
    for (const task of trackedTasks) {
      this.#inboxes.set(task, new TaskInbox(task, effectiveWatermark(view, task, queue), watermarkRow(view, task, queue)))
    }
    for (const task of untrackedTasks) this.#inboxes.set(task, new TaskInbox(task, lowest))
    this.#gapStamp = undefined
    this.#droppedTo = -1n
    this.#isDoubted = false
    this.#tailSeenMs = this.#ports.clock.now()
    this.#isBlank = false
  }

  /** More than a window waits for its flush: two writers, or a task that is far behind. */
  #isHolding(): boolean {
    for (const inbox of this.#inboxes.values()) if (inbox.intervals > this.#options.windowSegmentsMax) return true
    return false
  }

  #isIdle(): boolean {
    for (const inbox of this.#inboxes.values()) if (inbox.intervals > 0) return false
    return true
  }

  async #pass(doubt: GridDoubt, signal: AbortSignal): Promise<void> {
    const memory = this.#memory
    const waitMs = this.#gapStamp === undefined ? readWaitMs : gapReadWaitMs
    const { signal: over } = this.#over
    const read = await this.#ports.grid.read(this.#ring, this.#sequence, { countMax: readEntriesMax, waitMs, signal: over })
    if (signal.aborted || memory !== this.#memory) return
    const segments = this.#decode(read.entries)
    // Behind a gap there is a floor that has moved on, as a rule: that is no cause to read the ring again. What fails here is read again.
    if (this.#showsGap(segments)) await this.#look()
    if (memory !== this.#memory) return
    // The cursor always moves on: waiting at a gap for a repair that queues behind it would never end.
    this.#sequence = read.nextSequence
    if (segments.length > 0) this.#judge(segments)
    if (this.#isBlank) return
    await this.#raiseFlag()
    if (!this.#isIdle() || this.#isBlank) return
    if (this.#isDoubted) await this.#look()
    const lookMs = doubt.isRaised ? doubtfulTailLookMs : tailLookMs
    if (this.#ports.clock.now() - this.#tailSeenMs >= lookMs) await this.#lookAtTail()
  }

  #decode(entries: readonly Buffer[]): Segment[] {
    const { scope, secret, partition, queue } = this.#options
    const segments: Segment[] = []
    for (const entry of entries) {
      const segment = decodeSegment(entry, secret)
      const isOurs = segment !== undefined && segment.scope === scope && segment.partition === partition && segment.queue === queue
      if (isOurs) segments.push(segment)
      else this.#ports.observer.count('foreign', 1)
    }
    return segments
  }

  #showsGap(segments: readonly Segment[]): boolean {
    let received = this.#received
    for (const { lo, hi } of inOrder(segments)) {
      if (lo > received) return true
      if (hi > received) received = hi
    }
    return false
  }

  /** Takes what one read brought, in the order of `lo`. */
  #judge(segments: readonly Segment[]): void {
    const { observer } = this.#ports
    const gapped = new Set<Segment>()
    let isNew = false
    for (const segment of inOrder(segments)) {
      if (segment.lo > this.#received) {
        observer.count('gaps', 1)
        // By place and not by a flag: what is accepted again on the way to the same gap would otherwise make it look new for ever.
        if (this.#suspectAt !== this.#received) {
          this.#suspectAt = this.#received
          return this.forget()
        }
        gapped.add(segment)
        if (segment.hi > this.#droppedTo) this.#droppedTo = segment.hi
      } else if (segment.hi <= this.#received) {
        observer.count('skips', 1)
        // A heartbeat that brings nothing new while nothing is in flight: the owner waits for what this memory holds applied.
        if (segment.lo === segment.hi && this.#isIdle()) this.#isDoubted = true
      } else {
        this.#accept(segment)
        isNew = true
      }
    }
    // The one that was appended last is the likeliest to be of the present owner, who ignores all other stamps.
    const newest = segments.findLast((segment) => gapped.has(segment))
    if (newest !== undefined) this.#gapStamp = stampText(newest)
    if (isNew) this.#options.onJobs(this)
  }

  #accept(segment: Segment): void {
    if (segment.lo < this.#received) this.#ports.observer.count('overlaps', 1)
    for (const inbox of this.#inboxes.values()) inbox.push(segment, this.#received)
    this.#dropSettled()
    this.#held.push({ hi: segment.hi, bytes: segment.bytes })
    this.#received = segment.hi
    this.#gapStamp = undefined
  }

  #dropSettled(): void {
    let settled = this.#received
    for (const { applied } of this.#inboxes.values()) if (applied < settled) settled = applied
    let done = 0
    while (done < this.#held.length && this.#held[done]!.hi <= settled) done++
    if (done > 0) this.#held.splice(0, done)
  }

  async #raiseFlag(): Promise<void> {
    const { clock, grid, observer } = this.#ports
    if (this.#gapStamp === undefined || clock.now() - this.#flaggedMs < flagIntervalMs) return
    this.#flaggedMs = clock.now()
    // The place of this gap was suspect before; somebody else may have applied what this memory still waits for.
    await this.#look()
    if (this.#isBlank || this.#gapStamp === undefined) return
    observer.count('flags', 1)
    await grid.put(flagMapName(this.#options.scope), this.name, this.#gapStamp)
  }

  async #look(): Promise<void> {
    this.#isDoubted = false
    const known = this.recall()
    const view = await this.#ports.ledger.read(this.#options.partition)
    if (known !== undefined) this.compare(known, view)
  }

  /**
   * In a ring made anew an idle reader may stand past entries that it never saw, and the owner, whose entry is the tail, has no
   * cause for a heartbeat.
   */
  async #lookAtTail(): Promise<void> {
    const memory = this.#memory
    const { sequence, entry } = await this.#ports.grid.tail(this.#ring)
    if (memory !== this.#memory) return
    this.#tailSeenMs = this.#ports.clock.now()
    if (entry === undefined || sequence >= this.#sequence) return
    const [tail] = this.#decode([entry])
    if (tail !== undefined && tail.hi > this.#received) this.forget()
  }
}

function inOrder(segments: readonly Segment[]): Segment[] {
  return segments.toSorted((a, b) => (a.lo < b.lo ? -1 : a.lo > b.lo ? 1 : 0))
}
