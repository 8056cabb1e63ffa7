/** The trades that live tests feed: the recorded day where it is at hand, else a day of the seeded synthetic market as a file. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { readMarket } from '../../src/launch/market.ts'

const recorded = resolve(import.meta.dirname, '../../../shared/data/trades-2013-10-08.csv.gz')
const recordedEvents = 654_140
const header = 'ms_since_midnight,symbol,price_e4,size,exchange,conditions,suspicious'

export interface TradeFeed {
  readonly file: string
  readonly events: number
}

/** All trades, or the first `eventsMax`. Writes into `dir` what is not there as a file. */
export function tradeFeed(dir: string, eventsMax = Number.POSITIVE_INFINITY): TradeFeed {
  if (!existsSync(recorded)) return syntheticFeed(dir, eventsMax)
  if (eventsMax >= recordedEvents) return { file: recorded, events: recordedEvents }
  const lines = gunzipSync(readFileSync(recorded)).toString().split('\n')
  const file = join(dir, `first-${eventsMax}.csv.gz`)
  writeFileSync(file, gzipSync(`${lines.slice(0, eventsMax + 1).join('\n')}\n`))
  return { file, events: eventsMax }
}

/** The first trades of the synthetic market, `eventsMax` at most, as a file in `dir`. */
export function syntheticFeed(dir: string, eventsMax: number): TradeFeed {
  const trades = [...readMarket({}, { days: 1 })].flat().slice(0, eventsMax)
  const lines = trades.map(({ json }) => {
    const values = Object.values(JSON.parse(json) as Record<string, unknown>)
    return values.map((value) => (typeof value === 'boolean' ? Number(value) : value)).join(',')
  })
  const file = join(dir, `synthetic-${lines.length}.csv.gz`)
  writeFileSync(file, gzipSync(`${header}\n${lines.join('\n')}\n`))
  return { file, events: lines.length }
}
