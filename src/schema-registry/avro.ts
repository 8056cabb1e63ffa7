import { ForebayError, sentenceOf } from '../errors.ts'
import { ByteReader } from './byte-reader.ts'
import { compileAvro } from './avro-reader.ts'
import { parseAvro } from './avro-schema.ts'
import type { AvroType } from './avro-schema.ts'
import { registryDecoder } from './registry-decoder.ts'
import type { RegistryDecoder, RegistryDecoderOptions } from './registry-decoder.ts'

export interface AvroOptions<Event> extends RegistryDecoderOptions<Event> {
  /** What events of every schema are read as, by Avro's rules of schema resolution; JSON as an object or a text. Default: each as it was written. */
  readonly readerSchema?: object | string
}

/**
 * Decodes Avro by the schemas of a registry. A `long` comes as bigint, unless it is a time in milliseconds (a number); times in
 * micro- and nanoseconds are bigint, dates and times of day as the number that is written; a decimal is exact text; bytes and fixed are Buffers;
 * an enum is its symbol; a union is the value of its branch; records and maps are objects without a prototype.
 * Throws FB_PIPELINE for options that are wrong.
 */
export function avro<Event = unknown>(options: AvroOptions<Event>): RegistryDecoder<Event> {
  const { readerSchema } = options
  const reader = readerSchema === undefined ? undefined : readerOf(readerSchema)
  return registryDecoder(options, 'AVRO', ({ text, references }) => {
    const known = new Map<string, AvroType>()
    for (const { text: referred } of references) parseAvro(jsonOrName(referred), known)
    const writer = parseAvro(jsonOrName(text), known)
    const read = compileAvro(writer, reader ?? writer)
    return (bytes) => {
      const from = new ByteReader(bytes)
      const event = read(from)
      if (from.left > 0) throw new Error(`${from.left} bytes are left after the event that its schema describes`)
      return event
    }
  })
}

/** A registry may keep a primitive type as its bare name. */
function jsonOrName(text: string): unknown {
  return /^\s*[A-Za-z]/.test(text) ? text.trim() : JSON.parse(text)
}

function readerOf(schema: object | string): AvroType {
  try {
    return parseAvro(typeof schema === 'string' ? jsonOrName(schema) : schema)
  } catch (error) {
    throw new ForebayError('FB_PIPELINE', `The readerSchema of the decoder cannot be used: ${sentenceOf(error)}.`)
  }
}
