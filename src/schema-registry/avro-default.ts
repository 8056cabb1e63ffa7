import { decimalText } from './decimal-text.ts'
import type { AvroType } from './avro-schema.ts'

/** Makes the default of a field, which its schema gives as JSON, as an event would have it: a new one each time. Throws when it does not fit. */
export function avroDefault(type: AvroType, json: unknown): () => unknown {
  const wrong = () => new Error(`the default ${JSON.stringify(json)} does not fit its type ${type.kind}`)
  switch (type.kind) {
    case 'union':
      return unionDefault(type.branches, json, wrong)
    case 'record': {
      const fields = objectOf(json, wrong)
      const makers = type.fields.map(({ name, type: of, fallback }) => {
        if (!Object.hasOwn(fields, name) && fallback === undefined) throw wrong()
        return [name, avroDefault(of, Object.hasOwn(fields, name) ? fields[name] : fallback!.json)] as const
      })
      return () => made(makers)
    }
    case 'map': {
      const makers = Object.entries(objectOf(json, wrong)).map(([key, value]) => [key, avroDefault(type.values, value)] as const)
      return () => made(makers)
    }
    case 'array': {
      if (!Array.isArray(json)) throw wrong()
      const makers = json.map((item) => avroDefault(type.items, item))
      return () => makers.map((make) => make())
    }
    case 'bytes':
    case 'fixed': {
      if (typeof json !== 'string') throw wrong()
      const { decimal } = type
      return () => (decimal === undefined ? Buffer.from(json, 'latin1') : decimalText(Buffer.from(json, 'latin1'), decimal.scale))
    }
    case 'long':
      if (!Number.isSafeInteger(json)) throw wrong()
      return () => (type.isMillis === true ? json : BigInt(json as number))
    default:
      if (!isOf(type.kind, json)) throw wrong()
      return () => json
  }
}

function unionDefault(branches: readonly AvroType[], json: unknown, wrong: () => Error): () => unknown {
  for (const branch of branches) {
    try {
      return avroDefault(branch, json)
    } catch {
      // The next may fit.
    }
  }
  throw wrong()
}

function isOf(kind: 'null' | 'boolean' | 'int' | 'float' | 'double' | 'string' | 'enum', json: unknown): boolean {
  if (kind === 'null') return json === null
  if (kind === 'boolean') return typeof json === 'boolean'
  if (kind === 'string' || kind === 'enum') return typeof json === 'string'
  return kind === 'int' ? Number.isSafeInteger(json) : typeof json === 'number'
}

function objectOf(json: unknown, wrong: () => Error): Readonly<Record<string, unknown>> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw wrong()
  return json as Record<string, unknown>
}

function made(makers: readonly (readonly [string, () => unknown])[]): unknown {
  const object = Object.create(null) as Record<string, unknown>
  for (const [key, make] of makers) object[key] = make()
  return object
}
