/**
 * What the owner of a partition keeps for one of its queues: jobs not yet sent, cut into drafts of segments, and the
 * window of segments sent but not yet durable. State only; no I/O, no clock.
 *
 * Jobs wait in drafts: any number of sealed ones, full up to the size limit or to the offsets that a segment can span, and one open.
 * The jobs of an event always stay in one draft (I6). `takeDraft` hands out one at a time; until `acknowledge` the outbox is not idle,
 * so that the floor cannot pass what may not have arrived (rule 7).
 */
import type { LineKind, SectionDraft } from '../grid/segment.ts'
import type { ConvertedEvent } from './converter.ts'

/** Jobs of (previous draft's hi, hi]; `hi` of the open draft is the position when it is taken. */
export interface Draft {
  readonly sections: readonly SectionDraft[]
  hi: bigint
  bytes: number
}

/** A segment holds its offsets as 32-bit distances from its first; half of that leaves no doubt. */
const offsetSpanMax = 2n ** 31n

export interface OutboxLimits {
  /** Bytes of lines in one segment. */
  readonly linesBytesMax: number
  /** Segments above the lowest durable watermark (rule 3). */
  readonly windowSegmentsMax: number
}

export class QueueOutbox {
  readonly queue: number
  readonly #limits: OutboxLimits
  readonly #template: readonly { task: string; kind: LineKind }[]
  #sealed: Draft[] = []
  #open: Draft | undefined
  /** Of the open draft. */
  #firstOffset = 0n
  #isUnacknowledged = false
  #unacknowledgedBytes = 0
  #sent: bigint
  #window: { hi: bigint; bytes: number }[] = []

  constructor(queue: number, sent: bigint, template: readonly { task: string; kind: LineKind }[], limits: OutboxLimits) {
    this.queue = queue
    this.#sent = sent
    this.#template = template
    this.#limits = limits
  }

  /** Every job up to here is in an acknowledged segment, or applied. */
  get sent(): bigint {
    return this.#sent
  }

  /** Nothing buffered and no append unacknowledged. */
  get isIdle(): boolean {
    return this.#open === undefined && this.#sealed.length === 0 && !this.#isUnacknowledged
  }

  get isFull(): boolean {
    return this.#window.length >= this.#limits.windowSegmentsMax
  }

  get isHalfFull(): boolean {
    return this.#window.length * 2 >= this.#limits.windowSegmentsMax
  }

  get hasSealed(): boolean {
    return this.#sealed.length > 0
  }

  /** Segments sent and not known to be durable. */
  get windowSegments(): number {
    return this.#window.length
  }

  get windowBytes(): number {
    return this.#window.reduce((sum, segment) => sum + segment.bytes, 0)
  }

  /** Bytes of lines not yet in an acknowledged segment. */
  get bufferedBytes(): number {
    return this.#sealed.reduce((sum, draft) => sum + draft.bytes, this.#unacknowledgedBytes + (this.#open?.bytes ?? 0))
  }

  /** Buffers the jobs of one event, unless they were sent before. `position` is the offset passed just before it. */
  add(event: ConvertedEvent, offset: bigint, timeMs: number, position: bigint): void {
    if (event.lines.length === 0 || offset <= this.#sent) return
    if (
      this.#open !== undefined &&
      (this.#open.bytes + event.bytes > this.#limits.linesBytesMax || offset - this.#firstOffset > offsetSpanMax)
    )
      this.#seal(position)
    if (this.#open === undefined) this.#firstOffset = offset
    this.#open ??= { sections: this.#template.map((of) => ({ ...of, offsets: [], timesMs: [], text: '' })), hi: offset, bytes: 0 }
    for (const { section, text } of event.lines) {
      const draft = this.#open.sections[section]!
      draft.offsets.push(offset)
      draft.timesMs.push(timeMs)
      draft.text += text + '\n'
    }
    this.#open.bytes += event.bytes
  }

  /** The next draft to send, or undefined. The open one, which then reaches up to `position`, only when `withOpen`. */
  takeDraft(position: bigint, withOpen: boolean): Draft | undefined {
    if (this.#sealed.length === 0 && withOpen && this.#open !== undefined) this.#seal(position)
    const draft = this.#sealed.shift()
    if (draft !== undefined) {
      this.#isUnacknowledged = true
      this.#unacknowledgedBytes = draft.bytes
    }
    return draft
  }

  /** The segment up to `hi` is in the grid (rule 2). */
  acknowledge(hi: bigint, bytes: number): void {
    this.#isUnacknowledged = false
    this.#unacknowledgedBytes = 0
    this.#sent = hi
    this.#window.push({ hi, bytes })
  }

  /** Everything up to `watermark` is durable: its segments leave the window. */
  release(watermark: bigint): void {
    let durable = 0
    while (durable < this.#window.length && this.#window[durable]!.hi <= watermark) durable++
    if (durable > 0) this.#window.splice(0, durable)
  }

  /** Forgets what is buffered or unacknowledged; it will be read from the log again. */
  clear(): void {
    this.#sealed = []
    this.#open = undefined
    this.#isUnacknowledged = false
    this.#unacknowledgedBytes = 0
  }

  /** For a repair: what lies above `watermark` is lost, and the window with it (a full one would forbid its own repair). */
  rewind(watermark: bigint): void {
    this.#sent = watermark
    this.#window = []
  }

  #seal(position: bigint): void {
    if (this.#open === undefined) return
    this.#open.hi = position
    this.#sealed.push(this.#open)
    this.#open = undefined
  }
}
