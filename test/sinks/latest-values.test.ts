import { expect, it } from 'vitest'
import { LatestValues } from '../../src/sinks/web-socket/latest-values.ts'

const value = (offset: bigint, json: string) => ({ partition: 0, offset, timeMs: 0, json })
const kib = 1024

it('values are taken up to their bytes, however few keys they are', () => {
  const values = new LatestValues(1000, 10 * kib)
  expect(values.apply('A', value(1n, 'a'.repeat(2 * kib)))).toBe('taken')
  expect(values.apply('B', value(2n, 'b'.repeat(2 * kib)))).toBe('taken')
  expect(values.apply('C', value(3n, 'c'.repeat(2 * kib)))).toBe('full')
  expect(values.bytes).toBeLessThanOrEqual(10 * kib)
  expect([values.size, values.get('C')]).toEqual([2, undefined])
})

it('a value that outgrows the bytes leaves the one that is held, and a smaller one makes room again', () => {
  const values = new LatestValues(1000, 10 * kib)
  for (const key of ['A', 'B']) values.apply(key, value(1n, 'x'.repeat(2 * kib)))
  expect(values.apply('A', value(2n, 'x'.repeat(3 * kib)))).toBe('full')
  expect(values.get('A')?.offset).toBe(1n)
  expect(values.apply('B', value(2n, '0'))).toBe('taken')
  expect(values.apply('A', value(3n, 'x'.repeat(3 * kib)))).toBe('taken')
  expect(values.bytes).toBeLessThanOrEqual(10 * kib)
})

it('what replaces a value takes its room: bytes do not pile up', () => {
  const values = new LatestValues(1000, 10 * kib)
  for (let offset = 0n; offset < 1000n; offset++) expect(values.apply('A', value(offset, 'x'.repeat(kib)))).toBe('taken')
})

it('of two partitions that speak about one key the later record decides, then the higher partition, in whichever order they come', () => {
  const older = { partition: 3, offset: 3n, timeMs: 1000, json: '"older"' }
  const newer = { partition: 1, offset: 2n, timeMs: 1001, json: '"newer"' }
  const beside = { partition: 2, offset: 4n, timeMs: 1001, json: '"beside"' }
  for (const order of [
    [older, newer, beside],
    [beside, newer, older],
    [newer, beside, older],
  ]) {
    const values = new LatestValues(10)
    for (const one of order) values.apply('A', one)
    expect(values.get('A')).toBe(beside)
  }
})

it('a seed gives way to any live value and replaces none, not even one of another partition', () => {
  const values = new LatestValues(10)
  expect(values.apply('A', value(-1n, '"seed"'))).toBe('taken')
  expect(values.apply('A', value(-1n, '"another seed"'))).toBe('older')
  expect(values.apply('A', value(0n, '"live"'))).toBe('taken')
  expect(values.apply('A', { ...value(-1n, '"seed"'), partition: 7, timeMs: 9 })).toBe('older')
  expect(values.apply('A', value(1n, '"later"'))).toBe('taken')
  expect(values.get('A')?.json).toBe('"later"')
})
