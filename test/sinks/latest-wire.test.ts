import { expect, it } from 'vitest'
import { decodeFanout, encodeFanout } from '../../src/sinks/latest-wire.ts'
import type { LatestValue } from '../../src/sinks/latest-values.ts'

it('entries of the fan-out hold every value once and no more bytes than they may, whatever the script', () => {
  const values = Array.from({ length: 400 }, (_, n): [string, LatestValue] => [
    `鍵 ${n}`,
    { partition: n % 4, offset: BigInt(n), timeMs: n, json: JSON.stringify('値'.repeat(n % 60)) },
  ])
  const entries = encodeFanout(values, 2048)
  // The last closing bracket comes on top.
  expect(Math.max(...entries.map(({ length }) => length))).toBeLessThanOrEqual(2049)
  expect(entries.flatMap((entry) => decodeFanout(entry))).toEqual(values)
})

it('a value larger than an entry goes alone', () => {
  const large: LatestValue = { partition: 0, offset: 1n, timeMs: 0, json: JSON.stringify('x'.repeat(500)) }
  const small = { ...large, json: '1' }
  const entries = encodeFanout(Object.entries({ a: small, b: large, c: small }), 100)
  expect(entries.map((entry) => decodeFanout(entry)!.map(([key]) => key))).toEqual([['a'], ['b'], ['c']])
})
