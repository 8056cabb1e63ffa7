import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { claimFeed, feedSourceOf } from '../../src/launch/feed-source.ts'
import { marketDefaults } from '../../src/launch/market.ts'
import { parseLaunchOptions } from '../../src/launch/options.ts'
import type { TradeLine } from '../../src/launch/trade-line.ts'

const dir = mkdtempSync(join(tmpdir(), 'forebay-source-'))
afterAll(() => rmSync(dir, { recursive: true }))

const sourceOf = (...words: string[]) => feedSourceOf(parseLaunchOptions('standalone', words)!)

async function firstLine(lines: AsyncIterable<readonly TradeLine[]> | Iterable<readonly TradeLine[]>): Promise<number | undefined> {
  for await (const some of lines) return some[0]?.line
  return undefined
}

describe('the source of a feed', () => {
  it('is the market from line 1 on, day after day, or from the start of a later day', async () => {
    const { eventsPerDay } = marketDefaults
    const market = await sourceOf()
    expect(market.lines).toBeUndefined()
    for (const fromLine of [0, 1, 2, eventsPerDay]) expect(await firstLine(market.read(fromLine))).toBe(1)
    expect(await firstLine(market.read(eventsPerDay + 5))).toBe(eventsPerDay + 1)
  })

  it('is one day of the market when the run is to end, and nothing once that day is past', async () => {
    for (const word of ['--drain', '--preload']) expect((await sourceOf(word)).lines).toBe(marketDefaults.eventsPerDay)
    const market = await sourceOf('--speed', 'max')
    expect(market.lines).toBe(marketDefaults.eventsPerDay)
    expect(await firstLine(market.read(marketDefaults.eventsPerDay + 1))).toBeUndefined()
  })

  it('is not mixed with another one in the same state', async () => {
    const file = join(dir, 'feed.json')
    claimFeed(file, await sourceOf('--seed', '5'))
    claimFeed(file, await sourceOf('--seed', '5', '--drain'))
    const other = await sourceOf('--seed', '6')
    expect(() => claimFeed(file, other)).toThrow(/--fresh/)
  })
})
