import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { FeedRecord, FeedTarget } from '../../src/launch/feed-target.ts'
import { feed } from '../../src/launch/feed.ts'
import type { TradeLine } from '../../src/launch/trade-line.ts'

const never = new AbortController().signal
const unreachable = () => new ForebayError('FB_EVENT_LOG_UNREACHABLE', 'away')

function trades(count: number, symbols: string[]): TradeLine[] {
  return Array.from({ length: count }, (_, n) => ({
    line: n + 1,
    msSinceMidnight: n,
    symbol: symbols[n % symbols.length]!,
    json: `{"n":${n}}`,
  }))
}

/** A log whose publishes may fail before or after any part of them took effect. */
class FakeTarget implements FeedTarget {
  readonly partitions = 4
  readonly linesMax = 300
  readonly logs: FeedRecord[][] = [[], [], [], []]
  publishes = 0
  running = 0
  /** How many records the n-th publish (from 1) takes before it fails; undefined: it succeeds. */
  takenBeforeFailure: (publish: number) => number | undefined = () => undefined
  readFailures = 0

  async lastLine(partition: number): Promise<number> {
    if (this.readFailures-- > 0) throw unreachable()
    return this.logs[partition]!.at(-1)?.line ?? 0
  }

  async publish(records: readonly (readonly FeedRecord[])[]): Promise<void> {
    expect(++this.running, 'publishes under way').toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    let left = this.takenBeforeFailure(++this.publishes) ?? Number.POSITIVE_INFINITY
    for (const [partition, ofPartition] of records.entries())
      for (const record of ofPartition) if (left-- > 0) this.logs[partition]!.push(record)
    this.running--
    if (left <= 0) throw unreachable()
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  linesOf(partition: number): number[] {
    return this.logs[partition]!.map(({ line }) => line)
  }
}

describe('a feed', () => {
  const symbols = ['A', 'B', 'C', 'D', 'E']
  const lines = trades(1000, symbols)
  const expected = (partition: number) => lines.filter(({ symbol }) => symbols.indexOf(symbol) % 4 === partition).map(({ line }) => line)

  it('sends the n-th symbol to appear to partition n mod 4, in order', async () => {
    const target = new FakeTarget()
    expect(await feed({ lines: [lines], target, pace: { kind: 'max' }, linesMax: 64 }, never)).toEqual({ published: 1000, known: 0 })
    for (let partition = 0; partition < 4; partition++) expect(target.linesOf(partition)).toEqual(expected(partition))
  })

  it('publishes every line once and in order when publishes fail with any part of them taken', async () => {
    const target = new FakeTarget()
    target.takenBeforeFailure = (publish) => (publish % 3 === 0 ? undefined : (publish * 37) % 65)
    const troubles: string[] = []
    const result = await feed(
      { lines: [lines], target, pace: { kind: 'max' }, linesMax: 250, onTrouble: ({ message }) => troubles.push(message) },
      never,
    )
    expect(result.published).toBe(1000)
    for (let partition = 0; partition < 4; partition++) expect(target.linesOf(partition)).toEqual(expected(partition))
    expect(troubles.length).toBeGreaterThan(4)
  }, 20_000)

  it('goes on with an earlier feed, each partition from its own line', async () => {
    const target = new FakeTarget()
    target.takenBeforeFailure = (publish) => (publish < 3 ? undefined : publish === 3 ? 70 : 0)
    const stop = new AbortController()
    const first = feed({ lines: [lines], target, pace: { kind: 'max' }, linesMax: 100, onTrouble: () => stop.abort() }, stop.signal)
    await expect(first).rejects.toMatchObject({ code: 'FB_EVENT_LOG_UNREACHABLE' })
    const had = target.logs.flat().length
    expect(had).toBe(270)
    target.takenBeforeFailure = () => undefined
    target.readFailures = 1
    expect(await feed({ lines: [lines.slice(0, 500), lines.slice(500)], target, pace: { kind: 'max' } }, never)).toEqual({
      published: 1000 - had,
      known: had,
    })
    for (let partition = 0; partition < 4; partition++) expect(target.linesOf(partition)).toEqual(expected(partition))
  })

  it('does not try again what no waiting mends', async () => {
    const target = new FakeTarget()
    target.publish = () => Promise.reject(new ForebayError('FB_TOPIC_MISSING', 'gone'))
    await expect(feed({ lines: [lines], target, pace: { kind: 'max' } }, never)).rejects.toMatchObject({ code: 'FB_TOPIC_MISSING' })
  })

  it('stamps a paced line with the time it was to be sent, and sends none before', async () => {
    const target = new FakeTarget()
    const startMs = Date.now()
    await feed({ lines: [trades(60, symbols)], target, pace: { kind: 'rate', perSecond: 500 } }, never)
    expect(Date.now() - startMs).toBeGreaterThanOrEqual(117)
    const all = target.logs.flat().toSorted((a, b) => a.line - b.line)
    const first = all[0]!.timestampMs
    for (const { line, timestampMs } of all) expect(Math.abs(timestampMs - first - (line - 1) * 2)).toBeLessThanOrEqual(1)
    expect(target.publishes).toBeGreaterThan(5)
  })

  it('stops when it is told to, with everything before published in order', async () => {
    const target = new FakeTarget()
    const stop = new AbortController()
    const result = await feed(
      { lines: [lines], target, pace: { kind: 'rate', perSecond: 2000 }, onProgress: (published) => published > 50 && stop.abort() },
      stop.signal,
    )
    expect(result.published).toBeGreaterThan(50)
    expect(result.published).toBeLessThan(1000)
    expect(
      target.logs
        .flat()
        .map(({ line }) => line)
        .toSorted((a, b) => a - b),
    ).toEqual(Array.from({ length: result.published }, (_, n) => n + 1))
  })
})
