import type { Ajv, Options } from 'ajv'
import { parseJson } from '../pipeline/decode.ts'
import type { JsonOptions } from '../pipeline/decode.ts'
import { keepNumbers, refuseChangedNumbers } from '../pipeline/json-numbers.ts'
import { demandLibrary } from './library.ts'
import type { FetchedSchema } from './registry-client.ts'
import { registryDecoder } from './registry-decoder.ts'
import type { RegistryDecoder, RegistryDecoderOptions } from './registry-decoder.ts'

export interface JsonSchemaOptions<Event> extends RegistryDecoderOptions<Event>, JsonOptions {}

type SchemaJson = Record<string, unknown> | boolean

/** Formats say what a text is for; the specification leaves it open whether they are checked. */
const ajvOptions: Options = { strict: false, logger: false, validateFormats: false }

/**
 * Decodes JSON that fits its schema in a registry (draft 7, 2019-09 and 2020-12); numbers as `json` takes them. Needs the package ajv.
 * Throws FB_PIPELINE for options that are wrong, and when ajv is not installed.
 */
export function jsonSchema<Event = unknown>(options: JsonSchemaOptions<Event>): RegistryDecoder<Event> {
  demandLibrary('ajv', 'jsonSchema()')
  const look = options.numbers === 'exact' ? keepNumbers : refuseChangedNumbers
  return registryDecoder(options, 'JSON', async (schema) => {
    const check = await checkOf(schema)
    return (bytes) =>
      parseJson(bytes, (text, parsed, value) => {
        check(parsed)
        return look(text, parsed, value)
      })
  })
}

async function checkOf({ text, references }: FetchedSchema): Promise<(value: unknown) => void> {
  const schema = JSON.parse(text) as SchemaJson
  const ajv = await ajvFor(schema)
  const id = typeof schema === 'object' && typeof schema['$id'] === 'string' ? schema['$id'] : undefined
  for (const { name, text: referred } of references) {
    const key = id !== undefined && URL.canParse(name, id) ? new URL(name, id).href : name
    ajv.addSchema(JSON.parse(referred) as SchemaJson, key)
  }
  const validate = ajv.compile(schema)
  if ('$async' in validate) throw new Error('it is $async, and an event is validated at once')
  return (value) => {
    if (validate(value)) return
    const [issue] = validate.errors!
    const { instancePath, message, params } = issue!
    throw new Error(`${instancePath === '' ? 'the whole value' : instancePath} ${message} (${JSON.stringify(params)})`)
  }
}

async function ajvFor(schema: SchemaJson): Promise<Ajv> {
  const draft = typeof schema === 'object' ? String(schema['$schema']) : ''
  if (draft.includes('2020-12')) return new (await import('ajv/dist/2020.js')).Ajv2020(ajvOptions) as unknown as Ajv
  if (draft.includes('2019-09')) return new (await import('ajv/dist/2019.js')).Ajv2019(ajvOptions) as unknown as Ajv
  return new (await import('ajv')).Ajv(ajvOptions)
}
