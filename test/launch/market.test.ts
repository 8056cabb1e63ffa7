import { describe, expect, it } from 'vitest'
import { readMarket } from '../../src/launch/market.ts'
import type { TradeLine } from '../../src/launch/trade-line.ts'

const eventsPerDay = 40_000
const day = (seed: number, days = 1): TradeLine[] => [...readMarket({ seed, eventsPerDay }, { days })].flat()

describe('the synthetic market', () => {
  const trades = day(7)

  it('is the same for the same seed and another for another', () => {
    expect(day(7)).toEqual(trades)
    expect(day(8).map(({ json }) => json)).not.toEqual(trades.map(({ json }) => json))
  })

  it('numbers its lines from 1 on without a gap, over the days too', () => {
    expect(day(7, 2).map(({ line }) => line)).toEqual(Array.from({ length: 2 * eventsPerDay }, (_, n) => n + 1))
  })

  it('gives the same lines when it is read from the middle of the second day', () => {
    const fromLine = eventsPerDay + 12_345
    const tail = [...readMarket({ seed: 7, eventsPerDay }, { fromLine, days: 2 })].flat()
    expect(tail).toEqual(day(7, 2).slice(fromLine - 1))
  })

  it('begins every day with each symbol once, in the same order', () => {
    const both = day(7, 2)
    const opening = (from: number) => both.slice(from, from + 48).map(({ symbol }) => symbol)
    expect(new Set(opening(0)).size).toBe(48)
    expect(opening(eventsPerDay)).toEqual(opening(0))
    expect(new Set(trades.map(({ symbol }) => symbol)).size).toBe(48)
  })

  it('has a time of day that never goes back and stays between 9:30 and 16:00', () => {
    const times = trades.map(({ msSinceMidnight }) => msSinceMidnight)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(times[0]).toBe(34_200_000)
    expect(times.at(-1)!).toBeLessThan(57_600_000)
  })

  it('trades a few symbols most of the time, as Zipf says', () => {
    const counts = new Map<string, number>()
    for (const { symbol } of trades) counts.set(symbol, (counts.get(symbol) ?? 0) + 1)
    const shares = [...counts.values()].toSorted((a, b) => b - a).map((count) => count / trades.length)
    expect(shares[0]).toBeGreaterThan(0.15)
    expect(shares.slice(0, 10).reduce((a, b) => a + b)).toBeGreaterThan(0.6)
    expect(shares.at(-1)).toBeLessThan(0.01)
  })

  it('is busy at both ends of the day and calm at noon', () => {
    const hours = Array.from({ length: 13 }, () => 0)
    for (const { msSinceMidnight } of trades) hours[Math.floor((msSinceMidnight - 34_200_000) / 1_800_000)]!++
    expect(hours[0]!).toBeGreaterThan(2 * hours[6]!)
    expect(hours[12]!).toBeGreaterThan(2 * hours[6]!)
  })

  it('has bursts of many trades of one symbol within one millisecond', () => {
    let longest = 0
    for (let n = 1, run = 1; n < trades.length; n++) {
      const isSame = trades[n]!.symbol === trades[n - 1]!.symbol && trades[n]!.msSinceMidnight === trades[n - 1]!.msSinceMidnight
      run = isSame ? run + 1 : 1
      longest = Math.max(longest, run)
    }
    expect(longest).toBeGreaterThan(50)
  })

  it('publishes the seven columns in file order, and nothing else', () => {
    for (const { json, symbol, msSinceMidnight } of trades.slice(0, 500)) {
      const trade = JSON.parse(json) as Record<string, unknown>
      expect(Object.keys(trade)).toEqual(['ms_since_midnight', 'symbol', 'price_e4', 'size', 'exchange', 'conditions', 'suspicious'])
      expect(trade).toMatchObject({ ms_since_midnight: msSinceMidnight, symbol })
      expect([trade['price_e4'], trade['size']].every(Number.isInteger)).toBe(true)
      expect(typeof trade['suspicious']).toBe('boolean')
      expect(Number(trade['price_e4'])).toBeGreaterThanOrEqual(10_000)
    }
  })
})
