/** Avro schemas as JSON to types with their names resolved. Throws a sentence for what is no schema. */

export type PrimitiveKind = 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string'

/** A number with `scale` digits after its point. */
export interface Decimal {
  readonly scale: number
}

export interface Primitive {
  readonly kind: PrimitiveKind
  readonly decimal?: Decimal
  /** Milliseconds since 1970. */
  readonly isMillis?: boolean
}

interface Named {
  /** With its namespace. */
  readonly name: string
  readonly aliases: readonly string[]
}

export interface AvroField {
  readonly name: string
  readonly aliases: readonly string[]
  readonly type: AvroType
  /** As JSON; absent: there is none. */
  readonly fallback?: { readonly json: unknown }
}

export interface AvroRecord extends Named {
  readonly kind: 'record'
  readonly fields: AvroField[]
}

export interface AvroEnum extends Named {
  readonly kind: 'enum'
  readonly symbols: readonly string[]
  readonly fallback?: string
}

export interface AvroFixed extends Named {
  readonly kind: 'fixed'
  readonly size: number
  readonly decimal?: Decimal
}

export type AvroType =
  | Primitive
  | AvroRecord
  | AvroEnum
  | AvroFixed
  | { readonly kind: 'array'; readonly items: AvroType }
  | { readonly kind: 'map'; readonly values: AvroType }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }

type Json = Readonly<Record<string, unknown>>

const primitives: ReadonlySet<string> = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'])
const millis = ['timestamp-millis', 'local-timestamp-millis']

/** `known`: named types of the schemas it refers to; its own are added. */
export function parseAvro(schema: unknown, known: Map<string, AvroType> = new Map(), namespace = ''): AvroType {
  if (typeof schema === 'string') return named(schema, known, namespace)
  if (Array.isArray(schema)) return { kind: 'union', branches: schema.map((branch) => parseAvro(branch, known, namespace)) }
  if (typeof schema !== 'object' || schema === null) throw new Error(`${JSON.stringify(schema)} is no Avro schema`)
  const json = schema as Json
  const { type } = json
  switch (type) {
    case 'record':
    case 'error':
      return recordOf(json, known, namespace)
    case 'enum':
      return enumOf(json, known, namespace)
    case 'fixed':
      return fixedOf(json, known, namespace)
    case 'array':
      return { kind: 'array', items: parseAvro(json['items'], known, namespace) }
    case 'map':
      return { kind: 'map', values: parseAvro(json['values'], known, namespace) }
    default:
      return typeof type === 'string' && primitives.has(type) ? primitiveOf(type as PrimitiveKind, json) : parseAvro(type, known, namespace)
  }
}

function primitiveOf(kind: PrimitiveKind, json: Json): Primitive {
  const decimal = kind === 'bytes' ? decimalOf(json) : undefined
  if (decimal !== undefined) return { kind, decimal }
  return kind === 'long' && millis.includes(String(json['logicalType'])) ? { kind, isMillis: true } : { kind }
}

/** One that is wrong is passed over, as the specification says: then it is the bytes alone. */
function decimalOf({ logicalType, precision, scale = 0 }: Json): Decimal | undefined {
  if (logicalType !== 'decimal' || !Number.isSafeInteger(precision) || !Number.isSafeInteger(scale)) return undefined
  return (scale as number) >= 0 && (scale as number) <= (precision as number) ? { scale: scale as number } : undefined
}

function named(name: string, known: ReadonlyMap<string, AvroType>, namespace: string): AvroType {
  if (primitives.has(name)) return { kind: name as PrimitiveKind }
  const found = known.get(fullName(name, namespace)) ?? known.get(name)
  if (found === undefined) throw new Error(`it names a type ${name} that there is not`)
  return found
}

function fullName(name: string, namespace: string): string {
  return name.includes('.') || namespace === '' ? name : `${namespace}.${name}`
}

function namesOf({ name, namespace, aliases }: Json, outer: string): Named & { namespace: string } {
  if (typeof name !== 'string' || name === '') throw new Error('a record, enum or fixed of it has no name')
  const full = fullName(name, typeof namespace === 'string' ? namespace : outer)
  const own = full.includes('.') ? full.slice(0, full.lastIndexOf('.')) : ''
  return { name: full, namespace: own, aliases: textsOf(aliases).map((alias) => fullName(alias, own)) }
}

function recordOf(json: Json, known: Map<string, AvroType>, outer: string): AvroRecord {
  const { name, aliases, namespace } = namesOf(json, outer)
  const fields: AvroField[] = []
  const record: AvroRecord = { kind: 'record', name, aliases, fields }
  // Before its fields: they may name it.
  known.set(name, record)
  if (!Array.isArray(json['fields'])) throw new Error(`record ${name} has no fields`)
  for (const field of json['fields'] as Json[]) {
    if (typeof field?.['name'] !== 'string') throw new Error(`a field of record ${name} has no name`)
    const type = parseAvro(field['type'], known, namespace)
    const fallback = Object.hasOwn(field, 'default') ? { fallback: { json: field['default'] } } : {}
    fields.push({ name: field['name'], aliases: textsOf(field['aliases']), type, ...fallback })
  }
  return record
}

function enumOf(json: Json, known: Map<string, AvroType>, outer: string): AvroEnum {
  const { name, aliases } = namesOf(json, outer)
  const symbols = textsOf(json['symbols'])
  const fallback = json['default']
  const made: AvroEnum = { kind: 'enum', name, aliases, symbols, ...(typeof fallback === 'string' ? { fallback } : {}) }
  known.set(name, made)
  return made
}

function fixedOf(json: Json, known: Map<string, AvroType>, outer: string): AvroFixed {
  const { name, aliases } = namesOf(json, outer)
  const size = json['size']
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw new Error(`fixed ${name} has no size`)
  const decimal = decimalOf(json)
  const made: AvroFixed = { kind: 'fixed', name, aliases, size: size as number, ...(decimal === undefined ? {} : { decimal }) }
  known.set(name, made)
  return made
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
}
