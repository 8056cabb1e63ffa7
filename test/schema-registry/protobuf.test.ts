import fc from 'fast-check'
import protobufjs from 'protobufjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { protobuf } from '../../src/schema-registry.ts'
import { SchemaRegistry, registered } from '../support/schema-registry.ts'

const registry = new SchemaRegistry()
let url = ''
let nextId = 1
beforeAll(async () => {
  url = await registry.listen()
})
afterAll(() => registry[Symbol.asyncDispose]())

const first = Buffer.from([0])

async function decoded(schema: string, payload: Uint8Array, references: Record<string, string> = {}, path = first): Promise<unknown> {
  const id = nextId++
  const refer = Object.entries(references).map(([name, text]) => {
    registry.bySubject.set(`${name}/1`, { schema: text, schemaType: 'PROTOBUF' })
    return { name, subject: name, version: 1 }
  })
  registry.byId.set(id, { schema, schemaType: 'PROTOBUF', references: refer })
  const decoder = protobuf({ registry: { url } })
  const value = registered(id, Buffer.concat([path, payload]))
  await decoder.prepare([value])
  return decoder.decode(value)
}

/** By protobufjs. */
function written(schema: string, type: string, value: object): Uint8Array {
  const { root } = protobufjs.parse(schema, new protobufjs.Root(), { keepCase: true })
  const message = root.lookupType(type)
  return message.encode(message.fromObject(value)).finish()
}

const plain = (value: unknown) => JSON.parse(JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part)))

const all = `syntax = "proto3"; package shop;
message Order {
  int32 a = 1; int64 b = 2; uint64 c = 3; sint64 d = 4; sfixed64 e = 5; double f = 6; float g = 7; bool h = 8; string i = 9;
  sint32 k = 11; uint32 l = 12; fixed32 m = 13; repeated int64 n = 14; repeated string o = 15; map<string, int64> p = 16;
  Side side = 17; Line line = 18; optional int32 maybe = 19; oneof either { string left = 20; Line right = 21; }
  message Line { int32 count = 1; Order inside = 2; }
  enum Side { NONE = 0; BUY = 1; }
}
message Other { string only = 1; }`

describe('protobuf()', () => {
  it('gives what was written, of every type, and the integers of 64 bits exactly', async () => {
    const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)
    const events = fc.record({
      a: fc.integer(),
      b: int64,
      c: fc.bigInt(0n, 2n ** 64n - 1n),
      d: int64,
      e: int64,
      f: fc.double({ noNaN: true }),
      g: fc.float({ noNaN: true }),
      h: fc.boolean(),
      i: fc.string({ unit: 'grapheme' }),
      k: fc.integer(),
      l: fc.nat(),
      m: fc.nat(),
      n: fc.array(int64),
      o: fc.array(fc.string()),
      p: fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        int64,
      ),
      side: fc.constantFrom('NONE', 'BUY'),
    })
    await fc.assert(
      fc.asyncProperty(events, async (event) => {
        const text = (part: unknown): unknown =>
          typeof part === 'bigint'
            ? String(part)
            : Array.isArray(part)
              ? part.map(text)
              : typeof part === 'object'
                ? Object.fromEntries(Object.entries(part!).map(([key, value]) => [key, text(value)]))
                : part
        const found = (await decoded(all, written(all, 'shop.Order', text(event) as object))) as typeof event
        expect({ ...found, p: { ...found.p } }).toEqual(event)
      }),
      { numRuns: 60 },
    )
  })

  it('tells what is not there from what is empty', async () => {
    expect(plain(await decoded(all, Buffer.alloc(0)))).toEqual({
      a: 0,
      b: '0n',
      c: '0n',
      d: '0n',
      e: '0n',
      f: 0,
      g: 0,
      h: false,
      i: '',
      k: 0,
      l: 0,
      m: 0,
      n: [],
      o: [],
      p: {},
      side: 'NONE',
    })
    const event = { maybe: 0, right: { count: 2, inside: { left: 'x' } } }
    const found = plain(await decoded(all, written(all, 'shop.Order', event))) as object
    expect(found).toMatchObject(event)
    expect(found).not.toHaveProperty('left')
  })

  it('takes the last member of a oneof, and merges what comes in parts', async () => {
    const parts = [{ left: 'x' }, { right: { count: 1 } }, { line: { count: 3 } }, { line: { inside: { a: 9 } } }]
    const found = plain(await decoded(all, Buffer.concat(parts.map((part) => written(all, 'shop.Order', part))))) as object
    expect(found).not.toHaveProperty('left')
    expect(found).toMatchObject({ right: { count: 1 }, line: { count: 3, inside: { a: 9 } } })
  })

  it('finds the message by its indexes', async () => {
    expect(plain(await decoded(all, written(all, 'shop.Other', { only: 'x' }), {}, Buffer.from([2, 2])))).toEqual({ only: 'x' })
    expect(plain(await decoded(all, written(all, 'shop.Order.Line', { count: 5 }), {}, Buffer.from([4, 0, 0])))).toEqual({ count: 5 })
    await expect(decoded(all, Buffer.alloc(0), {}, Buffer.from([2, 8]))).rejects.toThrow(/message 4 is called for, and there is none/)
    await expect(decoded(all, Buffer.alloc(0), {}, Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x7f]))).rejects.toThrow(
      /the message is given by \d+ numbers, and 0 bytes are left/,
    )
  })

  it('reads imports by references, and the types that Google defines', async () => {
    const money = 'syntax = "proto3"; package shop; message Money { int64 cents = 1; }'
    const order = `syntax = "proto3"; package shop; import "money.proto"; import "google/protobuf/timestamp.proto"; import "google/protobuf/descriptor.proto";
      message Order { Money price = 1; google.protobuf.Timestamp at = 2; }`
    const payload = Buffer.from([0x0a, 2, 8, 10, 0x12, 2, 8, 12])
    expect(plain(await decoded(order, payload, { 'money.proto': money }))).toEqual({
      price: { cents: '10n' },
      at: { seconds: '12n', nanos: 0 },
    })
  })

  it('reads proto2: defaults, required fields and groups', async () => {
    const old = `syntax = "proto2"; message Old { required int32 id = 1; optional int64 big = 2 [default = 9007199254740991];
      optional Kind kind = 3 [default = B]; repeated group Line = 4 { optional int32 n = 5; } enum Kind { A = 0; B = 1; } }`
    const found = plain(await decoded(old, Buffer.from([8, 7, 0x23, 0x28, 3, 0x24]))) as Record<string, unknown>
    expect(found).toMatchObject({ id: 7, big: '9007199254740991n', kind: 'B' })
    expect(found['Line'] ?? found['line']).toEqual([{ n: 3 }])
    const far = 'syntax = "proto2"; message Far { optional int64 big = 1 [default = 9007199254740993]; }'
    await expect(decoded(far, Buffer.alloc(0))).rejects.toThrow(/the default of field big is beyond 2\^53/)
    await expect(decoded(old, Buffer.alloc(0))).rejects.toThrow(/field id of Old is required/)
  })

  it('takes keys that objects inherit for keys, and passes over what it does not know', async () => {
    const map = 'syntax = "proto3"; message M { map<string, int32> m = 1; }'
    const entry = Buffer.concat([Buffer.from([0x0a, 13, 0x0a, 9]), Buffer.from('__proto__'), Buffer.from([0x10, 4])])
    const unknown = Buffer.from([0x7a, 1, 65, 0x78, 1, 0x7d, 0, 0, 0, 0, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7b, 8, 1, 0x7c])
    const { m } = (await decoded(map, Buffer.concat([entry, unknown]))) as { m: object }
    expect(Object.entries(m)).toEqual([['__proto__', 4]])
  })

  it('gives an event or refuses it, whatever bytes come', async () => {
    registry.byId.set(900, { schema: all, schemaType: 'PROTOBUF' })
    const decoder = protobuf({ registry: { url } })
    await decoder.prepare([registered(900, first)])
    const deep = Buffer.concat([
      first,
      ...Array.from({ length: 300 }, (_, i) => Buffer.from(i % 2 === 0 ? [0x92, 0x01, 0xff, 0x7f] : [0x12, 0xff, 0x7f])),
    ])
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.constant(deep)), (bytes) => {
        try {
          decoder.decode(registered(900, bytes))
        } catch (error) {
          expect(error).toMatchObject({ code: 'FB_BAD_EVENT' })
        }
      }),
      { numRuns: 2000 },
    )
    let nested = Buffer.alloc(0)
    for (let i = 0; i < 150; i++) {
      const length = nested.length
      const size = length < 128 ? [length] : [(length & 0x7f) | 0x80, length >> 7]
      nested = Buffer.concat([i % 2 === 0 ? Buffer.from([0x12, ...size]) : Buffer.from([0x92, 0x01, ...size]), nested])
    }
    expect(() => decoder.decode(registered(900, Buffer.concat([first, nested])))).toThrow(/nested deeper than 100/)
  })
})
