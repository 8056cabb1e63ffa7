/**
 * Stock trades: every trade into a table, the latest price of each symbol to WebSocket clients, one candle a symbol and minute, and
 * one summary a symbol and day once the market has closed.
 */
import { cron, definePipeline, json, postgresTable, webSocket } from 'forebay'
import * as z from 'zod'

const minuteMs = 60_000

/** A trade as the feed publishes it. Prices are US dollars times 10,000. */
const tradeSchema = z.object({
  ms_since_midnight: z.int().min(0),
  symbol: z.string().min(1),
  price_e4: z.int().min(0),
  size: z.int().min(0),
  exchange: z.string(),
  conditions: z.string(),
  suspicious: z.boolean(),
})

interface Price {
  readonly symbol: string
  readonly price_e4: number
  readonly ms_since_midnight: number
}

/** The prices to begin with after a full stop: the last close of each symbol. */
const lastCloses = `
  select distinct on (symbol) symbol as key,
    json_build_object('symbol', symbol, 'price_e4', close_e4, 'ms_since_midnight', minute * ${minuteMs}) as value
  from candles
  order by symbol, minute desc`

/** The day's first and last prices, extremes and sums, from its candles; a second run for the same day gives the same rows. */
const summarise = `
  insert into daily_summary (day, symbol, open_e4, high_e4, low_e4, close_e4, volume, trades)
  select $1::date, symbol, (array_agg(open_e4 order by minute))[1], max(high_e4), min(low_e4), (array_agg(close_e4 order by minute desc))[1],
    sum(volume), sum(trades)
  from candles group by symbol
  on conflict (day, symbol) do update set open_e4 = excluded.open_e4, high_e4 = excluded.high_e4, low_e4 = excluded.low_e4,
    close_e4 = excluded.close_e4, volume = excluded.volume, trades = excluded.trades`

const newYork = 'America/New_York'
const dayInNewYork = new Intl.DateTimeFormat('en-CA', { timeZone: newYork })

export default definePipeline({
  name: 'stock-ticks',
  version: '1',
  source: { topic: 'trades', decode: json(tradeSchema) },
  key: (trade) => trade.symbol,
  tasks: {
    storeTrade: {
      every: '15ms',
      sink: postgresTable('trades', {
        columns: {
          source_partition: 'int',
          source_offset: 'bigint',
          ms_since_midnight: 'int',
          symbol: 'text',
          price_e4: 'bigint',
          size: 'int',
          exchange: 'text',
          conditions: 'text',
          suspicious: 'boolean',
        },
      }),
      convert: (trade, at) => ({
        source_partition: at.partition,
        source_offset: at.offset,
        ms_since_midnight: trade.ms_since_midnight,
        symbol: trade.symbol,
        price_e4: trade.price_e4,
        size: trade.size,
        exchange: trade.exchange,
        conditions: trade.conditions,
        suspicious: trade.suspicious,
      }),
    },
    pushPrice: {
      every: '10ms',
      sink: webSocket('prices', { latestBy: (price: Price) => price.symbol, seed: { sql: lastCloses } }),
      convert: (trade) => ({ symbol: trade.symbol, price_e4: trade.price_e4, ms_since_midnight: trade.ms_since_midnight }),
    },
    minuteCandle: {
      every: '1s',
      sink: postgresTable('candles', {
        columns: {
          symbol: 'text',
          minute: 'int',
          open_e4: 'bigint',
          high_e4: 'bigint',
          low_e4: 'bigint',
          close_e4: 'bigint',
          volume: 'bigint',
          trades: 'bigint',
        },
        upsertOn: ['symbol', 'minute'],
        merge: { open_e4: 'first', high_e4: 'max', low_e4: 'min', close_e4: 'last', volume: 'add', trades: 'add' },
      }),
      convert: (trade) => ({
        symbol: trade.symbol,
        minute: Math.floor(trade.ms_since_midnight / minuteMs),
        open_e4: trade.price_e4,
        high_e4: trade.price_e4,
        low_e4: trade.price_e4,
        close_e4: trade.price_e4,
        volume: trade.size,
        trades: 1,
      }),
    },
  },
  cron: {
    // Five minutes after the close, for the trades that are still on their way.
    closeDay: cron('0 5 16 * * 1-5', { timezone: newYork, missed: 'once' }, async ({ sql, scheduledAt }) => {
      await sql(summarise, [dayInNewYork.format(scheduledAt)])
    }),
  },
})
