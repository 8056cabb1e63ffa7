import { ByteReader } from './byte-reader.ts'
import { demandLibrary } from './library.ts'
import { ProtobufReader } from './protobuf-reader.ts'
import { parseProtobuf } from './protobuf-schema.ts'
import { registryDecoder } from './registry-decoder.ts'
import type { RegistryDecoder, RegistryDecoderOptions } from './registry-decoder.ts'

/**
 * Decodes Protobuf (proto2 and proto3) by the schemas of a registry. Fields are named as in the .proto file; the integers of 64 bits come
 * as bigint, an enum as its name (or its number, where it has none), bytes as Buffer, a map as an object. Absent fields: lists and maps are empty, those without presence
 * have their default, others are not there. Needs the package protobufjs.
 * Throws FB_PIPELINE for options that are wrong, and when protobufjs is not installed.
 */
export function protobuf<Event = unknown>(options: RegistryDecoderOptions<Event>): RegistryDecoder<Event> {
  demandLibrary('protobufjs', 'protobuf()')
  return registryDecoder(options, 'PROTOBUF', async (schema) => {
    const types = await parseProtobuf(schema)
    const reader = new ProtobufReader()
    return (bytes) => {
      const from = new ByteReader(bytes)
      return reader.read(types.type(messagePath(from)), from)
    }
  })
}

/** Which message of the file it is; a single zero stands for the first. */
function messagePath(from: ByteReader): number[] {
  const count = Number(from.zigzag())
  if (count === 0) return [0]
  if (count < 0 || count > from.left) throw new Error(`the message is given by ${count} numbers, and ${from.left} bytes are left`)
  return Array.from({ length: count }, () => Number(from.zigzag()))
}
