/**
 * Decoders: from the bytes of a record's value to an event.
 */
import { isUtf8 } from 'node:buffer'
import type * as z from 'zod'
import { ForebayError, sentenceOf } from '../errors.ts'
import { keepNumbers, refuseChangedNumbers } from './json-numbers.ts'
import type { At, Decoder } from './pipeline.ts'

const issuesShownMax = 5

export interface JsonOptions {
  /** `exact`: numbers that JavaScript cannot hold come as bigint or text. Default: an event with one is a dead letter. */
  readonly numbers?: 'exact'
}

/** What `json` gives: it needs nothing but the value. */
export interface JsonDecoder<out Event> {
  readonly decode: (bytes: Buffer | null) => Event
}

/**
 * Decodes a value as JSON that fits `schema` (zod); the event is what the schema makes of it. An event without a value, where the
 * pipeline wants it decoded, is JSON's null.
 * A number that JavaScript would change (9007199254740993, 0.1234567890123456789, 1e400) is refused; with `numbers: 'exact'` it comes as
 * it is: a whole one as bigint, another one as the text it is written as, both of which columns take; the schema must allow for them.
 * Throws FB_BAD_EVENT that names the path, what was expected and what was there.
 */
export function json<Schema extends z.ZodType>(schema: Schema, { numbers }: JsonOptions = {}): JsonDecoder<z.output<Schema>> {
  const look = numbers === 'exact' ? keepNumbers : refuseChangedNumbers
  return {
    decode(bytes) {
      const parsed = schema.safeParse(bytes === null ? null : parseJson(bytes, look))
      if (parsed.success) return parsed.data
      throw new ForebayError('FB_BAD_EVENT', `the event does not fit the schema: ${sentenceOfIssues(parsed.error.issues)}`)
    },
  }
}

/**
 * Decodes a value with a function of your own, which is also told where the event stands. What it throws becomes the error of a dead
 * letter; it must be pure. For a pipeline whose `source.tombstones` is `decode` it takes `Buffer | null`.
 */
export function bytes<Event, Value extends Buffer | null = Buffer>(decode: (bytes: Value, at: At) => Event): Decoder<Event, Value> {
  return { decode }
}

/** `look` is given the text, what JSON made of it, and its bytes, and says what it is taken for. Throws FB_BAD_EVENT. */
export function parseJson(value: Buffer, look: (text: string, parsed: unknown, value: Buffer) => unknown): unknown {
  const text = value.toString('utf8')
  // A replacement character is cheap to look for, and rare: only then are the bytes checked themselves.
  if (text.includes('\ufffd') && !isUtf8(value)) throw new ForebayError('FB_BAD_EVENT', 'the event is not JSON: its bytes are not UTF-8')
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw new ForebayError('FB_BAD_EVENT', `the event is not JSON: ${sentenceOf(error)}`, { cause: error })
  }
  return look(text, parsed, value)
}

function sentenceOfIssues(issues: readonly z.core.$ZodIssue[]): string {
  const shown = issues.slice(0, issuesShownMax).map((issue) => `${pathText(issue.path)}: ${issue.message.replace(/^Invalid input: /, '')}`)
  if (issues.length > issuesShownMax) shown.push(`and ${issues.length - issuesShownMax} more`)
  return shown.join('; ')
}

function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'the whole value'
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index > 0 ? '.' : ''}${String(part)}`)).join('')
}
