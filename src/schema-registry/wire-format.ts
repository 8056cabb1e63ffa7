/** The wire format of Confluent's serializers: a zero byte, the id of a schema in four bytes, then what the schema describes. */
import { ForebayError } from '../errors.ts'

const magicByte = 0
const idEnd = 5
const shownBytes = 8

/** Where the bytes after the id begin. */
export const payloadStart = idEnd

/** The schema id of `value`. Throws FB_BAD_EVENT when it is not in the wire format. */
export function schemaIdOf(value: Buffer): number {
  if (value.length >= idEnd && value[0] === magicByte) return value.readUInt32BE(1)
  const begins = value.length === 0 ? 'it is empty' : `it begins with ${value.toString('hex', 0, shownBytes)}`
  throw new ForebayError(
    'FB_BAD_EVENT',
    `the event is not in the wire format of a schema registry (a zero byte and a schema id of four bytes): ${begins}; decode it with json(schema) or bytes(function), or have its producer use the registry`,
  )
}

/** The schema ids among `values`, each once; what is not in the wire format has none. */
export function schemaIdsOf(values: readonly Buffer[]): Set<number> {
  const ids = new Set<number>()
  for (const value of values) if (value.length >= idEnd && value[0] === magicByte) ids.add(value.readUInt32BE(1))
  return ids
}
