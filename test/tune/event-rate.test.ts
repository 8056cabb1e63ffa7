import { describe, expect, it } from 'vitest'
import { burstOf, countsPerSecond } from '../../src/tune/event-rate.ts'
import { PacedLog } from '../../src/tune/paced-log.ts'
import { timeAt, ratePerSecond } from '../../src/tune/series.ts'
import { Quantiles } from '../../src/tune/quantiles.ts'

describe('Rates of events', () => {
  it('counts whole seconds only', () => {
    const timesMs = [500, 900, 1000, 1100, 1999, 2000, 2500, 3000]
    expect(countsPerSecond(timesMs)).toEqual([3, 2])
    expect(countsPerSecond([])).toEqual([])
  })

  it('sees no bursts in an even stream and weighs those of an uneven one by their events', () => {
    const even = Array.from({ length: 3000 }, (_, i) => i)
    expect(burstOf([even]).at(0.99)).toBeCloseTo(1, 1)
    // In one tenth of a second of ten comes half of all.
    const uneven = Array.from({ length: 30 }, (_, bucket) =>
      Array.from({ length: bucket % 10 === 0 ? 90 : 10 }, () => bucket * 100 + 50),
    ).flat()
    const burst = burstOf([uneven])
    expect(burst.at(0.25)).toBeLessThan(1)
    expect(burst.at(0.75)).toBeCloseTo(90 / 18, 0)
  })

  it('looks at the time in which all streams have events', () => {
    const old = Array.from({ length: 100 }, (_, i) => i * 100)
    const young = Array.from({ length: 5000 }, (_, i) => 5000 + i)
    expect(burstOf([old, young]).at(0.99)).toBeCloseTo(1, 0)
    expect(burstOf([[], [7]]).at(0.5)).toBe(1)
  })
})

describe('A series', () => {
  const series = [10, 100, 1000].map((size) => ({ size, ms: new Quantiles([size, size * 3]) }))

  it.each([
    [1, 0, 10],
    [55, 0, 55],
    [55, 1, 165],
    [2000, 0, 2000],
  ])('takes for size %i at share %f the time %i', (size, share, ms) => {
    expect(timeAt(series, size, share)).toBeCloseTo(ms)
  })

  it('gets no faster beyond its end, whatever the noise', () => {
    const odd = [
      { size: 10, ms: new Quantiles([50]) },
      { size: 20, ms: new Quantiles([10]) },
    ]
    expect(timeAt(odd, 40, 0.5)).toBe(10)
  })

  it('has its best rate among sizes that are allowed', () => {
    const flushes = [10, 100, 1000].map((size) => ({ size, ms: new Quantiles([10]) }))
    expect(ratePerSecond(flushes, 500)).toBeCloseTo(10_000)
    expect(ratePerSecond(flushes, 1)).toBeCloseTo(1000)
  })
})

describe('A paced log', () => {
  it('gives events when they are due, with the time they were due, and goes on where it is sought', async () => {
    let now = 1000
    const clock = { now: () => now, wallMs: () => now + 5, sleep: async (ms: number) => void (now += ms) }
    const record = { offset: 77n, timestampMs: 0, key: null, value: Buffer.from('x') }
    const log = new PacedLog(clock, {
      identity: { cluster: 'c', topicId: null, partitions: 2 },
      records: new Map([[1, [record]]]),
      perSecond: 200,
    })
    const cursor = await log.open(0, 3n)
    const first = await cursor.poll(100)
    expect(first.events.map(({ offset }) => offset)).toEqual([3n])
    now += 25
    const { events, lastOffset } = await cursor.poll(100)
    expect(events.map(({ offset, timestampMs }) => [offset, timestampMs])).toEqual([
      [4n, 1015],
      [5n, 1025],
    ])
    expect(lastOffset).toBe(5n)
    expect((await cursor.poll(2)).events).toEqual([])
    expect(now).toBe(1027)
    cursor.seek(4n)
    expect((await cursor.poll(0)).events.map(({ offset }) => offset)).toEqual([4n, 5n])
  })
})
