/**
 * Reads Avro's binary encoding as a writer's schema says, into what a reader's schema wants (schema resolution of the specification).
 * Both are compiled once into functions. Objects have no prototype, so that a key such as `__proto__` is a key.
 */
import type { ByteReader } from './byte-reader.ts'
import { avroDefault } from './avro-default.ts'
import { decimalText } from './decimal-text.ts'
import type { AvroEnum, AvroField, AvroRecord, AvroType, Primitive } from './avro-schema.ts'

export type ReadAvro = (from: ByteReader) => unknown

/** Items that take no byte, such as nulls: a forged count of them would be read for ever. */
const emptyItemsMax = 10_000

/** Throws a sentence when what `writer` writes can never become what `reader` wants. */
export function compileAvro(writer: AvroType, reader: AvroType): ReadAvro {
  return new Resolution().resolve(writer, reader)
}

class Resolution {
  /** Records that are being resolved, or are: they may hold themselves. */
  readonly #records = new Map<AvroRecord, Map<AvroRecord, { read: ReadAvro }>>()

  resolve(writer: AvroType, reader: AvroType): ReadAvro {
    if (writer.kind === 'union') return this.#fromUnion(writer.branches, reader)
    if (reader.kind === 'union') return this.#intoUnion(writer, reader.branches)
    if (writer.kind === 'record' && reader.kind === 'record' && isNamed(writer, reader)) return this.#record(writer, reader)
    if (writer.kind === 'enum' && reader.kind === 'enum' && isNamed(writer, reader)) return readEnum(writer, reader)
    if (writer.kind === 'array' && reader.kind === 'array') return readArray(this.resolve(writer.items, reader.items))
    if (writer.kind === 'map' && reader.kind === 'map') return readMap(this.resolve(writer.values, reader.values))
    if (writer.kind === 'fixed' && reader.kind === 'fixed' && isNamed(writer, reader) && writer.size === reader.size) {
      const { size, decimal } = reader
      return decimal === undefined ? (from) => from.bytes(size) : (from) => decimalText(from.bytes(size), decimal.scale)
    }
    const read = readPrimitive(writer as Primitive, reader as Primitive)
    if (read === undefined) throw new Error(`${nameOf(writer)} cannot be read as ${nameOf(reader)}`)
    return read
  }

  /** A branch that does not fit is an error of the events that use it. */
  #fromUnion(branches: readonly AvroType[], reader: AvroType): ReadAvro {
    const reads = branches.map((branch): ReadAvro => {
      try {
        return this.resolve(branch, reader)
      } catch (error) {
        return () => {
          throw error
        }
      }
    })
    return (from) => {
      const index = from.zigzag()
      const read = reads[Number(index)]
      if (read === undefined) throw new Error(`branch ${index} of a union is called for, and it has ${branches.length}`)
      return read(from)
    }
  }

  #intoUnion(writer: AvroType, branches: readonly AvroType[]): ReadAvro {
    const same = branches.find((branch) => branch.kind === writer.kind && (!('name' in branch) || isNamed(writer as AvroRecord, branch)))
    for (const branch of same === undefined ? branches : [same, ...branches]) {
      try {
        return this.resolve(writer, branch)
      } catch {
        // The next may fit.
      }
    }
    throw new Error(`${nameOf(writer)} fits no branch of the union it is to be read as`)
  }

  #record(writer: AvroRecord, reader: AvroRecord): ReadAvro {
    const known = this.#records.get(writer) ?? new Map<AvroRecord, { read: ReadAvro }>()
    this.#records.set(writer, known)
    const under = known.get(reader)
    if (under !== undefined) return (from) => under.read(from)
    const own: { read: ReadAvro } = { read: () => undefined }
    known.set(reader, own)
    try {
      own.read = this.#fields(writer, reader)
    } catch (error) {
      known.delete(reader)
      throw error
    }
    return own.read
  }

  #fields(writer: AvroRecord, reader: AvroRecord): ReadAvro {
    const wanted = new Map<AvroField, AvroField>()
    const defaults: { name: string; make: () => unknown }[] = []
    for (const field of reader.fields) {
      const found = writer.fields.find(({ name }) => name === field.name) ?? writer.fields.find(({ name }) => field.aliases.includes(name))
      if (found !== undefined) wanted.set(found, field)
      else if (field.fallback === undefined)
        throw new Error(`record ${writer.name} has no field ${field.name}, and the reader's schema gives no default for it`)
      else defaults.push({ name: field.name, make: avroDefault(field.type, field.fallback.json) })
    }
    const steps = writer.fields.map((field) => {
      const into = wanted.get(field)
      return { name: into?.name, read: this.resolve(field.type, into?.type ?? field.type) }
    })
    return (from) => {
      const record = Object.create(null) as Record<string, unknown>
      for (const { name, read } of steps) {
        const value = read(from)
        if (name !== undefined) record[name] = value
      }
      for (const { name, make } of defaults) record[name] = make()
      return record
    }
  }
}

/** By the name without namespace, as the specification has it, or by an alias of the reader's. */
function isNamed(
  writer: { readonly name: string },
  { name, aliases }: { readonly name: string; readonly aliases: readonly string[] },
): boolean {
  return shortName(writer.name) === shortName(name) || aliases.includes(writer.name)
}

function shortName(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

function nameOf(type: AvroType): string {
  return 'name' in type ? `${type.kind} ${type.name}` : type.kind
}

function readEnum({ name, symbols }: AvroEnum, reader: AvroEnum): ReadAvro {
  const read = symbols.map((symbol) => (reader.symbols.includes(symbol) ? symbol : reader.fallback))
  return (from) => {
    const index = Number(from.zigzag())
    if (symbols[index] === undefined) throw new Error(`symbol ${index} of enum ${name} is called for, and it has ${symbols.length}`)
    if (read[index] === undefined) throw new Error(`enum ${name} of the reader's schema has no symbol ${symbols[index]}`)
    return read[index]
  }
}

/** Runs `read` for each item of each block. */
function readBlocks(from: ByteReader, read: () => void): void {
  let empty = 0
  for (;;) {
    let count = from.zigzag()
    if (count === 0) return
    // Then its size in bytes follows, for whoever skips it.
    if (count < 0) {
      count = -count
      from.zigzag()
    }
    for (let i = 0; i < count; i++) {
      const before = from.position
      read()
      if (from.position === before && ++empty > emptyItemsMax) throw new Error(`a list has more than ${emptyItemsMax} items without a byte`)
    }
  }
}

function readArray(read: ReadAvro): ReadAvro {
  return (from) => {
    const items: unknown[] = []
    readBlocks(from, () => items.push(read(from)))
    return items
  }
}

function readMap(read: ReadAvro): ReadAvro {
  return (from) => {
    const map = Object.create(null) as Record<string, unknown>
    readBlocks(from, () => {
      const key = from.text(from.zigzag())
      map[key] = read(from)
    })
    return map
  }
}

const promotions: Readonly<Record<string, readonly string[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
}

/** Undefined when the one cannot be read as the other. */
function readPrimitive(writer: Primitive, reader: Primitive): ReadAvro | undefined {
  if (writer.kind !== reader.kind && promotions[writer.kind]?.includes(reader.kind) !== true) return undefined
  const { kind, decimal, isMillis } = reader
  if (kind === 'long')
    return isMillis === true ? (from) => millisOf(integer(from, writer.kind)) : (from) => BigInt(integer(from, writer.kind))
  if (writer.kind === 'int' || writer.kind === 'long') return (from) => Number(integer(from, writer.kind))
  switch (kind) {
    case 'null':
      return () => null
    case 'boolean':
      return readBoolean
    case 'float':
      return (from) => from.float()
    case 'double':
      return writer.kind === 'float' ? (from) => from.float() : (from) => from.double()
    case 'bytes':
      return decimal === undefined ? (from) => from.bytes(from.zigzag()) : (from) => decimalText(from.bytes(from.zigzag()), decimal.scale)
    case 'string':
      return (from) => from.text(from.zigzag())
    default:
      return undefined
  }
}

function readBoolean(from: ByteReader): boolean {
  const byte = from.byte()
  if (byte > 1) throw new Error(`byte ${from.position - 1} is ${byte}, and a boolean is 0 or 1`)
  return byte === 1
}

function integer(from: ByteReader, kind: string): number | bigint {
  const value = from.zigzag()
  if (kind === 'int' && (value > 0x7fffffff || value < -0x80000000)) throw new Error(`${value} is no int: it has more than 32 bits`)
  return value
}

function millisOf(value: number | bigint): number {
  const ms = Number(value)
  if (!Number.isSafeInteger(ms)) throw new Error(`${value} is no time in milliseconds`)
  return ms
}
