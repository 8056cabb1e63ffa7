/** The trades that live tests feed: the recorded day where it is at hand, else a day of the seeded synthetic market as a file. */
import { existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { readMarket } from '../../src/launch/market.ts'

const recorded = resolve(import.meta.dirname, '../../../shared/data/trades-2013-10-08.csv.gz')
const header = 'ms_since_midnight,symbol,price_e4,size,exchange,conditions,suspicious'

export interface TradeFeed {
  readonly file: string
  readonly events: number
}

/** Writes the synthetic file into `dir` when the recorded one is not there. */
export function tradeFeed(dir: string): TradeFeed {
  return existsSync(recorded) ? { file: recorded, events: 654_140 } : syntheticFeed(dir, Number.POSITIVE_INFINITY)
}

/** The first trades of the synthetic market, `eventsMax` at most, as a file in `dir`. */
export function syntheticFeed(dir: string, eventsMax: number): TradeFeed {
  const trades = [...readMarket({}, { days: 1 })].flat().slice(0, eventsMax)
  const lines = trades.map(({ json }) => {
    const values = Object.values(JSON.parse(json) as Record<string, unknown>)
    return values.map((value) => (typeof value === 'boolean' ? Number(value) : value)).join(',')
  })
  const file = join(dir, 'synthetic.csv.gz')
  writeFileSync(file, gzipSync(`${header}\n${lines.join('\n')}\n`))
  return { file, events: lines.length }
}
