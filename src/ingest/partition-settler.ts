/**
 * The settle loop of a partition's owner: raises the floor and opens the windows (rule 7), makes again what readers flagged
 * as lost (rule 8), and keeps the tails of its queues its own (rule 4).
 */
import { isForebayError } from '../errors.ts'
import { nextOffsetAfter } from '../events/event-log.ts'
import { GridDoubt } from '../grid/grid-doubt.ts'
import { flagKey, flagMapName, ringName, stampText } from '../grid/queue-name.ts'
import { decodeSegment, encodeSegment } from '../grid/segment.ts'
import { highestWatermark, lowestWatermark } from '../ledger/ledger.ts'
import type { PartitionView } from '../ledger/ledger.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { PartitionOutbox } from './partition-outbox.ts'
import { hastySettleMs } from './partition-owner-options.ts'
import type { PartitionOwnerOptions, PartitionOwnerPorts } from './partition-owner-options.ts'
import type { QueueOutbox } from './queue-outbox.ts'

export interface PartitionSettlerOptions extends PartitionOwnerOptions {
  /** A repair took the position of the outbox back. */
  readonly onRewind: () => void
  /** The newest leader epoch up to the position; undefined while none is known. */
  readonly leaderEpoch: () => number | undefined
}

const settleMs = 200
/** Where nothing is to be settled: a look at the epoch, at a request to drain, and at what a failover took back. */
const idleSettleMs = 1000
/** Between two looks at the tails: as a rule, and while the grid may have lost something. */
const tailLookMs = 1000
const doubtfulTailLookMs = 200
const repairIntervalMs = 500
const flagsMs = 200
/** Flags may come late: for so long after the last open queue they are looked at. */
const lateFlagsMs = 2000

export class PartitionSettler {
  readonly #ports: PartitionOwnerPorts
  readonly #options: PartitionSettlerOptions
  readonly #outbox: PartitionOutbox
  #view: PartitionView
  /** Of the flags, and of a repair. */
  #nextLookMs = 0
  #tailsSeenMs = -Infinity
  #settledMs = -Infinity
  /** When jobs were last known to be sent and not applied. */
  #openMs = -Infinity
  /** Watermark of each queue at the last look at its tail. */
  readonly #stalled = new Map<QueueOutbox, bigint>()

  /** `view` is what `outbox` was begun from. */
  constructor(ports: PartitionOwnerPorts, options: PartitionSettlerOptions, outbox: PartitionOutbox, view: PartitionView) {
    this.#ports = ports
    this.#options = options
    this.#outbox = outbox
    this.#view = view
  }

  /** The floor as last settled. */
  get floor(): bigint {
    return this.#view.floor
  }

  /** Where reading stops while the pipeline is asked to drain (rule 11): with no row above its floor a cut can be made. */
  get drainTo(): bigint | undefined {
    return drainTo(this.#view)
  }

  /** Throws FB_EPOCH_CLOSED and what no waiting mends. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#ports
    const backoff = new Backoff()
    const doubt = new GridDoubt(this.#ports)
    while (!signal.aborted) {
      const calmMs = clock.now() + settleMs
      // A window may fill meanwhile.
      do await clock.sleep(hastySettleMs, signal)
      while (!signal.aborted && !this.#isHasty() && clock.now() < calmMs)
      if (signal.aborted) break
      try {
        if (this.#isToSettle()) await this.settle()
        if (clock.now() - this.#openMs < lateFlagsMs) await this.#repairFlagged()
        await this.#keepTails(doubt.isRaised ? doubtfulTailLookMs : tailLookMs)
        backoff.reset()
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        // Who watches the calls tells what lasts.
        observer.log('debug', `partition ${this.#outbox.partition}: ${error.message}`, { code: error.code })
        await clock.sleep(backoff.next(), signal)
      }
    }
    doubt.close()
  }

  /** Raises the floor to what is applied now. */
  async settle(): Promise<void> {
    const view = await this.#ports.ledger.settle({ ...this.#outbox.capture(), leaderEpoch: this.#options.leaderEpoch() })
    this.#outbox.release(view)
    this.#view = view
    this.#settledMs = this.#ports.clock.now()
  }

  /** The ledger does not have the present leader epoch yet: nothing that was read under it may be sent before (rule 21). */
  get isEpochUnkept(): boolean {
    return (this.#options.leaderEpoch() ?? -1) > (this.#view.leaderEpoch ?? -1)
  }

  /** A settling can move something: the position is beyond the floor, or jobs wait to be applied. */
  #isToSettle(): boolean {
    const { queues, position } = this.#outbox
    const now = this.#ports.clock.now()
    const isOpen = queues.some((outbox) => !outbox.isIdle || outbox.sent > lowestWatermark(this.#view, outbox.queue))
    if (isOpen) this.#openMs = now
    const isDue = isOpen || position !== this.#view.floor || this.isEpochUnkept || this.drainTo !== undefined
    return isDue || now - this.#settledMs >= idleSettleMs
  }

  /** Windows are to open, or a cut or a new leader's events wait. */
  #isHasty(): boolean {
    return this.drainTo !== undefined || this.isEpochUnkept || this.#outbox.queues.some((outbox) => outbox.isHalfFull)
  }

  async #repairFlagged(): Promise<void> {
    const { grid, ledger, clock, observer } = this.#ports
    const { scope, owner, partition } = this.#options
    if (clock.now() < this.#nextLookMs) return
    this.#nextLookMs = clock.now() + flagsMs
    const flags = await grid.entries(flagMapName(scope))
    const stamp = stampText({ owner, repair: this.#outbox.repair })
    const flagged = this.#outbox.queues.filter(({ queue }) => flags.get(flagKey({ partition, queue })) === stamp)
    if (flagged.length === 0) return
    const view = await ledger.read(partition)
    const needy = flagged.filter((outbox) => lowestWatermark(view, outbox.queue) < outbox.sent)
    if (needy.length > 0) {
      this.#outbox.rewind(needy, view)
      this.#options.onRewind()
      this.#nextLookMs = clock.now() + repairIntervalMs
      const from = nextOffsetAfter(this.#outbox.position)
      observer.count('repairs', needy.length)
      observer.log('warn', `partition ${partition}: the grid lost jobs; making them again from offset ${from}`, {
        queues: needy.map(({ queue }) => queue),
        repair: this.#outbox.repair,
      })
    }
    for (const { queue } of flagged) await grid.remove(flagMapName(scope), flagKey({ partition, queue }))
  }

  /** Rule 4: where a queue makes no progress, its tail must be this owner's latest entry, or the loss of the last segment stays unseen. */
  async #keepTails(everyMs: number): Promise<void> {
    const { clock } = this.#ports
    if (clock.now() - this.#tailsSeenMs < everyMs) return
    this.#tailsSeenMs = clock.now()
    for (const outbox of this.#outbox.queues) {
      const watermark = lowestWatermark(this.#view, outbox.queue)
      const isStalled = outbox.sent > watermark && this.#stalled.get(outbox) === watermark
      this.#stalled.set(outbox, watermark)
      if (isStalled) await this.#keepTail(outbox)
    }
  }

  async #keepTail(outbox: QueueOutbox): Promise<void> {
    const { grid, observer } = this.#ports
    const { scope, secret, owner, partition } = this.#options
    const { generation, repair } = this.#outbox
    const ring = ringName(scope, { partition, queue: outbox.queue })
    const { entry } = await grid.tail(ring)
    const tail = entry === undefined ? undefined : decodeSegment(entry, secret)
    const isOwn = tail !== undefined && tail.owner === owner && tail.repair === repair && tail.hi >= outbox.sent
    if (isOwn || generation !== this.#outbox.generation) return
    const head = { scope, partition, queue: outbox.queue, owner, repair, lo: outbox.sent, hi: outbox.sent }
    await grid.append(ring, encodeSegment(head, [], secret))
    observer.count('heartbeats', 1)
  }
}

function drainTo(view: PartitionView): bigint | undefined {
  return view.isDraining === true ? highestWatermark(view) : undefined
}
