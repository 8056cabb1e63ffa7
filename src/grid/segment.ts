/**
 * A segment: the immutable batch that travels through a queue. All jobs of one partition for one queue whose offsets lie
 * in (lo, hi], for every task; the jobs of an event are never split over two segments (I6).
 *
 * Bytes: `FBS1` · 32 bytes HMAC-SHA256 of the rest · u32 header length · header (JSON) · for each section its u32 offset
 * deltas, its record time deltas (u32, or doubles where the times of the segment lie further apart: 49 days), then its lines. A job is one line of UTF-8 ended by a newline, exactly as its sink wants it, so that a reader
 * can hand whole sections on without looking at the jobs.
 */
import { assert } from '../assert.ts'
import { isSignatureOf, signatureBytes, signatureOf } from './signature.ts'

/** Who appended a segment: a flag names it, and older ones are ignored (rule 8). */
export interface Stamp {
  /** Unique for each time a node becomes owner of the partition. */
  readonly owner: string
  /** Counts the repairs this owner has made. */
  readonly repair: number
}

export interface SegmentHead extends Stamp {
  /** Deployment, pipeline, topic and epoch in one string; another scope is foreign. */
  readonly scope: string
  readonly partition: number
  readonly queue: number
  readonly lo: bigint
  readonly hi: bigint
}

/** What a line of a section holds: a job for the sink, or a dead letter as JSON. */
export type LineKind = 'job' | 'dead'

/** A section while it is being filled. `offsets` (not decreasing) and `timesMs` (record times) hold one entry a line. */
export interface SectionDraft {
  readonly task: string
  readonly kind: LineKind
  readonly offsets: bigint[]
  readonly timesMs: number[]
  text: string
}

export interface Segment extends SegmentHead {
  readonly sections: readonly JobLines[]
  readonly bytes: number
}

const magic = Buffer.from('FBS1')
const signedStart = magic.length + signatureBytes
const headerStart = signedStart + 4
/** What 32 bits hold. */
const deltaMax = 0xffffffff

export type TimeDeltas = Uint32Array | Float64Array

/** The jobs of one task in one segment, as lines; immutable. */
export class JobLines {
  readonly task: string
  readonly kind: LineKind
  readonly partition: number
  readonly queue: number
  /** `count` lines, each ended by a newline. */
  readonly bytes: Buffer
  readonly #base: bigint
  readonly #baseMs: number
  readonly #deltas: Uint32Array
  readonly #deltasMs: TimeDeltas
  /** Ordinal of the first line: above 0 when a slice begins within an event. Or those of all lines, when some between them are left out. */
  readonly #ordinals: number | Uint32Array

  constructor(
    of: QueueSection,
    bytes: Buffer,
    base: { offset: bigint; timeMs: number },
    deltas: Uint32Array,
    deltasMs: TimeDeltas,
    ordinals: number | Uint32Array = 0,
  ) {
    this.task = of.task
    this.kind = of.kind
    this.partition = of.partition
    this.queue = of.queue
    this.bytes = bytes
    this.#base = base.offset
    this.#baseMs = base.timeMs
    this.#deltas = deltas
    this.#deltasMs = deltasMs
    this.#ordinals = ordinals
  }

  get count(): number {
    return this.#deltas.length
  }

  offset(index: number): bigint {
    return this.#base + BigInt(this.#deltas[index] ?? 0)
  }

  /** When the event of line `index` was written to the log, in wall-clock milliseconds. */
  timeMs(index: number): number {
    return this.#baseMs + (this.#deltasMs[index] ?? 0)
  }

  /** Position of line `index` among the lines of its event. */
  ordinal(index: number): number {
    if (typeof this.#ordinals !== 'number') return this.#ordinals[index]!
    let first = index
    while (first > 0 && this.#deltas[first - 1] === this.#deltas[index]) first--
    return first === 0 ? index + this.#ordinals : index - first
  }

  /** Only the lines of events above `offset`; itself when that is all of them. */
  after(offset: bigint): JobLines {
    if (this.count === 0 || this.offset(0) > offset) return this
    let first = 0
    while (first < this.count && this.offset(first) <= offset) first++
    return this.slice(first, this.count)
  }

  slice(from: number, to: number): JobLines {
    const start = this.#lineStart(from)
    const bytes = this.bytes.subarray(start, this.#lineStart(to, start, from))
    const base = { offset: this.#base, timeMs: this.#baseMs }
    const ordinals = typeof this.#ordinals === 'number' ? this.ordinal(from) : this.#ordinals.subarray(from, to)
    return new JobLines(this, bytes, base, this.#deltas.subarray(from, to), this.#deltasMs.subarray(from, to), ordinals)
  }

  /** The lines of `indexes`, ascending, with bytes of their own. */
  pick(indexes: readonly number[]): JobLines {
    const [first, last] = [indexes[0], indexes.at(-1)]
    if (first === undefined || last! - first === indexes.length - 1) return this.slice(first ?? 0, (last ?? -1) + 1)
    const all = this.lineBytes()
    const base = { offset: this.#base, timeMs: this.#baseMs }
    const deltas = Uint32Array.from(indexes, (index) => this.#deltas[index]!)
    const deltasMs = Float64Array.from(indexes, (index) => this.#deltasMs[index]!)
    const ordinals = Uint32Array.from(indexes, (index) => this.ordinal(index))
    return new JobLines(this, Buffer.concat(indexes.map((index) => all[index]!)), base, deltas, deltasMs, ordinals)
  }

  /** The bytes of each line with its newline. */
  lineBytes(): Buffer[] {
    const lines: Buffer[] = []
    for (let start = 0, end; start < this.bytes.length; start = end) {
      end = this.bytes.indexOf(10, start) + 1
      lines.push(this.bytes.subarray(start, end))
    }
    return lines
  }

  /** The lines without their newlines. */
  lines(): string[] {
    const lines = this.bytes.toString('utf8').split('\n')
    lines.pop()
    return lines
  }

  #lineStart(index: number, position = 0, line = 0): number {
    for (; line < index; line++) position = this.bytes.indexOf(10, position) + 1
    return position
  }
}

interface QueueSection {
  readonly task: string
  readonly kind: LineKind
  readonly partition: number
  readonly queue: number
}

interface WireHead extends Omit<SegmentHead, 'lo' | 'hi'> {
  readonly lo: string
  readonly hi: string
  readonly base: string
  readonly baseMs: number
  /** Of a record time delta. Absent: 4. */
  readonly timeBytes?: 8
  readonly sections: readonly { task: string; kind: LineKind; count: number; bytes: number }[]
}

/** Serialises once (rule 2). Throws FB_INTERNAL when offsets lie outside (lo, hi]. */
export function encodeSegment(head: SegmentHead, drafts: readonly SectionDraft[], secret: string): Buffer {
  const filled = drafts.filter((draft) => draft.offsets.length > 0)
  const base = filled.reduce((lowest, draft) => (draft.offsets[0]! < lowest ? draft.offsets[0]! : lowest), head.hi)
  assert(head.hi >= head.lo && (filled.length === 0 || base > head.lo), 'I6: a segment holds offsets of (lo, hi] only')
  const baseMs = filled.reduce((lowest, draft) => draft.timesMs.reduce((a, b) => (b < a ? b : a), lowest), Infinity)
  const isWide = filled.some(({ timesMs }) => timesMs.some((timeMs) => timeMs - baseMs > deltaMax))
  const sections = filled.map((draft) => ({
    task: draft.task,
    kind: draft.kind,
    count: draft.offsets.length,
    bytes: Buffer.byteLength(draft.text),
  }))
  const wire: WireHead = {
    ...head,
    lo: String(head.lo),
    hi: String(head.hi),
    base: String(base),
    baseMs: filled.length === 0 ? 0 : baseMs,
    ...(isWide ? { timeBytes: 8 } : {}),
    sections,
  }
  const header = Buffer.from(JSON.stringify(wire))
  const bodyBytes = bodyBytesOf(sections, isWide ? 8 : 4)
  const bytes = Buffer.allocUnsafe(headerStart + header.length + bodyBytes)
  magic.copy(bytes)
  bytes.writeUInt32LE(header.length, headerStart - 4)
  header.copy(bytes, headerStart)
  let at = headerStart + header.length
  for (const draft of filled) {
    for (const offset of draft.offsets) {
      assert(offset <= head.hi, 'I6: a segment holds offsets of (lo, hi] only')
      at = bytes.writeUInt32LE(Number(offset - base), at)
    }
    for (const timeMs of draft.timesMs) at = isWide ? bytes.writeDoubleLE(timeMs - baseMs, at) : bytes.writeUInt32LE(timeMs - baseMs, at)
    at += bytes.write(draft.text, at)
  }
  signatureOf(secret, bytes.subarray(signedStart)).copy(bytes, magic.length)
  return bytes
}

/** What the header of a segment says of a section. */
export interface SectionHead {
  readonly task: string
  readonly kind: LineKind
  readonly count: number
  /** Record time of its first line. */
  readonly firstMs: number
}

/** The head of the segment in `bytes`, or undefined when it is none. Unlike `decodeSegment` it proves nothing: it costs nothing either. */
export function readSegmentHead(bytes: Buffer): (SegmentHead & { readonly sections: readonly SectionHead[] }) | undefined {
  const wire = readWire(bytes)
  if (wire === undefined) return undefined
  let at = wire.bodyStart
  const sections = wire.sections.map(({ task, kind, count, bytes: lineBytes }) => {
    const firstMs = count === 0 ? wire.baseMs : wire.baseMs + readTimes(bytes, at + count * 4, 1, wire.timeBytes)[0]!
    at += count * (4 + wire.timeBytes) + lineBytes
    return { task, kind, count, firstMs }
  })
  return { ...wire.head, sections }
}

/** The segment in `bytes`, or undefined when it is damaged, was made with another secret or is none of ours. Never throws. */
export function decodeSegment(bytes: Buffer, secret: string): Segment | undefined {
  if (!isSegment(bytes)) return undefined
  if (!isSignatureOf(bytes.subarray(magic.length, signedStart), secret, bytes.subarray(signedStart))) return undefined
  // Whoever holds the secret may still be wrong: nothing below trusts a length.
  const wire = readWire(bytes)
  if (wire === undefined) return undefined
  const { head, base } = wire
  let at = wire.bodyStart
  const sections = wire.sections.map(({ task, kind, count, bytes: lineBytes }) => {
    const deltas = readDeltas(bytes, at, count)
    const deltasMs = readTimes(bytes, at + count * 4, count, wire.timeBytes)
    at += count * (4 + wire.timeBytes) + lineBytes
    return new JobLines(
      { ...head, task, kind },
      bytes.subarray(at - lineBytes, at),
      { offset: base, timeMs: wire.baseMs },
      deltas,
      deltasMs,
    )
  })
  const isWithin = sections.every((lines) => lines.count === 0 || lines.offset(lines.count - 1) <= head.hi)
  return isWithin ? { ...head, sections, bytes: bytes.length } : undefined
}

interface Wire {
  readonly head: SegmentHead
  readonly base: bigint
  readonly baseMs: number
  readonly timeBytes: 4 | 8
  readonly sections: WireHead['sections']
  /** Where the first section begins; all of them end where the bytes do. */
  readonly bodyStart: number
}

function isSegment(bytes: Buffer): boolean {
  return bytes.length >= headerStart && magic.equals(bytes.subarray(0, magic.length))
}

/** The header, once everything it says fits the bytes behind it. */
function readWire(bytes: Buffer): Wire | undefined {
  if (!isSegment(bytes)) return undefined
  const bodyStart = headerStart + bytes.readUInt32LE(headerStart - 4)
  if (bodyStart > bytes.length) return undefined
  const wire = parsedHead(bytes.toString('utf8', headerStart, bodyStart))
  if (wire === undefined) return undefined
  const { scope, partition, queue, owner, repair, baseMs, timeBytes = 4, sections } = wire
  const [lo, hi, base] = [offsetOf(wire.lo), offsetOf(wire.hi), offsetOf(wire.base)]
  if (lo === undefined || hi === undefined || base === undefined || hi < lo) return undefined
  if (typeof scope !== 'string' || typeof owner !== 'string' || !isCount(partition) || !isCount(queue) || !isCount(repair)) return undefined
  if (timeBytes !== 4 && timeBytes !== 8) return undefined
  if (typeof baseMs !== 'number' || !Array.isArray(sections) || !sections.every(isSectionHead)) return undefined
  const isFilled = sections.some(({ count }) => count > 0)
  const bodyBytes = bodyBytesOf(sections, timeBytes)
  if (bodyStart + bodyBytes !== bytes.length || (isFilled && base <= lo)) return undefined
  return { head: { scope, partition, queue, owner, repair, lo, hi }, base, baseMs, timeBytes, sections, bodyStart }
}

function bodyBytesOf(sections: WireHead['sections'], timeBytes: number): number {
  return sections.reduce((sum, { count, bytes }) => sum + count * (4 + timeBytes) + bytes, 0)
}

function parsedHead(text: string): Partial<WireHead> | undefined {
  try {
    const wire: unknown = JSON.parse(text)
    return typeof wire === 'object' && wire !== null ? wire : undefined
  } catch {
    return undefined
  }
}

/** An offset as Postgres can hold it: of 64 bits. */
function offsetOf(text: unknown): bigint | undefined {
  if (typeof text !== 'string' || !/^-?\d{1,19}$/.test(text)) return undefined
  const offset = BigInt(text)
  return offset === BigInt.asIntN(64, offset) ? offset : undefined
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isSectionHead(section: unknown): section is WireHead['sections'][number] {
  if (typeof section !== 'object' || section === null) return false
  const { task, kind, count, bytes } = section as Partial<WireHead['sections'][number]>
  return typeof task === 'string' && (kind === 'job' || kind === 'dead') && isCount(count) && isCount(bytes)
}

function readDeltas(bytes: Buffer, at: number, count: number): Uint32Array {
  const deltas = new Uint32Array(count)
  for (let i = 0; i < count; i++) deltas[i] = bytes.readUInt32LE(at + i * 4)
  return deltas
}

function readTimes(bytes: Buffer, at: number, count: number, timeBytes: 4 | 8): TimeDeltas {
  if (timeBytes === 4) return readDeltas(bytes, at, count)
  const deltas = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const delta = bytes.readDoubleLE(at + i * 8)
    deltas[i] = Number.isFinite(delta) ? delta : 0
  }
  return deltas
}
