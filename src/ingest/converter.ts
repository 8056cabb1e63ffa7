/**
 * Events to jobs: decodes an event, takes its key, runs every task's `convert` and encodes the jobs as lines. Pure: the
 * same event gives the same lines (I9). What cannot be decoded, keyed, converted or encoded becomes a dead letter that
 * travels with the jobs (rule 10): one for the whole event, or one for the task that failed.
 */
import type { EventRecord } from '../events/event-log.ts'
import { sentenceOf } from '../errors.ts'
import type { LineKind } from '../grid/segment.ts'

/** Where an event stands in its log. */
export interface EventPosition {
  readonly partition: number
  readonly offset: bigint
  readonly timestampMs: number
  /** The record's key as text. */
  readonly key: string | null
}

export interface ConvertingTask {
  readonly name: string
  /** Has watermarks: its dead letters travel with it. */
  readonly isTracked: boolean
  convert(event: unknown, at: EventPosition): unknown
  /** One job as a line without a newline; throws FB_BAD_JOB. */
  encode(job: unknown): string
  /** Of a task that wants the latest job of each key only: the key of a job. */
  readonly latestBy?: ((job: unknown) => string) | undefined
}

/** For each task the keys of which a later job is known. */
type LaterKeys = readonly Set<string>[]

export interface ConverterOptions {
  decode(value: Buffer): unknown
  /** Default: the record's key. */
  readonly key: ((event: unknown) => string) | undefined
  /** At least one of them is tracked. */
  readonly tasks: readonly ConvertingTask[]
  readonly queues: number
  /** A larger event is a dead letter. */
  readonly eventBytesMax: number
  /** An event whose lines are larger is a dead letter: it would not fit into one segment. */
  readonly linesBytesMax: number
}

export interface JobLine {
  /** Index into the sections of `sectionsOf`. */
  readonly section: number
  readonly text: string
}

/** What one event became. `lines` may be empty. */
export interface ConvertedEvent {
  readonly queue: number
  readonly lines: readonly JobLine[]
  readonly bytes: number
}

/** A dead letter on its way through the grid, as the JSON of a line. */
export interface DeadLine {
  readonly task: string | null
  readonly error: string
  /** The event's value in base64. */
  readonly payload: string | null
  readonly cut: boolean
}

/** Longest payload kept in a dead letter; the rest is in the log by its offset. */
const deadPayloadBytesMax = 64 * 1024
const errorCharsMax = 1000
const shortKeyMax = 24
const asciiMax = 0x7f
/** Offset, record time and newline of a line. */
const lineOverheadBytes = 9

/** The sections of a segment: for each task its jobs, then its dead letters. */
export function sectionsOf(tasks: readonly { name: string }[]): { task: string; kind: LineKind }[] {
  return tasks.flatMap(({ name }) => [
    { task: name, kind: 'job' as const },
    { task: name, kind: 'dead' as const },
  ])
}

/** The queue of `key` among `queues`: FNV-1a over its UTF-16 units, then a finaliser so that few queues fill evenly. */
export function queueOf(key: string, queues: number): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  hash ^= hash >>> 12
  return (hash >>> 0) % queues
}

/** Named in the fingerprint of an epoch; changes when `queueOf` does. */
export const hashName = 'fnv1a-utf16'

/**
 * The key by which an event is queued: what `key` gives, else the record's own, `''` where it has none.
 * Throws when `key` is given and the event cannot be decoded, or `key` throws or gives no string: such an event is a dead letter.
 */
export function eventKey({ key, decode }: Pick<ConverterOptions, 'key' | 'decode'>, record: Pick<EventRecord, 'key' | 'value'>): string {
  const event = key === undefined ? undefined : decode(record.value ?? Buffer.alloc(0))
  return keyOf(key, event, { key: textOf(record.key) })
}

function keyOf(key: ConverterOptions['key'], event: unknown, record: { readonly key: string | null }): string {
  if (key === undefined) return record.key ?? ''
  const value: unknown = key(event)
  if (typeof value !== 'string') throw new TypeError(`key() returned ${value === null ? 'null' : typeof value}, not a string`)
  return value
}

/** Keys are short and plain as a rule: a loop over their bytes takes a fifth of the call that decodes any text. */
function textOf(key: Buffer | null): string | null {
  if (key === null) return null
  if (key.length > shortKeyMax) return key.toString('utf8')
  let text = ''
  for (let i = 0; i < key.length; i++) {
    const byte = key[i]!
    if (byte > asciiMax) return key.toString('utf8')
    text += String.fromCharCode(byte)
  }
  return text
}

export class Converter {
  readonly #options: ConverterOptions
  readonly #carrier: number

  constructor(options: ConverterOptions) {
    this.#options = options
    this.#carrier = options.tasks.findIndex((task) => task.isTracked)
  }

  /**
   * Converts consecutive events of one partition. Of a task with `latestBy` a job is left out when a later event among
   * `records` makes one of the same key: encoding each push was a quarter of a node's work.
   */
  convertAll(records: readonly EventRecord[], partition: number): ConvertedEvent[] {
    const later = this.#options.tasks.map(() => new Set<string>())
    const events = new Array<ConvertedEvent>(records.length)
    // From the end: the first job met of a key is the latest.
    for (let i = records.length - 1; i >= 0; i--) events[i] = this.convert(records[i]!, partition, later)
    return events
  }

  /** Converts one event; without what `later` replaces, and adding its own keys to it. */
  convert(record: EventRecord, partition: number, later?: LaterKeys): ConvertedEvent {
    const { decode, eventBytesMax, linesBytesMax, queues } = this.#options
    const value = record.value ?? Buffer.alloc(0)
    if (value.length > eventBytesMax) {
      return this.#deadEvent(value, `the event has ${value.length} bytes, more than events.eventBytesMax (${eventBytesMax})`)
    }
    const at = { partition, offset: record.offset, timestampMs: record.timestampMs, key: textOf(record.key) }
    let event: unknown
    let queue: number
    try {
      event = decode(value)
      queue = queueOf(keyOf(this.#options.key, event, at), queues)
    } catch (error) {
      return this.#deadEvent(value, sentenceOf(error))
    }
    const lines: JobLine[] = []
    let bytes = 0
    for (let i = 0; i < this.#options.tasks.length; i++) bytes += this.#convertTask(i, event, at, value, lines, later?.[i])
    if (bytes <= linesBytesMax) return { queue, lines, bytes }
    // Its keys may be among them, and what it would have replaced is wanted now.
    for (const keys of later ?? []) keys.clear()
    return this.#deadEvent(
      value,
      `its jobs need ${bytes} bytes, more than one segment holds (${linesBytesMax}): raise grid.segmentBytesMax`,
    )
  }

  /** Adds the task's lines, or its dead letter, to `lines`; returns their bytes. All or nothing for one task and event. */
  #convertTask(index: number, event: unknown, at: EventPosition, value: Buffer, lines: JobLine[], later: Set<string> | undefined): number {
    const task = this.#options.tasks[index]!
    const before = lines.length
    try {
      const made = task.convert(event, at)
      if (made === undefined || made === null) return 0
      if (!Array.isArray(made)) {
        const key = later === undefined ? undefined : task.latestBy?.(made)
        if (key === undefined || later === undefined) return addLine(lines, index * 2, task.encode(made))
        if (later.has(key)) return 0
        const bytes = addLine(lines, index * 2, task.encode(made))
        later.add(key)
        return bytes
      }
      let bytes = 0
      for (const job of made) bytes += addLine(lines, index * 2, task.encode(job))
      return bytes
    } catch (error) {
      lines.length = before
      const carrier = task.isTracked ? index : this.#carrier
      return addLine(lines, carrier * 2 + 1, deadLine(task.name, error, value))
    }
  }

  #deadEvent(value: Buffer, error: string): ConvertedEvent {
    const lines: JobLine[] = []
    const bytes = addLine(lines, this.#carrier * 2 + 1, deadLine(null, new Error(error), value))
    return { queue: 0, lines, bytes }
  }
}

function addLine(lines: JobLine[], section: number, text: string): number {
  lines.push({ section, text })
  return Buffer.byteLength(text) + lineOverheadBytes
}

function deadLine(task: string | null, error: unknown, value: Buffer): string {
  const line: DeadLine = {
    task,
    error: sentenceOf(error, errorCharsMax),
    payload: value.toString('base64', 0, deadPayloadBytesMax),
    cut: value.length > deadPayloadBytesMax,
  }
  return JSON.stringify(line)
}
