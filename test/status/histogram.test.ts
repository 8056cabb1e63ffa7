import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Histogram } from '../../src/status/histogram.ts'

const values = fc.array(fc.record({ ms: fc.integer({ min: 0, max: 2 ** 31 }), count: fc.integer({ min: 1, max: 50 }) }), {
  minLength: 1,
  maxLength: 60,
})

function filled(entries: readonly { ms: number; count: number }[]): Histogram {
  const histogram = new Histogram()
  for (const { ms, count } of entries) histogram.record(ms, count)
  return histogram
}

/** The percentile by its definition: from the sorted list of all values. */
function truePercentile(entries: readonly { ms: number; count: number }[], percent: number): number {
  const all = entries.flatMap(({ ms, count }) => Array.from({ length: count }, () => ms)).sort((a, b) => a - b)
  return all[Math.max(1, Math.ceil((percent / 100) * all.length)) - 1]!
}

describe('Histogram', () => {
  it('is exact to the millisecond below one second', () => {
    for (let ms = 0; ms < 1000; ms++) {
      const histogram = new Histogram()
      histogram.record(ms)
      histogram.record(5000)
      expect(histogram.percentile(50)).toBe(ms)
    }
  })

  it('is never more than 1% above the true percentile and never below it', () => {
    fc.assert(
      fc.property(values, fc.constantFrom(1, 50, 90, 99, 99.9, 100), (entries, percent) => {
        const truth = truePercentile(entries, percent)
        const told = filled(entries).percentile(percent)!
        expect(told).toBeGreaterThanOrEqual(truth)
        expect(told).toBeLessThanOrEqual(truth * 1.01)
      }),
    )
  })

  it('merges to what one histogram of all values would be', () => {
    fc.assert(
      fc.property(values, values, (left, right) => {
        const merged = filled(left)
        merged.merge(filled(right))
        expect(merged.toJSON()).toEqual(filled([...left, ...right]).toJSON())
      }),
    )
  })

  it('comes back from JSON unchanged', () => {
    fc.assert(
      fc.property(values, (entries) => {
        const json = JSON.parse(JSON.stringify(filled(entries)))
        expect(Histogram.fromJSON(json).toJSON()).toEqual(json)
      }),
    )
  })

  it('refuses JSON whose buckets do not add up to its count', () => {
    expect(() => Histogram.fromJSON({ count: 2, sumMs: 1, maxMs: 1, buckets: [[1, 1]] })).toThrow(/add up/)
  })

  it('tells what was recorded since an earlier state', () => {
    const histogram = filled([{ ms: 5, count: 3 }])
    const earlier = Histogram.fromJSON(histogram.toJSON())
    histogram.record(2000, 2)
    const recent = histogram.since(earlier)
    expect(recent.count).toBe(2)
    expect(recent.sumMs).toBe(4000)
    expect(recent.percentile(1)).toBe(2000)
  })

  it('counts negative values as 0 and keeps values beyond its range in the last bucket', () => {
    const histogram = filled([{ ms: -7, count: 1 }])
    histogram.record(1e15)
    expect(histogram.percentile(50)).toBe(0)
    expect(histogram.percentile(100)).toBeGreaterThan(4e9)
    expect(histogram.countUpTo(0)).toBe(1)
  })

  it('loses no value beyond its range on its way to another node', () => {
    const histogram = filled([{ ms: 4, count: 2 }])
    for (const ms of [2 ** 32 - 1, 2 ** 32, Date.UTC(2026, 0, 31)]) histogram.record(ms)
    const received = Histogram.fromJSON(histogram.toJSON())
    expect(received.count).toBe(5)
    expect(received.countUpTo(4)).toBe(2)
    expect(received.countUpTo(Date.UTC(2030, 0, 1))).toBe(5)
  })

  it('has no percentile while it is empty', () => {
    expect(new Histogram().percentile(99)).toBeNull()
  })
})
