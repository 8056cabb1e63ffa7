import { Type, types } from 'avsc'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { avro } from '../../src/schema-registry.ts'
import type { AvroOptions } from '../../src/schema-registry.ts'
import { SchemaRegistry, registered } from '../support/schema-registry.ts'

const registry = new SchemaRegistry()
let url = ''
let nextId = 1
beforeAll(async () => {
  url = await registry.listen()
})
afterAll(() => registry[Symbol.asyncDispose]())

/** Written by avsc, which reads longs as bigint here. */
const long = types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(value)
    return bytes
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
})

const written = (schema: object, value: unknown) =>
  Type.forSchema(schema as never, { registry: { long } as never, wrapUnions: false }).toBuffer(value)

async function decoded<Event>(
  schema: object,
  payload: Buffer,
  options: Omit<AvroOptions<Event>, 'registry'> = {},
  references: Record<string, object> = {},
): Promise<unknown> {
  const id = nextId++
  const refer = Object.entries(references).map(([name, referred]) => {
    registry.bySubject.set(`${name}-value/1`, { schema: JSON.stringify(referred) })
    return { name, subject: `${name}-value`, version: 1 }
  })
  registry.byId.set(id, { schema: JSON.stringify(schema), references: refer })
  const decoder = avro({ registry: { url }, ...options })
  const value = registered(id, payload)
  await decoder.prepare([value])
  return decoder.decode(value)
}

const record = (fields: object[], more: object = {}) => ({ type: 'record', name: 'Order', fields, ...more })
const plain = (value: unknown) => JSON.parse(JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part)))

describe('avro()', () => {
  it('gives what was written, of every type, and longs exactly', async () => {
    const schema = record([
      { name: 'long', type: 'long' },
      { name: 'int', type: 'int' },
      { name: 'float', type: 'float' },
      { name: 'double', type: 'double' },
      { name: 'text', type: 'string' },
      { name: 'yes', type: 'boolean' },
      { name: 'maybe', type: ['null', 'string'] },
      { name: 'list', type: { type: 'array', items: 'int' } },
      { name: 'map', type: { type: 'map', values: 'long' } },
      { name: 'side', type: { type: 'enum', name: 'Side', symbols: ['BUY', 'SELL'] } },
    ])
    const events = fc.record({
      long: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      int: fc.integer(),
      float: fc.float({ noNaN: true }),
      double: fc.double({ noNaN: true }),
      text: fc.string({ unit: 'grapheme' }),
      yes: fc.boolean(),
      maybe: fc.option(fc.string()),
      list: fc.array(fc.integer()),
      map: fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      ),
      side: fc.constantFrom('BUY', 'SELL'),
    })
    await fc.assert(
      fc.asyncProperty(events, async (event) => {
        const found = (await decoded(schema, written(schema, event))) as typeof event
        expect({ ...found, map: { ...found.map } }).toEqual({ ...event, map: { ...event.map } })
      }),
      { numRuns: 60 },
    )
  })

  it('gives decimals as exact text and times in milliseconds as numbers', async () => {
    const decimal = { type: 'bytes', logicalType: 'decimal', precision: 40, scale: 3 }
    const at = { type: 'long', logicalType: 'timestamp-millis' }
    const schema = record([
      { name: 'price', type: decimal },
      { name: 'fee', type: { type: 'fixed', name: 'Fee', size: 16, logicalType: 'decimal', precision: 38, scale: 0 } },
      { name: 'at', type: at },
      { name: 'micros', type: { type: 'long', logicalType: 'timestamp-micros' } },
    ])
    const hex = (-12345678901234567890123n & (2n ** 80n - 1n)).toString(16)
    const fee = Buffer.alloc(16)
    fee[15] = 7
    const payload = Type.forSchema(
      record([
        { name: 'price', type: 'bytes' },
        { name: 'fee', type: { type: 'fixed', name: 'Fee', size: 16 } },
        { name: 'at', type: 'long' },
        { name: 'micros', type: 'long' },
      ]) as never,
      { registry: { long } as never },
    ).toBuffer({ price: Buffer.from(hex, 'hex'), fee, at: 1764331200123n, micros: 1764331200123456n })
    expect(await decoded(schema, payload)).toEqual({
      price: '-12345678901234567890.123',
      fee: '7',
      at: 1764331200123,
      micros: 1764331200123456n,
    })
  })

  it('takes keys and fields that objects inherit for keys and fields', async () => {
    const payload = Buffer.concat([Buffer.from([2, 18]), Buffer.from('__proto__'), Buffer.from([2, 0])])
    const map = (await decoded({ type: 'map', values: 'int' }, payload)) as object
    expect(Object.keys(map)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(map)).toBe(null)
    const own = (await decoded(record([{ name: '__proto__', type: 'int' }]), Buffer.from([4]))) as object
    expect(Object.entries(own)).toEqual([['__proto__', 2]])
  })

  it('reads as a reader’s schema wants: promoted, renamed, left out, with defaults', async () => {
    const writer = record([
      { name: 'id', type: 'int' },
      { name: 'gone', type: { type: 'map', values: 'string' } },
      { name: 'price', type: ['null', 'int'] },
      { name: 'side', type: { type: 'enum', name: 'Side', symbols: ['BUY', 'SHORT'] } },
    ])
    const readerSchema = record([
      { name: 'number', aliases: ['id'], type: 'long' },
      { name: 'price', type: ['null', 'double'] },
      { name: 'side', type: { type: 'enum', name: 'Side', symbols: ['BUY', 'OTHER'], default: 'OTHER' } },
      { name: 'tags', type: { type: 'array', items: 'string' }, default: ['new'] },
      { name: 'big', type: 'long', default: 5 },
    ])
    const found = await decoded(writer, written(writer, { id: 7, gone: { a: 'b' }, price: 3, side: 'SHORT' }), { readerSchema })
    expect(found).toEqual({ number: 7n, price: 3, side: 'OTHER', tags: ['new'], big: 5n })
    await expect(
      decoded(writer, written(writer, { id: 7, gone: {}, price: 3, side: 'BUY' }), { readerSchema: record([{ name: 'x', type: 'int' }]) }),
    ).rejects.toThrow(/schema \d+ cannot be used: record Order has no field x, and the reader's schema gives no default for it/)
    expect(() => avro({ registry: { url }, readerSchema: '{"type":"nothing"}' })).toThrow(
      /readerSchema .* names a type nothing that there is not/,
    )
  })

  it('reads records that hold themselves, and types of schemas that are referred to', async () => {
    const node = record([
      { name: 'n', type: 'int' },
      { name: 'next', type: ['null', 'Order'] },
    ])
    expect(plain(await decoded(node, Buffer.from([2, 2, 4, 0])))).toEqual({ n: 1, next: { n: 2, next: null } })
    const money = { type: 'record', name: 'Money', namespace: 'a.b', fields: [{ name: 'cents', type: 'long' }] }
    const order = record([{ name: 'price', type: 'a.b.Money' }])
    expect(plain(await decoded(order, Buffer.from([10]), {}, { 'a.b.Money': money }))).toEqual({ price: { cents: '5n' } })
  })

  it('gives what the schema of the decoder makes of it', async () => {
    const schema = record([{ name: 'id', type: 'long' }])
    const small = z.object({ id: z.bigint().max(10n) }).transform(({ id }) => Number(id))
    expect(await decoded(schema, Buffer.from([14]), { schema: small })).toBe(7)
    await expect(decoded(schema, Buffer.from([40]), { schema: small })).rejects.toThrow(/the event does not fit the schema: id: .*10/)
  })

  it.each([
    ['a text that is longer than the event', 'string', [0xfe, 0xff, 0xff, 0xff, 0x0f, 65]],
    ['a list of very many items', { type: 'array', items: 'int' }, [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]],
    ['a list of very many nulls', { type: 'array', items: 'null' }, [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ['a negative length', 'bytes', [0x01]],
    ['a branch that there is not', ['null', 'int'], [0x06]],
    ['a symbol that there is not', { type: 'enum', name: 'E', symbols: ['A'] }, [0x09]],
    ['a number without an end', 'long', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['bytes after the event', 'int', [2, 2]],
    ['a text that is no UTF-8', 'string', [2, 0xff]],
    ['an int of 64 bits', 'int', [0xfe, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['a boolean of 2', 'boolean', [2]],
    ['nothing at all', 'long', []],
  ])('refuses %s', async (_what, schema, payload) => {
    await expect(decoded(schema as object, Buffer.from(payload))).rejects.toMatchObject({
      code: 'FB_BAD_EVENT',
      message: expect.stringMatching(/^the event cannot be read by its schema \d+: /),
    })
  })

  it('gives an event or refuses it, whatever bytes come', async () => {
    const schema = record([
      { name: 'list', type: { type: 'array', items: { type: 'map', values: ['null', 'long', 'Order'] } } },
      { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
    ])
    registry.byId.set(900, { schema: JSON.stringify(schema) })
    const decoder = avro({ registry: { url } })
    await decoder.prepare([registered(900, Buffer.alloc(0))])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decoder.decode(registered(900, bytes))
        } catch (error) {
          expect(error).toMatchObject({ code: 'FB_BAD_EVENT' })
        }
      }),
      { numRuns: 2000 },
    )
  })
})
