/** What the decoders of all formats share: the schema by the id in front of the value, and the validation of the event. */
import { ForebayError, sentenceOf } from '../errors.ts'
import { checkStandardSchema, validatorOf } from '../pipeline/standard-schema.ts'
import type { StandardSchema } from '../pipeline/standard-schema.ts'
import { RegistryClient } from './registry-client.ts'
import type { FetchedSchema } from './registry-client.ts'
import type { RegistryOptions } from './registry-options.ts'
import { SchemaCache } from './schema-cache.ts'
import { payloadStart, schemaIdOf, schemaIdsOf } from './wire-format.ts'

/** Of `bytes` the value after the schema id. Throws what becomes the sentence of a dead letter. */
export type ReadPayload = (bytes: Buffer) => unknown

export interface RegistryDecoderOptions<Event> {
  readonly registry: RegistryOptions
  /** What the decoded event must fit, and is made into. Default: the event as the registry's schema describes it. */
  readonly schema?: StandardSchema<Event>
}

/** An event without a value, where the pipeline wants it decoded, is null. */
export interface RegistryDecoder<out Event> {
  readonly decode: (bytes: Buffer | null) => Event
  readonly prepare: (values: readonly Buffer[]) => Promise<void>
}

/** `make` turns a schema into what reads its events. Throws FB_PIPELINE for a registry that is not given as it must be. */
export function registryDecoder<Event>(
  { registry, schema }: RegistryDecoderOptions<Event>,
  type: string,
  make: (schema: FetchedSchema) => Promise<ReadPayload> | ReadPayload,
): RegistryDecoder<Event> {
  const cache = new SchemaCache<ReadPayload>(new RegistryClient(registry), (fetched) => {
    if (fetched.type === type) return make(fetched)
    throw new Error(`it is of type ${fetched.type}, and this pipeline reads ${type}`)
  })
  if (schema !== undefined) checkStandardSchema(schema, 'schema of a decoder')
  const validate = schema === undefined ? (event: unknown) => event as Event : validatorOf(schema)
  return {
    prepare: (values) => cache.fetch(schemaIdsOf(values)),
    decode(bytes) {
      if (bytes === null) return validate(null)
      const id = schemaIdOf(bytes)
      return validate(readWith(cache.get(id), bytes.subarray(payloadStart), id))
    },
  }
}

function readWith(read: ReadPayload, bytes: Buffer, id: number): unknown {
  try {
    return read(bytes)
  } catch (error) {
    throw new ForebayError('FB_BAD_EVENT', `the event cannot be read by its schema ${id}: ${sentenceOf(error)}`, { cause: error })
  }
}
