/**
 * Reads Protobuf's wire format by the fields of a message type. Objects have no prototype; fields are named as in the .proto file.
 * Fields that the type does not know, or that come in another wire type than theirs, are passed over, as the specification says.
 */
import type { Enum, Field, MapField, Type } from 'protobufjs'
import { ByteReader } from './byte-reader.ts'

type Message = Record<string, unknown>
type ReadScalar = (from: ByteReader) => unknown

interface FieldPlan {
  readonly name: string
  readonly shape: 'one' | 'list' | 'map'
  readonly wire: number
  readonly read: ReadScalar | undefined
  /** Of a message. */
  readonly type: Type | undefined
  /** Of a map. */
  readonly key: Scalar | undefined
  /** Other members of its oneof. */
  readonly rivals: readonly string[]
  /** Of one that was not written; undefined: it is not there then. */
  readonly fallback: unknown
  readonly isRequired: boolean
}

interface Scalar {
  readonly wire: number
  readonly read: ReadScalar
  readonly zero: unknown
}

const wires = { varint: 0, fixed64: 1, bytes: 2, group: 3, groupEnd: 4, fixed32: 5 } as const
const depthMax = 100

const int32 = (from: ByteReader) => Number(BigInt.asIntN(32, BigInt(from.varint())))
const varint = (read: ReadScalar, zero: unknown): Scalar => ({ wire: wires.varint, read, zero })
const scalars: ReadonlyMap<string, Scalar> = new Map([
  ['int32', varint(int32, 0)],
  ['uint32', varint((from) => Number(BigInt.asUintN(32, BigInt(from.varint()))), 0)],
  ['sint32', varint((from) => Number(BigInt.asIntN(32, BigInt(from.zigzag()))), 0)],
  ['int64', varint((from) => BigInt.asIntN(64, BigInt(from.varint())), 0n)],
  ['uint64', varint((from) => BigInt(from.varint()), 0n)],
  ['sint64', varint((from) => BigInt(from.zigzag()), 0n)],
  ['bool', varint((from) => BigInt(from.varint()) !== 0n, false)],
  ['fixed32', { wire: wires.fixed32, read: (from) => from.uint32(), zero: 0 }],
  ['sfixed32', { wire: wires.fixed32, read: (from) => from.uint32() | 0, zero: 0 }],
  ['float', { wire: wires.fixed32, read: (from) => from.float(), zero: 0 }],
  ['fixed64', { wire: wires.fixed64, read: (from) => from.uint64(), zero: 0n }],
  ['sfixed64', { wire: wires.fixed64, read: (from) => BigInt.asIntN(64, from.uint64()), zero: 0n }],
  ['double', { wire: wires.fixed64, read: (from) => from.double(), zero: 0 }],
  ['string', { wire: wires.bytes, read: (from) => from.text(from.varint()), zero: '' }],
  ['bytes', { wire: wires.bytes, read: (from) => from.bytes(from.varint()), zero: Buffer.alloc(0) }],
])

/** Reads messages of the types of one schema. */
export class ProtobufReader {
  readonly #plans = new Map<Type, ReadonlyMap<number, FieldPlan>>()

  /** Throws a sentence when the bytes are no message of `type`. */
  read(type: Type, from: ByteReader): Message {
    return this.#message(type, from, undefined, 0, undefined)
  }

  /** `group`: number of the field whose end tag ends it; otherwise it ends with the bytes. */
  #message(type: Type, from: ByteReader, into: Message | undefined, depth: number, group: number | undefined): Message {
    if (depth > depthMax) throw new Error(`messages are nested deeper than ${depthMax}`)
    const plans = this.#plansOf(type)
    const message = into ?? (Object.create(null) as Message)
    while (from.left > 0) {
      const [number, wire] = tagOf(from)
      if (wire === wires.groupEnd) {
        if (number === group) return this.#finish(type, plans, message)
        throw new Error(`a group ends at byte ${from.position} that did not begin`)
      }
      const plan = plans.get(number)
      if (plan === undefined || !this.#field(plan, message, from, wire, depth, number)) skip(from, wire, number, depth)
    }
    if (group !== undefined) throw new Error('a group does not end')
    return this.#finish(type, plans, message)
  }

  #finish(type: Type, plans: ReadonlyMap<number, FieldPlan>, message: Message): Message {
    for (const { name, fallback, isRequired, shape } of plans.values()) {
      if (name in message) continue
      if (isRequired) throw new Error(`field ${name} of ${type.name} is required, and it is not there`)
      if (shape === 'list') message[name] = []
      else if (shape === 'map') message[name] = Object.create(null)
      else if (fallback !== undefined) message[name] = fallback
    }
    return message
  }

  /** False when it comes in a wire type that is not the field's. */
  #field(plan: FieldPlan, message: Message, from: ByteReader, wire: number, depth: number, number: number): boolean {
    const { name, shape, read, type, rivals } = plan
    if (shape === 'map') return wire === wires.bytes && this.#entry(plan, message, from.within(from.varint()), depth)
    if (type !== undefined) {
      if (wire !== wires.bytes && wire !== wires.group) return false
      const before = shape === 'one' ? (message[name] as Message | undefined) : undefined
      const isGroup = wire === wires.group
      const value = this.#message(type, isGroup ? from : from.within(from.varint()), before, depth + 1, isGroup ? number : undefined)
      set(message, name, shape, value, rivals)
      return true
    }
    if (wire === plan.wire) {
      set(message, name, shape, read!(from), rivals)
      return true
    }
    if (shape !== 'list' || wire !== wires.bytes) return false
    const packed = from.within(from.varint())
    while (packed.left > 0) set(message, name, shape, read!(packed), rivals)
    return true
  }

  #entry({ name, key, read, wire, type, fallback }: FieldPlan, message: Message, from: ByteReader, depth: number): boolean {
    let found: unknown = key!.zero
    let value: unknown
    while (from.left > 0) {
      const [number, given] = tagOf(from)
      if (number === 1 && given === key!.wire) found = key!.read(from)
      else if (number === 2 && type !== undefined && given === wires.bytes)
        value = this.#message(type, from.within(from.varint()), undefined, depth + 1, undefined)
      else if (number === 2 && type === undefined && given === wire) value = read!(from)
      else skip(from, given, number, depth)
    }
    value ??= type === undefined ? fallback : this.#message(type, new ByteReader(Buffer.alloc(0)), undefined, depth + 1, undefined)
    const map = (message[name] ??= Object.create(null)) as Message
    map[String(found)] = value
    return true
  }

  #plansOf(type: Type): ReadonlyMap<number, FieldPlan> {
    const known = this.#plans.get(type)
    if (known !== undefined) return known
    const plans = new Map(type.fieldsArray.map((field) => [field.id, planOf(field)]))
    this.#plans.set(type, plans)
    return plans
  }
}

function set(message: Message, name: string, shape: 'one' | 'list' | 'map', value: unknown, rivals: readonly string[]): void {
  if (shape === 'list') {
    const list = (message[name] ??= []) as unknown[]
    list.push(value)
    return
  }
  for (const rival of rivals) delete message[rival]
  message[name] = value
}

function planOf(field: Field): FieldPlan {
  const { name, map, repeated, partOf, required } = field
  const resolved = field.resolve().resolvedType
  const isEnum = resolved !== null && 'valuesById' in resolved
  const scalar = isEnum ? enumScalar(resolved) : scalars.get(field.type)
  const isMessage = resolved !== null && !isEnum
  const rivals = (partOf?.fieldsArray ?? []).map((other) => other.name).filter((other) => other !== name)
  const written = (field.options as { default?: unknown } | undefined)?.default
  const hasPresence = Boolean(field.hasPresence)
  return {
    name,
    shape: map ? 'map' : repeated ? 'list' : 'one',
    wire: scalar?.wire ?? wires.bytes,
    read: scalar?.read,
    type: isMessage ? resolved : undefined,
    key: map ? scalars.get((field as unknown as MapField).keyType) : undefined,
    rivals,
    fallback: written !== undefined && !map ? defaultOf(field, scalar) : map || !hasPresence ? scalar?.zero : undefined,
    isRequired: required,
  }
}

/** As its name; a number that has none as that number. */
function enumScalar({ valuesById }: Enum): Scalar {
  const nameOf = (value: number) => valuesById[value] ?? value
  return varint((from) => nameOf(int32(from)), nameOf(0))
}

/** What a proto2 file gives as default, in the type that the field is read as. */
function defaultOf({ name, defaultValue, resolvedType }: Field, scalar: Scalar | undefined): unknown {
  const value: unknown = defaultValue
  if (resolvedType !== null && 'valuesById' in resolvedType) return resolvedType.valuesById[Number(value)] ?? value
  if (typeof scalar?.zero === 'bigint') {
    // protobufjs has made a number of it: what that changed cannot be told any more.
    if (!Number.isSafeInteger(Number(value))) throw new Error(`the default of field ${name} is beyond 2^53`)
    return BigInt(String(value))
  }
  return Buffer.isBuffer(scalar?.zero) ? Buffer.from(value as Uint8Array) : value
}

function tagOf(from: ByteReader): [number: number, wire: number] {
  const tag = Number(from.varint())
  const number = Math.floor(tag / 8)
  if (number < 1 || tag >= 2 ** 32) throw new Error(`${number} at byte ${from.position} is no number of a field`)
  return [number, tag % 8]
}

function skip(from: ByteReader, wire: number, number: number, depth: number): void {
  if (wire === wires.varint) from.varint()
  else if (wire === wires.fixed64) from.bytes(8)
  else if (wire === wires.bytes) from.bytes(from.varint())
  else if (wire === wires.fixed32) from.bytes(4)
  else if (wire !== wires.group) throw new Error(`${wire} at byte ${from.position} is no wire type`)
  else skipGroup(from, number, depth + 1)
}

function skipGroup(from: ByteReader, group: number, depth: number): void {
  if (depth > depthMax) throw new Error(`messages are nested deeper than ${depthMax}`)
  for (;;) {
    const [number, wire] = tagOf(from)
    if (wire === wires.groupEnd && number === group) return
    skip(from, wire, number, depth)
  }
}
