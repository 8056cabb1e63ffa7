/**
 * Sends what a partition's queues have buffered into their rings: one unacknowledged segment a queue, and none while its
 * window is full (rules 2, 3). What a repair made void is not sent any more.
 */
import { isForebayError } from '../errors.ts'
import { ringName } from '../grid/queue-name.ts'
import { encodeSegment } from '../grid/segment.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { PartitionOutbox } from './partition-outbox.ts'
import { roomWaitMs } from './partition-owner-options.ts'
import type { PartitionOwnerOptions, PartitionOwnerPorts } from './partition-owner-options.ts'
import type { Draft, QueueOutbox } from './queue-outbox.ts'

export class SegmentSender {
  readonly #ports: PartitionOwnerPorts
  readonly #options: PartitionOwnerOptions
  readonly #outbox: PartitionOutbox

  constructor(ports: PartitionOwnerPorts, options: PartitionOwnerOptions, outbox: PartitionOutbox) {
    this.#ports = ports
    this.#options = options
    this.#outbox = outbox
  }

  /** Appends every full draft, and the open ones too when `withOpen`; waits for the acknowledgements. */
  async send(withOpen: boolean, generation: number, signal: AbortSignal): Promise<void> {
    if (withOpen) this.#outbox.bufferedSinceMs = undefined
    await Promise.all(this.#outbox.queues.map((outbox) => this.#sendQueue(outbox, withOpen, generation, signal)))
  }

  async #sendQueue(outbox: QueueOutbox, withOpen: boolean, generation: number, signal: AbortSignal): Promise<void> {
    const isCurrent = () => generation === this.#outbox.generation && !signal.aborted
    while (isCurrent()) {
      const draft = outbox.takeDraft(this.#outbox.position, withOpen)
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
    const head = { scope, partition, queue, owner, repair: this.#outbox.repair, lo: outbox.sent, hi: draft.hi }
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
}
