/** `npm start` as a newcomer uses it: no Java, an event log in Postgres, the grid in the process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
    const frame = await new Promise<{ type: string; values: unknown[] }>((resolve, reject) => {
      const socket = new WebSocket(`${launched.run.http[0]!.replace('http', 'ws')}/ws/prices`)
      socket.once('message', (data: Buffer) => {
        socket.close()
        resolve(JSON.parse(data.toString()) as { type: string; values: unknown[] })
      })
      socket.once('error', reject)
    })
    expect(frame.type).toBe('snapshot')
    expect(frame.values.length).toBeGreaterThan(0)
    expect((await fetch(`${launched.run.http[0]!}/readyz`)).status).toBe(200)
    first = await launched.rows()
    expect(await launched.interrupt()).toBe(0)
  }
  await using again = new Launched('standalone', ['--rate', '1500', '--feed', file], folder)
  await again.running()
  await again.until('every trade is applied', 60_000, async () => (await again.rows()) >= events)
  await again.until('every candle is applied', 15_000, async () => {
    const row = await again.query<{ trades: string }>('select sum(trades) as trades from candles')
    return Number(row?.trades) >= events
  })
  const result = await checkTrades(again.run.postgres, await readPostgresEvents(again.run.postgres))
  expect(result).toMatchObject({ events, rows: events, missing: 0, extra: 0, wrongCandles: 0, examples: [] })
  expect(first).toBeLessThan(events)
})
