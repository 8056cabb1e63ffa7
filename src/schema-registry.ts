/** Decoders of events whose schemas are in a schema registry, as `forebay/schema-registry`: nobody else needs their libraries. */
export { avro } from './schema-registry/avro.ts'
export { jsonSchema } from './schema-registry/json-schema.ts'
export { protobuf } from './schema-registry/protobuf.ts'
export type { AvroOptions } from './schema-registry/avro.ts'
export type { JsonSchemaOptions } from './schema-registry/json-schema.ts'
export type { StandardSchema } from './pipeline/standard-schema.ts'
export type { RegistryDecoder, RegistryDecoderOptions } from './schema-registry/registry-decoder.ts'
export type { RegistryOptions } from './schema-registry/registry-options.ts'
