/** `npm start` as a newcomer uses it: no Java, an event log in Postgres, the grid in the process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import WebSocket from 'ws'
import { Launched } from '../support/launched.ts'
import { checkTrades, readPostgresEvents } from '../support/trade-checker.ts'
import { syntheticFeed } from '../support/trade-feed.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay-trades-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('npm start feeds, stores and pushes, and goes on where it stopped', { timeout: 240_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'forebay standalone '))
  const { file, events } = syntheticFeed(dir, 9000)
  let first = 0
  {
    const launched = new Launched('standalone', ['--rate', '1500', '--feed', file], folder)
    await launched.running()
    await launched.until('trades arrive', 60_000, async () => (await launched.rows()) > 2000)
    expect((await firstFrame(launched)).size).toBeGreaterThan(0)
    expect((await fetch(`${launched.run.http[0]!}/readyz`)).status).toBe(200)
    first = await launched.rows()
    expect(await launched.interrupt()).toBe(0)
  }
  const again = new Launched('standalone', ['--rate', '1500', '--feed', file], folder)
  await again.running()
  await again.until('every trade is applied', 60_000, async () => (await again.rows()) >= events)
  await again.until('every candle is applied', 15_000, async () => {
    const row = await again.query<{ trades: string }>('select sum(trades) as trades from candles')
    return Number(row?.trades) >= events
  })
  const result = await checkTrades(again.run.postgres, await readPostgresEvents(again.run.postgres))
  expect(result).toMatchObject({ events, rows: events, missing: 0, extra: 0, wrongCandles: 0, examples: [] })
  expect(first).toBeLessThan(events)
  expect(await again.interrupt()).toBe(0)

  // Fewer tasks than before are a matter for words: the launcher says which, and how to say them.
  await using fewer = new Launched('standalone', ['--rate', '1500', '--feed', file, '--tasks', 'storeTrade'], folder)
  expect(await fewer.exited).toBe(69)
  expect(fewer.stderr).toMatch(/this node lacks tasks [^.]*\..*`forebay tasks drop [a-zA-Z]+`.*second terminal.*--fresh/)

  // Nothing comes any more: what clients are shown is what the tables say.
  await using idle = new Launched('standalone', ['--rate', '1500', '--feed', file], folder)
  await idle.running()
  const client = new pg.Client(idle.run.postgres)
  await client.connect()
  const { rows } = await client.query<{ symbol: string; close_e4: string }>(
    'select distinct on (symbol) symbol, close_e4 from candles order by symbol, minute desc',
  )
  await client.end()
  expect(await firstFrame(idle)).toEqual(new Map(rows.map(({ symbol, close_e4 }) => [symbol, Number(close_e4)])))
  expect(await idle.rows()).toBe(events)
})

/** Price by symbol in the snapshot that a new client of the channel gets. */
async function firstFrame(launched: Launched): Promise<Map<string, number>> {
  const frame = await new Promise<{ type: string; values: { key: string; value: { price_e4: number } }[] }>((resolve, reject) => {
    const socket = new WebSocket(`${launched.run.http[0]!.replace('http', 'ws')}/ws/prices`)
    socket.once('message', (data: Buffer) => {
      socket.close()
      resolve(JSON.parse(data.toString()) as typeof frame)
    })
    socket.once('error', reject)
  })
  expect(frame.type).toBe('snapshot')
  return new Map(frame.values.map(({ key, value }) => [key, value.price_e4]))
}

test('a preloaded run of one task tells no latency, and two runs side by side do not collide', { timeout: 120_000 }, async () => {
  const { file, events } = syntheticFeed(dir, 5000)
  const args = ['--feed', file, '--speed', 'max', '--preload', '--drain', '--tasks', 'storeTrade']
  await using one = new Launched('standalone', args)
  await using other = new Launched('standalone', args)
  for (const run of [one, other]) {
    expect(await run.exited, run.stderr.slice(-2000)).toBe(0)
    expect(JSON.parse(run.stdout)).toMatchObject({ events, jobs: { storeTrade: events }, rows: { storeTrade: events }, latencyMs: null })
    expect(Object.keys((JSON.parse(run.stdout) as { jobs: object }).jobs)).toEqual(['storeTrade'])
  }
})
