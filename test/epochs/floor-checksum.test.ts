import { describe, expect, it } from 'vitest'
import type { EventLog, EventRecord } from '../../src/events/event-log.ts'
import { checksumOf, FloorChecksum, type FloorEvent } from '../../src/epochs/floor-checksum.ts'
import type { Observer } from '../../src/observer.ts'
import { SystemClock } from '../../src/schedule/clock.ts'

function record(offset: bigint, value: string, timestampMs = 1_000): EventRecord {
  return { offset, timestampMs, key: Buffer.from('k'), value: Buffer.from(value) }
}

/** One partition that holds `events` in `[startOffset, endOffset)`, and what was kept and warned. */
function setting(events: EventRecord[], endOffset: bigint) {
  const state = { events, endOffset, kept: new Map<number, FloorEvent>(), warnings: [] as string[], halts: [] as string[], isAway: false }
  const log = {
    eventAt: async (_: number, offset: bigint) => {
      if (state.isAway) throw new TypeError('away')
      return state.events.find((event) => event.offset === offset)
    },
    range: async () => ({ startOffset: state.events[0]?.offset ?? state.endOffset, endOffset: state.endOffset }),
  } as unknown as EventLog
  const store = {
    floorEvents: async () => new Map(state.kept),
    keepFloorEvents: async (more: ReadonlyMap<number, FloorEvent>) => more.forEach((event, partition) => state.kept.set(partition, event)),
    halt: async (partition: number, reason: string) => void state.halts.push(`${partition}: ${reason}`),
  }
  const observer = { log: (level: string, message: string) => level === 'warn' && state.warnings.push(message) } as unknown as Observer
  const node = () => new FloorChecksum({ log, store, clock: new SystemClock(), observer }, { pipeline: 'p', topic: 't' })
  return { state, node }
}

const events = (from: number, count: number, prefix: string) =>
  Array.from({ length: count }, (_, n) => record(BigInt(from + n), `${prefix}${from + n}`))

describe('the checksum of an event', () => {
  it('is the same for the same event, and another one when any part of it differs', () => {
    const event = record(5n, 'value')
    expect(checksumOf({ ...event, value: Buffer.from('value') })).toBe(checksumOf(event))
    const others: EventRecord[] = [
      { ...event, timestampMs: 1_001 },
      { ...event, key: null },
      { ...event, key: Buffer.alloc(0) },
      { ...event, value: null },
      { ...event, value: Buffer.alloc(0) },
      { ...event, value: Buffer.from('valuE') },
      { ...event, key: Buffer.from('kv'), value: Buffer.from('alue') },
    ]
    expect(new Set([event, ...others].map(checksumOf)).size).toBe(others.length + 1)
  })
})

describe('the event at the floor', () => {
  it('is kept, and lets the same topic pass', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    await node().keep(new Map([[0, 7n]]))
    expect(state.kept.get(0)?.offset).toBe(7n)
    state.events.push(...events(20, 5, 'a'))
    await node().check()
    expect(state.warnings).toEqual([])
  })

  it('refuses a topic made anew with at least as many events, and names both sides', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    await node().keep(new Map([[0, 7n]]))
    const was = state.kept.get(0)!.checksum
    state.events = events(0, 30, 'b')
    const is = checksumOf(state.events[7]!)
    const refusal = { code: 'FB_IDENTITY', message: expect.stringMatching(`"t".*offset 7 of partition 0.*${was}.*${is}`) }
    await expect(node().check()).rejects.toMatchObject(refusal)
  })

  it('is looked for a little below a floor that stands on no event', async () => {
    const { state, node } = setting([...events(0, 5, 'a'), ...events(7, 3, 'a')], 10n)
    await node().keep(new Map([[0, 6n]]))
    expect(state.kept.get(0)?.offset).toBe(4n)
  })

  it('that expired is warned of, and passes', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    await node().keep(new Map([[0, 7n]]))
    state.events = events(8, 12, 'a')
    await node().check()
    expect(state.warnings.join()).toMatch(/partition 0.*offset 7.*expired/)
  })

  it('of a log that ends below it is left to the partition, which halts', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    await node().keep(new Map([[0, 7n]]))
    state.events = events(0, 3, 'b')
    state.endOffset = 3n
    await node().check()
    expect(state.warnings).toEqual([])
  })

  it('moves with the floor, and stops what runs when the topic is another one', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    const checksum = node()
    await checksum.keep(new Map([[0, 7n]]))
    await checksum.keep(new Map([[0, 12n]]))
    expect(state.kept.get(0)?.offset).toBe(12n)
    state.events = events(0, 30, 'b')
    const body = (signal: AbortSignal) => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    const watched = checksum.watch(new Map([[0, { part: { floor: 15n, leaderEpoch: undefined } }]]), new AbortController().signal, body)
    await expect(watched).rejects.toMatchObject({ code: 'FB_IDENTITY' })
    expect(state.kept.get(0)?.offset).toBe(12n)
  })

  it('is read again when a partition is taken over, before its mark is moved', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    const [first, second] = [node(), node()]
    await second.check()
    await first.keep(new Map([[0, 7n]]))
    state.events = events(0, 30, 'b')
    const mark = state.kept.get(0)
    await expect(second.keep(new Map([[0, 12n]]))).rejects.toMatchObject({ code: 'FB_IDENTITY' })
    expect(state.kept.get(0)).toEqual(mark)
  })

  it('is read again when a partition comes back, and never moves back', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    const [first, second] = [node(), node()]
    await first.keep(new Map([[0, 3n]]))
    await first.keep(new Map())
    await second.keep(new Map([[0, 12n]]))
    await first.keep(new Map([[0, 9n]]))
    expect(state.kept.get(0)?.offset).toBe(12n)
    // What the other one compared is compared again.
    await first.keep(new Map())
    state.events = [...events(0, 12, 'a'), ...events(12, 8, 'b')]
    await expect(first.keep(new Map([[0, 15n]]))).rejects.toMatchObject({ code: 'FB_IDENTITY' })
  })

  it('is read again after a reset, which may have taken it back on a topic made anew', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    const checksum = node()
    await checksum.keep(new Map([[0, 12n]]))
    state.events = events(0, 30, 'b')
    state.kept.clear()
    await checksum.watch(new Map([[0, { part: { floor: 3n, leaderEpoch: undefined } }]]), new AbortController().signal, async () => {})
    expect(state.kept.get(0)).toEqual({ offset: 3n, checksum: checksumOf(state.events[3]!), leaderEpoch: null })
  })

  it('is looked for at four offsets at most, however far the next event lies below', async () => {
    const { state, node } = setting(events(0, 5, 'a'), 100n)
    await node().keep(new Map([[0, 8n]]))
    expect(state.kept.size).toBe(0)
    await node().keep(new Map([[0, 7n]]))
    expect(state.kept.get(0)?.offset).toBe(4n)
  })

  it('is kept once more after a clean end', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    const part = { floor: 3n, leaderEpoch: undefined }
    await node().watch(new Map([[0, { part }]]), new AbortController().signal, async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      part.floor = 9n
    })
    expect(state.kept.get(0)?.offset).toBe(9n)
  })

  it('lets a bug through instead of hiding it', async () => {
    const { state, node } = setting(events(0, 20, 'a'), 20n)
    state.isAway = true
    await expect(node().keep(new Map([[0, 7n]]))).rejects.toThrow(TypeError)
  })
})
