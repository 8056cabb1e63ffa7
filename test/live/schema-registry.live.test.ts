import { Type } from 'avsc'
import protobufjs from 'protobufjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { definePipeline, postgresTable } from '../../src/index.ts'
import { avro, jsonSchema, protobuf } from '../../src/schema-registry.ts'
import type { RegistryDecoder, RegistryDecoderOptions } from '../../src/schema-registry.ts'
import { eventually } from '../support/grid-cluster.ts'
import { ask, floorsReachEnd, startNode, startTestKafka } from '../support/live-node.ts'
import type { Feed, TestKafka } from '../support/live-node.ts'
import { createTestDatabase } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'
import { SchemaRegistry, registered } from '../support/schema-registry.ts'
import type { RegisteredSchema } from '../support/schema-registry.ts'

interface Item {
  readonly n: number
}

interface Format {
  readonly decoder: (options: RegistryDecoderOptions<Item>) => RegistryDecoder<Item>
  /** Of the first and the second version. */
  readonly schemas: readonly [RegisteredSchema, RegisteredSchema]
  readonly encode: (n: number, version: number) => Uint8Array
}

const item = z.object({ n: z.int() })

const avroField = (name: string, type: string) => ({ name, type })
const avroTypes = [[avroField('n', 'int')], [avroField('more', 'string'), avroField('n', 'int')]].map((fields) =>
  Type.forSchema({ type: 'record', name: 'Item', fields } as never),
)
const proto = ['syntax = "proto3"; message Item { int32 n = 1; }', 'syntax = "proto3"; message Item { int32 n = 1; string more = 2; }']
const protoTypes = proto.map((text) => protobufjs.parse(text, new protobufjs.Root()).root.lookupType('Item'))

const formats: Readonly<Record<string, Format>> = {
  avro: {
    decoder: avro,
    schemas: [{ schema: JSON.stringify(avroTypes[0]!.schema()) }, { schema: JSON.stringify(avroTypes[1]!.schema()) }],
    encode: (n, version) => avroTypes[version - 1]!.toBuffer(version === 1 ? { n } : { more: 'x', n }),
  },
  protobuf: {
    decoder: protobuf,
    schemas: [
      { schema: proto[0]!, schemaType: 'PROTOBUF' },
      { schema: proto[1]!, schemaType: 'PROTOBUF' },
    ],
    encode: (n, version) => {
      const type = protoTypes[version - 1]!
      return Buffer.concat([Buffer.from([0]), type.encode(type.fromObject({ n, more: 'x' })).finish()])
    },
  },
  json: {
    decoder: jsonSchema,
    schemas: [
      { schema: '{"required":["n"]}', schemaType: 'JSON' },
      { schema: '{"required":["n","more"]}', schemaType: 'JSON' },
    ],
    encode: (n, version) => Buffer.from(JSON.stringify(version === 1 ? { n } : { n, more: 'x' })),
  },
}

let kafka: TestKafka
let database: TestDatabase
const feeds = new Map<string, Feed>()
beforeAll(async () => {
  kafka = await startTestKafka()
  database = await createTestDatabase()
  // One after the other: the broker answers for a topic that it is still making as for one that there is not.
  for (const name of Object.keys(formats)) feeds.set(name, await kafka.feed(topicOf(name)))
})
afterAll(async () => {
  for (const feed of feeds.values()) await feed[Symbol.asyncDispose]()
  await database?.drop()
})

const topicOf = (name: string) => `registry-${name}-${process.pid}`

const away = 'the registry is away'

/** A registry with both schemas at `port`, or a free one. */
async function startRegistry({ schemas }: Format, port?: number): Promise<{ registry: SchemaRegistry; port: number }> {
  const registry = new SchemaRegistry()
  schemas.forEach((schema, index) => registry.byId.set(index + 1, schema))
  return { registry, port: Number(new URL(await registry.listen(port)).port) }
}

describe.concurrent('events whose schemas are in a registry', () => {
  it.each(Object.keys(formats))(
    '%s: a registry that is away holds only who meets an unknown id, by name; then all rows come in order, once',
    async (name) => {
      const format = formats[name]!
      const table = `rows_${name}`
      await ask(database.url, `create table ${table} (seq bigint generated always as identity, at_partition int, at_offset bigint, n int)`)
      const { registry: first, port } = await startRegistry(format)
      await first[Symbol.asyncDispose]()
      const url = `http://127.0.0.1:${port}`
      const pipeline = definePipeline({
        name,
        version: '1',
        source: { topic: topicOf(name), decode: format.decoder({ registry: { url }, schema: item }) },
        tasks: {
          row: {
            every: '20ms',
            sink: postgresTable(table, { columns: { at_partition: 'int', at_offset: 'bigint', n: 'int' } }),
            convert: ({ n }, at) => ({ at_partition: at.partition, at_offset: at.offset, n }),
          },
        },
      })
      const feed = feeds.get(name)!
      await using node = await startNode(pipeline, { url: database.url, name, events: kafka.events(name) })
      let nextN = 0
      const wanted: Record<number, number[]> = { 0: [], 1: [] }
      const publish = async (partition: number, version: number, count: number) => {
        const ns = Array.from({ length: count }, () => nextN++)
        wanted[partition]!.push(...ns)
        await feed.publish(
          partition,
          ns.map((n) => registered(version, format.encode(n, version))),
        )
      }
      const rows = async (partition: number) =>
        (await ask<{ n: number }>(database.url, `select n from ${table} where at_partition = $1 order by seq`, [partition])).map(
          ({ n }) => n,
        )
      const isTold = async (id: number) => {
        const { troubles } = await node.status()
        return troubles.some(
          ({ kind, places, sentence }) =>
            kind === 'schemas' && places.join() === 'partition 1' && sentence.includes(`${url}/ does not give schema ${id}`),
        )
      }

      await publish(1, 1, 700)
      await eventually(away, () => isTold(1), 10_000)
      {
        await using registry = (await startRegistry(format, port)).registry
        await floorsReachEnd(database.url, feed.events, { pipeline: name })
        expect(registry.asked).toEqual(['/schemas/ids/1'])
      }
      await publish(1, 1, 100)
      await publish(1, 2, 700)
      await eventually(away, () => isTold(2), 10_000)
      await publish(0, 1, 300)
      await eventually('rows of the other partition', async () => (await rows(0)).length === 300, 10_000)
      expect((await rows(1)).length).toBeLessThan(1500)
      await using registry = (await startRegistry(format, port)).registry
      await floorsReachEnd(database.url, feed.events, { pipeline: name })
      expect(registry.asked).toEqual(['/schemas/ids/2'])
      for (const partition of [0, 1]) expect(await rows(partition)).toEqual(wanted[partition])
      await eventually('the end of the trouble', async () => (await node.status()).troubles.length === 0, 10_000)
      expect(await ask(database.url, 'select id from forebay.dead_letters where pipeline = $1', [name])).toEqual([])
      await node.stop()
    },
  )
})
