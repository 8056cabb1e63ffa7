import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import type { EventCursor, EventLog } from '../../src/events/event-log.ts'

/** What the suite needs of an adapter beyond the port: writing, retention, and a look at what was committed. */
export interface EventLogHarness {
  readonly log: EventLog
  readonly partitions: number
  /** Publishes values to a partition, each with itself as the header `line`, with `timestampMs` counting up from `fromMs`, and returns when they can be read. */
  publish(partition: number, values: readonly string[], fromMs: number): Promise<void>
  /** Makes offsets of a partition pass without events (an aborted transaction, deleted rows) behind what it holds. */
  leaveGap(partition: number): Promise<void>
  /** Deletes everything below `offset`. */
  deleteBelow(partition: number, offset: bigint): Promise<void>
  /** The committed floor, or null. */
  committed(partition: number): Promise<bigint | null>
  stop(): Promise<void>
}

const pollMs = 2_000

/** Reads on until `lastOffset`; the offsets and values in the order they came. */
async function readTo(cursor: EventCursor, lastOffset: bigint): Promise<{ offset: bigint; value: string }[]> {
  const found: { offset: bigint; value: string }[] = []
  const deadline = Date.now() + 20_000
  while (Date.now() < deadline) {
    const batch = await cursor.poll(pollMs)
    for (const { offset, value, headers } of batch.events) {
      expect([...(headers ?? [])]).toEqual([['line', value]])
      found.push({ offset, value: String(value) })
    }
    if (batch.lastOffset >= lastOffset) return found
  }
  throw new Error(`offset ${lastOffset} was not reached; ${found.length} events came`)
}

function values(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${n}`)
}

/** A small generator with a seed, so that a failing walk repeats. */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

export function describeEventLog(name: string, start: () => Promise<EventLogHarness>): void {
  describe(`${name} as an event log`, () => {
    let harness: EventLogHarness
    let log: EventLog
    beforeAll(async () => {
      harness = await start()
      log = harness.log
      await harness.publish(0, values('a', 500), 1_000)
      await harness.leaveGap(0)
      await harness.publish(0, values('b', 500), 10_000)
      await harness.publish(1, values('c', 50), 1_000)
    }, 120_000)
    afterAll(() => harness?.stop(), 30_000)

    const all = async (partition: number) => {
      const { startOffset, endOffset } = await log.range(partition)
      const cursor = await log.open(partition, startOffset)
      try {
        return await readTo(cursor, endOffset - 1n)
      } finally {
        await cursor.close()
      }
    }

    it('gives the one event at an offset, and none where it holds none', async () => {
      const { startOffset, endOffset } = await log.range(0)
      const events = await all(0)
      for (const { offset, value } of [events[0]!, events[123]!, events.at(-1)!]) {
        const event = await log.eventAt(0, offset)
        expect([event?.offset, String(event?.value), event?.headers?.text('line')]).toEqual([offset, value, value])
      }
      const gap = events.findIndex(({ offset }, n) => n > 0 && offset !== events[n - 1]!.offset + 1n)
      expect(gap).toBeGreaterThan(0)
      expect(await log.eventAt(0, events[gap]!.offset - 1n)).toBeUndefined()
      expect(await log.eventAt(0, endOffset)).toBeUndefined()
      expect(await log.eventAt(0, endOffset + 100n)).toBeUndefined()
      if (startOffset > 0n) expect(await log.eventAt(0, startOffset - 1n)).toBeUndefined()
    })

    it('names itself the same way twice', async () => {
      const identity = await log.identity()
      expect(identity.partitions).toBe(harness.partitions)
      expect(identity.cluster).not.toBe('')
      expect(await log.identity()).toEqual(identity)
    })

    it('reads every event once, in order, and passes offsets without events', async () => {
      const events = await all(0)
      expect(events.map(({ value }) => value)).toEqual([...values('a', 500), ...values('b', 500)])
      for (let n = 1; n < events.length; n++) expect(events[n]!.offset > events[n - 1]!.offset).toBe(true)
      expect(events.at(-1)!.offset - events[0]!.offset > 999n).toBe(true)
    })

    it('returns an empty batch after about the wait when it is at the end, then what is published', async () => {
      const { endOffset } = await log.range(2)
      const cursor = await log.open(2, endOffset)
      expect(await cursor.poll(50)).toEqual({ events: [], lastOffset: endOffset - 1n })
      const polled = readTo(cursor, endOffset)
      await harness.publish(2, ['late'], 1_000)
      expect(await polled).toEqual([{ offset: endOffset, value: 'late' }])
      await cursor.close()
    })

    it('passes offsets without events at the very end', async () => {
      await harness.publish(3, ['only'], 1_000)
      await harness.leaveGap(3)
      const { endOffset } = await log.range(3)
      expect((await all(3)).map(({ value }) => value)).toEqual(['only'])
      expect(endOffset > 1n).toBe(true)
    })

    it('goes on from where it was sought, whatever it had read ahead', async () => {
      const events = await all(0)
      const random = randomOf(7)
      const cursor = await log.open(0, events[0]!.offset)
      for (let round = 0; round < 60; round++) {
        const at = random(events.length)
        cursor.seek(events[at]!.offset)
        let next = at
        for (let polls = random(3) + 1; polls > 0 && next < events.length; polls--) {
          const batch = await cursor.poll(pollMs)
          for (const event of batch.events) expect(event.offset, `round ${round}`).toBe(events[next++]!.offset)
        }
        expect(next, `round ${round}`).toBeGreaterThan(at)
      }
      await cursor.close()
    })

    it('gives nothing of the old position to a poll under way when it is sought back', async () => {
      const { startOffset, endOffset } = await log.range(1)
      const cursor = await log.open(1, endOffset)
      const polled = cursor.poll(5_000)
      await new Promise((resolve) => setTimeout(resolve, 30))
      cursor.seek(startOffset)
      expect((await polled).events).toEqual([])
      expect((await readTo(cursor, endOffset - 1n)).map(({ value }) => value)).toEqual(values('c', 50))
      await cursor.close()
    })

    it('lets two cursors read two partitions at once', async () => {
      const [first, second] = await Promise.all([all(0), all(1)])
      expect(first).toHaveLength(1_000)
      expect(second.map(({ value }) => value)).toEqual(values('c', 50))
    })

    it('finds the first offset at or after a time, and the end when there is none', async () => {
      const events = await all(0)
      expect(await log.offsetAt(0, 0)).toBe(events[0]!.offset)
      expect(await log.offsetAt(0, 1_100)).toBe(events[100]!.offset)
      // An offset without an event may have a time too: the answer lies behind the earlier events and skips none of the later.
      const between = await log.offsetAt(0, 9_000)
      expect(between > events[499]!.offset && between <= events[500]!.offset).toBe(true)
      expect(await log.offsetAt(0, 10_001)).toBeLessThanOrEqual(events[501]!.offset)
      expect(await log.offsetAt(0, 4_000_000_000_000)).toBe((await log.range(0)).endOffset)
    })

    it('shows a committed floor, also one that went back', async () => {
      await log.commit(
        new Map([
          [0, 41n],
          [1, 7n],
        ]),
      )
      expect(await harness.committed(0)).toBe(41n)
      await log.commit(new Map([[0, 11n]]))
      expect(await harness.committed(0)).toBe(11n)
      expect(await harness.committed(1)).toBe(7n)
    })

    it('ends a poll under way when the cursor is closed', async () => {
      const { endOffset } = await log.range(1)
      const cursor = await log.open(1, endOffset)
      const polled = cursor.poll(20_000)
      await cursor.close()
      expect((await polled).events).toEqual([])
    })

    it('refuses a position that retention has passed, until it is sought inside the log', async () => {
      const { startOffset, endOffset } = await log.range(1)
      await harness.deleteBelow(1, startOffset + 20n)
      const cursor = await log.open(1, startOffset)
      const refused = await cursor.poll(10_000).then(
        () => null,
        (error: unknown) => error,
      )
      expect(isForebayError(refused, 'FB_RETENTION_PASSED')).toBe(true)
      cursor.seek(startOffset + 20n)
      expect((await readTo(cursor, endOffset - 1n)).map(({ value }) => value)).toEqual(values('c', 50).slice(20))
      await cursor.close()
    })

    it('refuses a position beyond the end', async () => {
      const { endOffset } = await log.range(1)
      const cursor = await log.open(1, endOffset + 1_000n)
      await expect(cursor.poll(10_000)).rejects.toMatchObject({ code: 'FB_LOG_TRUNCATED' })
      await cursor.close()
    })
  })
}
