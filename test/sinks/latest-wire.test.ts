import fc from 'fast-check'
import { expect, it } from 'vitest'
import { signatureOf } from '../../src/grid/signature.ts'
import { decodeFanout, decodeLatest, encodeFanout, encodeLatest } from '../../src/sinks/web-socket/latest-wire.ts'
import type { LatestValue } from '../../src/sinks/web-socket/latest-values.ts'

const seal = { secret: 'a secret of the test', place: 'forebay-fanout.d.p.t.e1.prices' }
const one: LatestValue = { partition: 0, offset: 1n, timeMs: 0, json: '1' }

it('entries of the fan-out hold every value once and no more bytes than they may, whatever the script', () => {
  const values = Array.from({ length: 400 }, (_, n): [string, LatestValue] => [
    `鍵 ${n}`,
    { partition: n % 4, offset: BigInt(n), timeMs: n, json: JSON.stringify('値'.repeat(n % 60)) },
  ])
  const entries = encodeFanout(seal, values, 2048)
  // The last closing bracket comes on top.
  expect(Math.max(...entries.map(({ length }) => length))).toBeLessThanOrEqual(2049)
  expect(entries.flatMap((entry) => decodeFanout(seal, entry))).toEqual(values)
})

it('a value larger than an entry goes alone', () => {
  const large: LatestValue = { partition: 0, offset: 1n, timeMs: 0, json: JSON.stringify('x'.repeat(500)) }
  const small = { ...large, json: '1' }
  const entries = encodeFanout(seal, Object.entries({ a: small, b: large, c: small }), 100)
  expect(entries.map((entry) => decodeFanout(seal, entry)!.map(([key]) => key))).toEqual([['a'], ['b'], ['c']])
})

it('an entry is of no use with another secret, in another ring, or with one bit changed', () => {
  const [entry] = encodeFanout(seal, [['A', one]], 2048)
  expect(decodeFanout(seal, entry!)).toEqual([['A', one]])
  expect(decodeFanout({ ...seal, secret: 'another secret' }, entry!)).toBeUndefined()
  for (const place of ['forebay-fanout.d.p.t.e1.trades', 'forebay-fanout.d.p.t.e2.prices'])
    expect(decodeFanout({ ...seal, place }, entry!)).toBeUndefined()
  for (let at = 0; at < entry!.length; at++) {
    const damaged = Buffer.from(entry!)
    damaged[at]! ^= 1
    expect(decodeFanout(seal, damaged)).toBeUndefined()
  }
  for (const length of [0, 31, 32]) expect(decodeFanout(seal, entry!.subarray(0, length))).toBeUndefined()
})

it('a value of the map is of no use with another secret, in another map, at another key, or changed', () => {
  const text = encodeLatest(seal, 'A', one)
  expect(decodeLatest(seal, 'A', text)).toEqual(one)
  expect(decodeLatest({ ...seal, secret: 'another secret' }, 'A', text)).toBeUndefined()
  expect(decodeLatest({ ...seal, place: 'forebay-latest.d.p.t.e1.trades' }, 'A', text)).toBeUndefined()
  expect(decodeLatest(seal, 'B', text)).toBeUndefined()
  expect(decodeLatest(seal, 'A', text.replace('"1"', '"999"'))).toBeUndefined()
  for (const damaged of ['', text.slice(0, 20), text.slice(0, -1), text.slice(44)]) expect(decodeLatest(seal, 'A', damaged)).toBeUndefined()
})

it('never throws, whatever somebody with the secret wrote', () => {
  const odd = fc.oneof(fc.json(), fc.string(), fc.constantFrom('[[]]', '[null]', '[["__proto__",[0,"1",0,"1"]]]', '[["a",[0,"x",0,"1"]]]'))
  const place = JSON.stringify([seal.place])
  fc.assert(
    fc.property(odd, fc.nat(80), (json, length) => {
      const entry = Buffer.concat([signatureOf(seal.secret, place, Buffer.from(json)), Buffer.from(json)])
      for (const bytes of [entry, entry.subarray(0, length)]) {
        for (const [key, value] of decodeFanout(seal, bytes) ?? []) {
          expect(typeof key).toBe('string')
          expect(typeof value.offset).toBe('bigint')
        }
      }
      const text = signatureOf(seal.secret, JSON.stringify([seal.place, 'k']), json).toString('base64') + json
      for (const value of [text, text.slice(0, length), json]) decodeLatest(seal, 'k', value)
    }),
    { numRuns: 1000 },
  )
})
