/**
 * How far one life of a partition's owner has come: its position in the log, an outbox for each queue, and the number of the
 * present repair. State only; no I/O, no clock.
 *
 * A repair changes all of it in one piece and raises the generation: whatever was under way in an older generation is void.
 */
import { assert } from '../assert.ts'
import type { EventRecord } from '../events/event-log.ts'
import { lowestWatermark } from '../ledger/ledger.ts'
import type { OwnerCapture, PartitionView } from '../ledger/ledger.ts'
import type { ConvertedEvent } from './converter.ts'
import type { PartitionOwnerOptions } from './partition-owner-options.ts'
import { QueueOutbox } from './queue-outbox.ts'

export class PartitionOutbox {
  readonly partition: number
  readonly queues: readonly QueueOutbox[]
  /** When the oldest job that waits for company was buffered. */
  bufferedSinceMs: number | undefined
  #position: bigint
  #generation = 0
  #repair = 0

  /** Begins at the floor of `view` (rule 1). */
  constructor(view: PartitionView, options: PartitionOwnerOptions) {
    const { partition, queues, sections } = options
    this.partition = partition
    this.#position = view.floor
    this.queues = Array.from({ length: queues }, (_, queue) => new QueueOutbox(queue, lowestWatermark(view, queue), sections, options))
  }

  /** The last offset whose jobs are all sent or buffered. */
  get position(): bigint {
    return this.#position
  }

  get generation(): number {
    return this.#generation
  }

  /** Counts the repairs of this life. */
  get repair(): number {
    return this.#repair
  }

  get isIdle(): boolean {
    return this.queues.every((outbox) => outbox.isIdle)
  }

  /** Buffers the jobs of the next event; returns the outbox that they wait in. */
  add(event: ConvertedEvent, { offset, timestampMs }: EventRecord): QueueOutbox {
    assert(offset > this.#position, 'I4: events come in the order of their offsets')
    const outbox = this.queues[event.queue]!
    outbox.add(event, offset, timestampMs, this.#position)
    this.#position = offset
    return outbox
  }

  /** The log holds no further event up to `position`. */
  pass(position: bigint): void {
    this.#position = position
  }

  /** What a settling may rest on: taken before the watermarks are read (rule 7). */
  capture(): OwnerCapture {
    const queues = this.queues.map(({ sent, isIdle }) => ({ sent, isIdle }))
    return { partition: this.partition, position: this.#position, queues }
  }

  /** Opens the windows up to the watermarks. */
  release(view: PartitionView): void {
    for (const outbox of this.queues) outbox.release(lowestWatermark(view, outbox.queue))
  }

  /** Rule 8, in one piece: other queues keep what they sent, and lose what they had only buffered to the second reading. */
  rewind(needy: readonly QueueOutbox[], view: PartitionView): void {
    this.#generation++
    this.#repair++
    this.bufferedSinceMs = undefined
    let position = this.#position
    for (const outbox of this.queues) {
      const isNeedy = needy.includes(outbox)
      const isIdle = outbox.isIdle
      outbox.clear()
      if (isNeedy) outbox.rewind(lowestWatermark(view, outbox.queue))
      if ((isNeedy || !isIdle) && outbox.sent < position) position = outbox.sent
    }
    this.#position = position
  }
}
