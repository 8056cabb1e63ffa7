/**
 * A synthetic stock market: an endless row of trading days, each the same for the same seed on every machine.
 *
 * Dozens of symbols whose shares of the trade follow Zipf's law; a day from 9:30 to 16:00 that is busy at both ends (the
 * U shape of real markets), with bursts of a fraction of a second in which one symbol trades many times at one price level.
 * Every day begins with an opening trade of each symbol in the same order, so the order in which symbols first appear does
 * not depend on where one begins to read. Lines count on over the days: line = day x eventsPerDay + place in the day + 1.
 */
import { tradeJson, type TradeLine } from './trade-line.ts'

export interface MarketOptions {
  /** Any whole number; default 1. */
  readonly seed?: number
  /** Default 48. */
  readonly symbols?: number
  /** Default 500,000. */
  readonly eventsPerDay?: number
}

export const marketDefaults = { seed: 1, symbols: 48, eventsPerDay: 500_000 } as const

const openMs = 34_200_000
const closeMs = 57_600_000
const linesPerArray = 2000
const exchanges = 'QPZNDKYBX'
const conditionSets = ['0', '2000', '4000000', '20002020', '20']
const knownSymbols =
  'SPY QQQ AAPL MSFT NVDA TSLA AMZN META AMD BAC AIG IBM INTC GE F T PFE KO XOM CVX JPM WFC C GS MS V MA WMT HD DIS NKE MCD BA CAT MMM UNH JNJ MRK ABT PEP COST ORCL CSCO TXN QCOM ADBE CRM NFLX'.split(
    ' ',
  )

/** The trades of the market from `fromLine` on (default 1), for `days` whole days from the first (default: endless). */
export function* readMarket(
  options: MarketOptions = {},
  { fromLine = 1, days = Number.POSITIVE_INFINITY } = {},
): Generator<readonly TradeLine[]> {
  const { seed, symbols, eventsPerDay } = { ...marketDefaults, ...options }
  const names = symbolNames(symbols)
  for (let day = Math.floor((fromLine - 1) / eventsPerDay); day < days; day++) {
    let trades: TradeLine[] = []
    for (const trade of tradingDay(names, seed, day, eventsPerDay)) {
      if (trade.line >= fromLine) trades.push(trade)
      if (trades.length === linesPerArray) {
        yield trades
        trades = []
      }
    }
    if (trades.length > 0) yield trades
  }
}

function* tradingDay(names: readonly string[], seed: number, day: number, eventsPerDay: number): Generator<TradeLine> {
  const random = mulberry32(Math.imul(seed, 0x9e3779b1) ^ Math.imul(day + 1, 0x85ebca6b))
  const prices = openingPrices(names, seed, day)
  const pickSymbol = zipf(names.length, 1.1, random)
  let line = day * eventsPerDay
  let ms = openMs
  let burstLeft = 0
  let burstSymbol = 0
  for (let n = 0; n < eventsPerDay; n++) {
    line++
    let symbol = n
    if (n >= names.length) {
      // The time of the n-th trade is where the day's U-shaped activity has passed its share: bursts run ahead of it.
      const dueMs = openMs + (closeMs - openMs) * momentOf(n / eventsPerDay)
      if (burstLeft > 0) burstLeft--
      else if (random() < 0.004) {
        burstLeft = 10 + Math.floor(random() * 90)
        burstSymbol = pickSymbol()
      }
      symbol = burstLeft > 0 ? burstSymbol : pickSymbol()
      ms = burstLeft > 0 ? ms : Math.max(ms, Math.floor(dueMs))
    }
    const price = (prices[symbol] = nextPrice(prices[symbol]!, random))
    const size = random() < 0.7 ? 100 * (1 + Math.floor(random() ** 3 * 10)) : 1 + Math.floor(random() * 999)
    const exchange = exchanges[Math.floor(random() ** 1.5 * exchanges.length)]!
    const conditions = conditionSets[Math.floor(random() ** 2 * conditionSets.length)]!
    const name = names[symbol]!
    yield { line, msSinceMidnight: ms, symbol: name, json: tradeJson(ms, name, price, size, exchange, conditions, random() < 0.002) }
  }
}

/** The first `count` of the known symbols, in an order that is not the order of their trade alone. */
function symbolNames(count: number): string[] {
  return Array.from({ length: count }, (_, n) => knownSymbols[n] ?? `S${n}`)
}

/** Prices in dollars times 10,000, on whole cents, around the same level every day. */
function openingPrices(names: readonly string[], seed: number, day: number): number[] {
  const level = mulberry32(seed ^ 0x51ed270b)
  const daily = mulberry32(Math.imul(seed, 31) ^ (day + 7))
  return names.map(() => 100 * Math.round((1000 + level() ** 2 * 39_000) * (0.97 + 0.06 * daily())))
}

/** Mostly unchanged, else a few cents up or down; never below a dollar. */
function nextPrice(priceE4: number, random: () => number): number {
  const draw = random()
  if (draw < 0.6) return priceE4
  const cents = 1 + Math.floor(random() * Math.max(1, priceE4 / 2_000_000))
  return Math.max(10_000, priceE4 + (draw < 0.8 ? -100 : 100) * cents)
}

/**
 * Where in the day (0 to 1) the share `passed` of its trades has passed, when the density at t is 3/5 + 24/5 (t - 1/2)^2:
 * three times as busy at the ends as at noon. Found by bisection, as the cubic has no short inverse.
 */
function momentOf(passed: number): number {
  let [low, high] = [0, 1]
  for (let step = 0; step < 26; step++) {
    const middle = (low + high) / 2
    const centred = middle - 0.5
    if (0.6 * middle + 1.6 * (centred ** 3 + 0.125) < passed) low = middle
    else high = middle
  }
  return low
}

/** Draws indexes below `count`, the k-th with weight 1 / k^exponent. */
function zipf(count: number, exponent: number, random: () => number): () => number {
  const sums: number[] = []
  let sum = 0
  for (let k = 1; k <= count; k++) sums.push((sum += k ** -exponent))
  return () => {
    const wanted = random() * sum
    let [low, high] = [0, count - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (sums[middle]! < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** A small seeded generator of numbers in [0, 1); whole-number arithmetic only, so every machine draws the same. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
