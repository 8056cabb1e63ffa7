/** Which trades a run feeds, and how they are recognised when a later run goes on with them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { ForebayError } from '../errors.ts'
import { marketDefaults, readMarket } from './market.ts'
import type { LaunchOptions } from './options.ts'
import { readTradeFile, summariseTradeFile } from './trade-file.ts'
import type { TradeLine } from './trade-line.ts'

export interface FeedSource {
  /** For people: what is fed. */
  readonly title: string
  /** The same text for the same trades. */
  readonly identity: string
  /** Lines in all; undefined when there is no end. */
  readonly lines: number | undefined
  /** The trades from the start, or from some line at or before `fromLine` on. */
  read(fromLine: number): AsyncIterable<readonly TradeLine[]> | Iterable<readonly TradeLine[]>
}

/** The file, or the market: one day of it when the run is to come to an end or knows no pace, else day after day. Throws FB_FEED. */
export async function feedSourceOf({ feed, seed, pace, isDrained, isPreloaded }: LaunchOptions): Promise<FeedSource> {
  if (feed !== undefined) {
    const path = resolve(feed)
    const { checksum, lines } = await summariseTradeFile(path)
    return { title: `the ${lines} trades of ${basename(path)}`, identity: `file ${checksum}`, lines, read: () => readTradeFile(path) }
  }
  const { symbols, eventsPerDay } = marketDefaults
  const days = isDrained || isPreloaded || pace.kind === 'max' ? 1 : Number.POSITIVE_INFINITY
  const isEndless = days === Number.POSITIVE_INFINITY
  return {
    title: isEndless
      ? `a synthetic market of ${symbols} symbols`
      : `one day of a synthetic market: ${eventsPerDay} trades of ${symbols} symbols`,
    identity: `market seed ${seed} symbols ${symbols} eventsPerDay ${eventsPerDay}`,
    lines: isEndless ? undefined : eventsPerDay,
    // A day begins with every symbol in the same order, so partitions come out the same from any day on.
    read: (fromLine) => {
      const line = Math.max(1, fromLine)
      return readMarket({ seed }, { fromLine: line - ((line - 1) % eventsPerDay), days })
    },
  }
}

/** Remembers in `file` what is fed into this state. Throws FB_USAGE when something else was. */
export function claimFeed(file: string, { identity, title }: FeedSource): void {
  const earlier = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { identity: string; title: string }) : undefined
  if (earlier !== undefined && earlier.identity !== identity) {
    throw new ForebayError(
      'FB_USAGE',
      `The state of earlier runs was fed with ${earlier.title}, and now it is ${title}: lines of two feeds cannot be told apart. Add --fresh to discard the earlier state, or give the earlier feed.`,
    )
  }
  writeFileSync(file, `${JSON.stringify({ identity, title })}\n`, { mode: 0o600 })
}
