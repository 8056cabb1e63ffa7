/**
 * Events to jobs: decodes an event, takes its key, runs every task's `convert` and encodes the jobs as lines. Pure: the
 * same event gives the same lines (I9). What cannot be decoded, keyed, converted or encoded becomes a dead letter that
 * travels with the jobs (rule 10): one for the whole event, or one for the task that failed.
 */
import { traceparentOf } from '../pipeline/event-headers.ts'
import type { EventRecord } from '../events/event-log.ts'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { LineKind } from '../grid/segment.ts'
import { adopted } from '../pipeline/adopted-error.ts'
import { atOnce } from '../at-once.ts'
import type { At, Decoder, Tombstones } from '../pipeline/pipeline.ts'
import { converting } from './converting.ts'
import { RecordPosition, shownKey } from './event-position.ts'

export interface ConvertingTask {
  readonly name: string
  /** Has watermarks: its dead letters travel with it. */
  readonly isTracked: boolean
  convert(event: unknown, at: At): unknown
  /** One job as a line without a newline; throws FB_BAD_JOB. */
  encode(job: unknown): string
  /** Of a task that wants the latest job of each key only: the key of a job. */
  readonly latestBy?: ((job: unknown) => string) | undefined
}

/** For each task the keys of which a later job is known. */
type LaterKeys = readonly Set<string>[]

/** Where events come from and how their values are read. */
export interface ConvertingSource {
  readonly topic: string
  /** `decode` is given null then. */
  readonly tombstones: Tombstones
  readonly decode: Decoder<unknown, Buffer | null>
}

export interface ConverterOptions {
  /** Told of each dead letter that a conversion makes: whose it is (null: of the whole event), and what it says. */
  readonly onDead?: (task: string | null, error: string) => void
  readonly source: ConvertingSource
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
  /** It had no value and was passed over. */
  readonly isSkipped?: boolean
}

/** A dead letter on its way through the grid, as the JSON of a line. */
export interface DeadLine {
  readonly task: string | null
  readonly error: string
  /** The event's value in base64; null: it had none. */
  readonly payload: string | null
  readonly cut: boolean
  /** The trace the event was written under. */
  readonly traceparent?: string
}

/** What `line` says; one that was made by nobody of ours is a letter itself. Never throws. */
export function deadLineOf(line: string): DeadLine {
  try {
    const { task, error, payload, cut, traceparent } = JSON.parse(line) as Partial<DeadLine>
    const isWhole =
      (task === null || typeof task === 'string') && typeof error === 'string' && (payload === null || typeof payload === 'string')
    if (isWhole) return { task, error, payload, cut: cut === true, ...(typeof traceparent === 'string' ? { traceparent } : {}) }
  } catch {
    // No JSON.
  }
  return { task: null, error: 'a dead letter came through the grid that cannot be read', payload: null, cut: true }
}

/** Longest payload kept in a dead letter; the rest is in the log by its offset. */
const deadPayloadBytesMax = 64 * 1024
const errorCharsMax = 1000
/** Offset, record time and newline of a line. */
const lineOverheadBytes = 9
const skipped: ConvertedEvent = Object.freeze({ queue: 0, lines: Object.freeze([]), bytes: 0, isSkipped: true })
const tombstoneSentence = "the event has no value (a tombstone): the pipeline's source.tombstones says that such events are dead letters"

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
 * The key of an event as people write it: what `key` gives, else the record's own (`shownKey`), `''` where it has none.
 * Throws when `key` is given and the event cannot be decoded, or `key` throws or gives no string: such an event is a dead letter.
 */
export function eventKey(
  { key, source }: { readonly key?: ConverterOptions['key']; readonly source: ConvertingSource },
  record: EventRecord,
  partition: number,
): string {
  if (key === undefined) return shownKey(record.key) ?? ''
  if (record.value === null && source.tombstones !== 'decode') throw new ForebayError('FB_BAD_EVENT', 'the event has no value')
  const at = new RecordPosition(source.topic, partition, record)
  return keyOf(key, atOnce(source.decode.decode(record.value, at), 'decode'))
}

function keyOf(key: (event: unknown) => string, event: unknown): string {
  const value: unknown = atOnce(key(event), 'key')
  if (typeof value !== 'string') throw new TypeError(`key() returned ${value === null ? 'null' : typeof value}, not a string`)
  return value
}

/** As `Converter.prepare`, for whoever takes keys alone. An event without a value or above `bytesMax` is not decoded. */
export function prepareEvents(
  { decode }: ConvertingSource,
  records: readonly EventRecord[],
  bytesMax = Infinity,
): Promise<void> | undefined {
  if (decode.prepare === undefined) return undefined
  const isDecoded = ({ value, oversizeBytes }: EventRecord) => value !== null && value.length <= bytesMax && oversizeBytes === undefined
  return prepareValues(
    decode,
    records.filter(isDecoded).map(({ value }) => value!),
  )
}

async function prepareValues(decode: Decoder<unknown, Buffer | null>, values: readonly Buffer[]): Promise<void> {
  try {
    await decode.prepare!(values)
  } catch (error) {
    throw adopted(error)
  }
}

/** The decoder was not given time to fetch what it must know: no fault of the event. */
function isUnprepared({ decode }: ConvertingSource, error: unknown): boolean {
  return decode.prepare !== undefined && isForebayError(error) && error.policy === 'retry'
}

export class Converter {
  readonly #options: ConverterOptions
  readonly #carrier: number

  constructor(options: ConverterOptions) {
    this.#options = options
    this.#carrier = options.tasks.findIndex((task) => task.isTracked)
  }

  /**
   * Has fetched what the decoder must know before it can decode `records`; undefined for a decoder that needs nothing but the value.
   * Throws what the decoder says, such as FB_REGISTRY_UNREACHABLE.
   */
  prepare(records: readonly EventRecord[]): Promise<void> | undefined {
    return prepareEvents(this.#options.source, records, this.#options.eventBytesMax)
  }

  /**
   * Converts consecutive events of one partition. Throws for what `prepare` should have fetched, nothing else. Of a task with `latestBy` a job is left out when a later event among
   * `records` makes one of the same key: encoding each push was a quarter of a node's work.
   */
  convertAll(records: readonly EventRecord[], partition: number): ConvertedEvent[] {
    const later = this.#options.tasks.map(() => new Set<string>())
    const events = new Array<ConvertedEvent>(records.length)
    if (records.length > 0) converting.among(records[0]!.offset, records.at(-1)!.offset)
    // From the end: the first job met of a key is the latest.
    for (let i = records.length - 1; i >= 0; i--) events[i] = this.convert(records[i]!, partition, later)
    return events
  }

  /** Converts one event; without what `later` replaces, and adding its own keys to it. */
  convert(record: EventRecord, partition: number, later?: LaterKeys): ConvertedEvent {
    converting.begin(partition, record.offset)
    const converted = this.#convert(record, partition, later)
    converting.end()
    return converted
  }

  /** `record` as the dead letter of its whole event, for code that does not come back from it. */
  bury(record: EventRecord, error: string): ConvertedEvent {
    return this.#deadEvent(record, error)
  }

  #convert(record: EventRecord, partition: number, later: LaterKeys | undefined): ConvertedEvent {
    const { source, key, eventBytesMax, linesBytesMax, queues } = this.#options
    const { value } = record
    if (value === null && source.tombstones !== 'decode') {
      return source.tombstones === 'skip' ? skipped : this.#deadEvent(record, tombstoneSentence)
    }
    if (record.oversizeBytes !== undefined) {
      const beside = 'with its key and headers, more than events.eventBytesMax'
      return this.#deadEvent(record, `the event has ${record.oversizeBytes} bytes ${beside} (${eventBytesMax}) and 64 KiB`)
    }
    if (value !== null && value.length > eventBytesMax) {
      return this.#deadEvent(record, `the event has ${value.length} bytes, more than events.eventBytesMax (${eventBytesMax})`)
    }
    const at = new RecordPosition(source.topic, partition, record)
    let event: unknown
    let queue: number
    try {
      event = atOnce(source.decode.decode(value, at), 'decode')
    } catch (thrown) {
      const error = adopted(thrown)
      if (!isUnprepared(source, error)) return this.#deadEvent(record, sentenceOf(error))
      converting.end()
      throw error
    }
    try {
      queue = queueOf(key === undefined ? at.queueKey : keyOf(key, event), queues)
    } catch (error) {
      return this.#deadEvent(record, sentenceOf(error))
    }
    const lines: JobLine[] = []
    let bytes = 0
    for (let i = 0; i < this.#options.tasks.length; i++) bytes += this.#convertTask(i, event, at, record, lines, later?.[i])
    if (bytes <= linesBytesMax) return { queue, lines, bytes }
    // Its keys may be among them, and what it would have replaced is wanted now.
    for (const keys of later ?? []) keys.clear()
    return this.#deadEvent(
      record,
      `its jobs need ${bytes} bytes, more than one segment holds (${linesBytesMax}): raise grid.segmentBytesMax`,
    )
  }

  /** Adds the task's lines, or its dead letter, to `lines`; returns their bytes. All or nothing for one task and event. */
  #convertTask(index: number, event: unknown, at: At, record: EventRecord, lines: JobLine[], later: Set<string> | undefined): number {
    const task = this.#options.tasks[index]!
    const before = lines.length
    converting.at(index)
    try {
      const made = atOnce(task.convert(event, at), 'convert')
      if (made === undefined || made === null) return 0
      if (!Array.isArray(made)) {
        const key = later === undefined ? undefined : task.latestBy === undefined ? undefined : atOnce(task.latestBy(made), 'latestBy')
        if (key === undefined || later === undefined) return addLine(lines, index * 2, task.encode(made))
        if (later.has(key)) return 0
        const bytes = addLine(lines, index * 2, task.encode(made))
        later.add(key)
        return bytes
      }
      let bytes = 0
      for (const job of made) bytes += addLine(lines, index * 2, task.encode(atOnce(job, 'convert')))
      return bytes
    } catch (error) {
      lines.length = before
      const carrier = task.isTracked ? index : this.#carrier
      return addLine(lines, carrier * 2 + 1, this.#deadLine(task.name, error, record))
    }
  }

  #deadEvent(record: EventRecord, error: string): ConvertedEvent {
    const lines: JobLine[] = []
    const bytes = addLine(lines, this.#carrier * 2 + 1, this.#deadLine(null, new Error(error), record))
    return { queue: 0, lines, bytes }
  }

  #deadLine(task: string | null, error: unknown, record: EventRecord): string {
    const sentence = sentenceOf(error, errorCharsMax)
    this.#options.onDead?.(task, sentence)
    return deadLine(task, sentence, record)
  }
}

function addLine(lines: JobLine[], section: number, text: string): number {
  lines.push({ section, text })
  return Buffer.byteLength(text) + lineOverheadBytes
}

function deadLine(task: string | null, error: string, record: EventRecord): string {
  const { value } = record
  const traceparent = traceparentOf(record)
  const line: DeadLine = {
    task,
    error,
    payload: value === null ? null : value.toString('base64', 0, deadPayloadBytesMax),
    cut: record.oversizeBytes !== undefined || (value !== null && value.length > deadPayloadBytesMax),
    ...(traceparent === null ? {} : { traceparent }),
  }
  return JSON.stringify(line)
}
