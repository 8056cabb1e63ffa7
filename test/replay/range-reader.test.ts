import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { EventBatch, EventCursor, EventLog } from '../../src/events/event-log.ts'
import { Pace, restMs } from '../../src/replay/pace.ts'
import { RangeReader } from '../../src/replay/range-reader.ts'
import type { Clock } from '../../src/schedule/clock.ts'

const signal = new AbortController().signal
const limits = { eventsMax: 4, bytesMax: 1000 }

/** A log that answers polls with `answers`, one after the other, from wherever it was opened or sought. */
function logOf(offsets: readonly bigint[], { endOffset = 0n, failures = 0 } = {}) {
  const opened: bigint[] = []
  const open = (_partition: number, nextOffset: bigint): Promise<EventCursor> => {
    let position = nextOffset
    let left = failures
    opened.push(nextOffset)
    const poll = (): Promise<EventBatch> => {
      if (left-- > 0) return Promise.reject(new ForebayError('FB_EVENT_LOG_UNREACHABLE', 'away'))
      const found = offsets.filter((offset) => offset >= position).slice(0, 5)
      const lastOffset = found.length < 5 ? endOffset - 1n : found.at(-1)!
      position = lastOffset + 1n
      const events = found.map((offset) => ({ offset, timestampMs: Number(offset) * 10, key: null, value: Buffer.from(`${offset}`) }))
      return Promise.resolve({ events, lastOffset })
    }
    return Promise.resolve({ poll, seek: (to) => (opened.push(to), (position = to), undefined), close: () => Promise.resolve() })
  }
  return { log: { open } as unknown as EventLog, opened }
}

function clock(): Clock {
  let ms = 0
  return { now: () => ms, wallMs: () => ms, sleep: (by) => ((ms += Math.max(by, 1)), Promise.resolve()) }
}

const offsets = [1n, 2n, 5n, 6n, 7n, 9n, 12n, 13n, 14n, 15n, 20n]

describe('A range reader', () => {
  it('hands out the events of its range, each once and in order, and passes what is no event', async () => {
    const { log } = logOf(offsets, { endOffset: 30n })
    await using reader = new RangeReader(log, clock(), { partition: 0, firstOffset: 2n, lastOffset: 17n })
    const seen: bigint[] = []
    while (!reader.isAtEnd) {
      const { events, lastOffset } = await reader.next(limits, signal)
      expect(events.length).toBeLessThanOrEqual(4)
      expect(reader.position).toBe(lastOffset)
      seen.push(...events.map(({ offset }) => offset))
    }
    expect(seen).toEqual([2n, 5n, 6n, 7n, 9n, 12n, 13n, 14n, 15n])
    expect(reader.position).toBe(17n)
  })

  it('cuts a slice before its offsets need more than 32 bits', async () => {
    const sparse = [1n, 2n, 2n ** 31n, 2n ** 31n + 1n, 2n ** 33n]
    const { log } = logOf(sparse, { endOffset: 2n ** 34n })
    await using reader = new RangeReader(log, clock(), { partition: 0, firstOffset: 0n, lastOffset: 2n ** 33n })
    const slices: bigint[][] = []
    while (!reader.isAtEnd) {
      const { events, lastOffset } = await reader.next({ eventsMax: 100, bytesMax: 1000 }, signal)
      expect(lastOffset).toBe(events.at(-1)!.offset)
      slices.push(events.map(({ offset }) => offset))
    }
    expect(slices).toEqual([[1n, 2n, 2n ** 31n], [2n ** 31n + 1n], [2n ** 33n]])
  })

  it('ends a slice at its bytes, yet never without an event', async () => {
    const { log } = logOf(offsets, { endOffset: 30n })
    await using reader = new RangeReader(log, clock(), { partition: 0, firstOffset: 0n, lastOffset: 9n })
    const counts: number[] = []
    for (const bytesMax of [2, 1, 100]) counts.push((await reader.next({ eventsMax: 100, bytesMax }, signal)).events.length)
    expect(counts).toEqual([2, 1, 2])
  })

  it('hands out again from where it is rewound to', async () => {
    const { log, opened } = logOf(offsets, { endOffset: 30n })
    await using reader = new RangeReader(log, clock(), { partition: 0, firstOffset: 1n, lastOffset: 29n })
    await reader.next(limits, signal)
    reader.rewind(4n)
    expect((await reader.next(limits, signal)).events.map(({ offset }) => offset)).toEqual([5n, 6n, 7n, 9n])
    expect(opened).toEqual([1n, 5n])
  })

  it('keeps back what is not yet due', async () => {
    const { log } = logOf(offsets, { endOffset: 30n })
    await using reader = new RangeReader(log, clock(), { partition: 0, firstOffset: 1n, lastOffset: 29n })
    expect((await reader.next({ ...limits, timeMsMax: 20 }, signal)).events).toHaveLength(2)
    expect(await reader.next({ ...limits, timeMsMax: 49 }, signal)).toEqual({ events: [], lastOffset: 2n })
    expect(await reader.nextTimeMs(signal)).toBe(50)
  })

  it('waits for a log that is away, but not for ever, and not for one that gives nothing', async () => {
    const passing = logOf(offsets, { endOffset: 30n, failures: 3 })
    await using reader = new RangeReader(passing.log, clock(), { partition: 0, firstOffset: 1n, lastOffset: 29n })
    expect((await reader.next(limits, signal)).events).toHaveLength(4)
    const lasting = logOf(offsets, { endOffset: 30n, failures: 1e6 })
    await using waiting = new RangeReader(lasting.log, clock(), { partition: 0, firstOffset: 1n, lastOffset: 29n })
    await expect(waiting.next(limits, signal)).rejects.toMatchObject({ code: 'FB_EVENT_LOG_UNREACHABLE', message: 'away' })
  })
})

describe('The pace', () => {
  it('follows the record times at its speed', () => {
    const pace = new Pace({ speed: 4, firstTimeMs: 1000, startedMs: 50 })
    expect(pace.timeMsAt(50)).toBe(1000)
    expect(pace.timeMsAt(150)).toBe(1400)
    expect(pace.waitMs(1800, 150)).toBe(100)
    expect(pace.waitMs(1200, 150)).toBe(0)
  })

  it('rests three times as long as it worked, and never long', () => {
    expect(restMs(12)).toBe(36)
    expect(restMs(60_000)).toBe(3000)
  })
})
