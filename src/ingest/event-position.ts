/**
 * Where an event stands in its log, and what its record says beside the value: what `decode` and `convert` are given.
 */
import { isUtf8 } from 'node:buffer'
import { ForebayError } from '../errors.ts'
import { noHeaders } from '../pipeline/event-headers.ts'
import type { EventHeaders } from '../pipeline/event-headers.ts'
import type { EventRecord } from '../events/event-log.ts'
import type { At } from '../pipeline/pipeline.ts'

const shortKeyMax = 24
const asciiMax = 0x7f
const keyBytesShownMax = 64

/** The position of a record. Everything but the headers are own properties, so that it can be spread into a row. */
export class RecordPosition implements At {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly timestampMs: number
  readonly key: string | null
  readonly keyBytes: Buffer | null
  readonly #looseKey: string | null
  readonly #record: EventRecord
  #headers: EventHeaders | undefined

  constructor(topic: string, partition: number, record: EventRecord) {
    this.topic = topic
    this.partition = partition
    this.offset = record.offset
    this.timestampMs = record.timestampMs
    this.keyBytes = record.key
    this.key = this.#looseKey = looseText(this.keyBytes)
    this.#record = record
    if (this.key !== null && isLossy(this.key, this.keyBytes!)) forbidKey(this, this.keyBytes!)
  }

  /** The key for the choice of a queue, `''` where there is none: see `looseText`. */
  get queueKey(): string {
    return this.#looseKey ?? ''
  }

  get headers(): EventHeaders {
    return (this.#headers ??= this.#record.headers ?? noHeaders)
  }
}

/** The key of a record as people write it: its text, or `0x` and hexadecimal digits where its bytes are no UTF-8. */
export function shownKey(key: Buffer | null): string | null {
  const text = looseText(key)
  return text !== null && isLossy(text, key!) ? hexOf(key!) : text
}

/**
 * The key as text, with replacement characters for bytes that are no UTF-8: good enough to choose a queue by, and nothing else.
 * Keys are short and plain as a rule: a loop over their bytes takes a fifth of the call that decodes any text.
 */
function looseText(key: Buffer | null): string | null {
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

/** A replacement character is cheap to look for, and rare: only then are the bytes checked themselves. */
function isLossy(text: string, key: Buffer): boolean {
  return text.includes('\ufffd') && !isUtf8(key)
}

function forbidKey(position: RecordPosition, key: Buffer): void {
  Object.defineProperty(position, 'key', {
    get: () => {
      const shown = key.length > keyBytesShownMax ? `${hexOf(key.subarray(0, keyBytesShownMax))}…` : hexOf(key)
      throw new ForebayError('FB_BAD_EVENT', `the record's key (${shown}) is no UTF-8 text: use at.keyBytes instead of at.key`)
    },
  })
}

function hexOf(key: Buffer): string {
  return `0x${key.toString('hex')}`
}
