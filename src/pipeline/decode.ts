/**
 * Decoders: from the bytes of a record's value to an event.
 */
import { isUtf8 } from 'node:buffer'
import { ForebayError, sentenceOf } from '../errors.ts'
import { keepNumbers, refuseChangedNumbers } from './json-numbers.ts'
import type { At, Decoder } from './pipeline.ts'
import { checkStandardSchema, validatorOf } from './standard-schema.ts'
import type { OutputOf, StandardSchema } from './standard-schema.ts'

export interface JsonOptions {
  /** `exact`: numbers that JavaScript cannot hold come as bigint or text. Default: an event with one is a dead letter. */
  readonly numbers?: 'exact'
}

/** What `json` gives: it needs nothing but the value. */
export interface JsonDecoder<out Event> {
  readonly decode: (bytes: Buffer | null) => Event
}

/**
 * Decodes a value as JSON that fits `schema`, a Standard Schema (zod from 3.24, valibot, arktype and others); the event is what the
 * schema makes of it, at once: async checks and transforms are refused. An event without a value, where the pipeline wants it
 * decoded, is JSON's null.
 * A number that JavaScript would change (9007199254740993, 0.1234567890123456789, 1e400) is refused; with `numbers: 'exact'` it comes as
 * it is: a whole one as bigint, another one as the text it is written as, both of which columns take; the schema must allow for them.
 * Throws FB_PIPELINE when `schema` is none; decoding throws FB_BAD_EVENT that names the path, what was expected and what was there.
 */
export function json<Schema extends StandardSchema>(schema: Schema, { numbers }: JsonOptions = {}): JsonDecoder<OutputOf<Schema>> {
  checkStandardSchema(schema, 'json(schema)')
  const look = numbers === 'exact' ? keepNumbers : refuseChangedNumbers
  const validate = validatorOf<OutputOf<Schema>>(schema)
  return { decode: (bytes) => validate(bytes === null ? null : parseJson(bytes, look)) }
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
