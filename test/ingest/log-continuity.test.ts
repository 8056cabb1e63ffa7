import { describe, expect, it } from 'vitest'
import type { EventBatch, EventRecord } from '../../src/events/event-log.ts'
import { LogContinuity } from '../../src/ingest/log-continuity.ts'

const record = (offset: bigint, leaderEpoch?: number): EventRecord => ({
  offset,
  timestampMs: 1,
  key: null,
  value: null,
  ...(leaderEpoch === undefined ? {} : { leaderEpoch }),
})

/** A log in which `events` holds the leader epoch of each offset, and a pipeline that has applied what is up to `applied`. */
function setting(events: Map<bigint, number>, applied: bigint, leaderEpoch?: number, kept = leaderEpoch ?? -1) {
  const asked: bigint[] = []
  const eventAt = async (_: number, offset: bigint) => {
    asked.push(offset)
    const epoch = events.get(offset)
    return epoch === undefined ? undefined : record(offset, epoch)
  }
  return {
    asked,
    continuity: new LogContinuity({ eventAt }, 3, leaderEpoch, async () =>
      leaderEpoch === undefined ? undefined : { offset: applied, epoch: kept },
    ),
  }
}

const batch = (offsets: readonly bigint[], leaderEpoch: number): EventBatch => ({
  events: offsets.map((offset) => record(offset, leaderEpoch)),
  lastOffset: offsets.at(-1) ?? 0n,
  leaderEpoch,
})
const truncated = { code: 'FB_LOG_TRUNCATED' }

describe('The continuity of a log', () => {
  it('asks nothing while the leader stays', async () => {
    const { continuity, asked } = setting(new Map(), 4n, 2)
    await continuity.check(batch([5n, 6n], 2))
    await continuity.check(batch([7n], 2))
    expect(asked).toEqual([])
  })

  it('finds a later leader at an offset that it has read before, although the log holds nothing of what it read last', async () => {
    const { continuity } = setting(new Map(), 4n, 2)
    await continuity.check(batch([5n, 9n], 2))
    await expect(continuity.check(batch([6n, 12n], 3))).rejects.toMatchObject(truncated)
    await expect(continuity.check(batch([10n, 12n], 3))).resolves.toBeUndefined()
  })

  it('lets a clean election pass, asking once for the last event that was read and the last that is applied', async () => {
    const { continuity, asked } = setting(
      new Map([
        [4n, 2],
        [6n, 2],
      ]),
      4n,
      2,
    )
    await continuity.check(batch([5n, 6n], 2))
    await continuity.check(batch([7n], 5))
    await continuity.check(batch([8n], 5))
    expect(asked).toEqual([6n, 4n])
    expect(continuity.leaderEpoch).toBe(5)
  })

  it('finds an unclean one by the event that took the place of the last one read', async () => {
    const { continuity } = setting(new Map([[6n, 5]]), 4n, 2)
    await continuity.check(batch([5n, 6n], 2))
    await expect(continuity.check(batch([7n], 5))).rejects.toMatchObject(truncated)
    await expect(continuity.check(batch([7n], 5))).rejects.toMatchObject(truncated)
  })

  it('finds events above the floor that an owner before had applied, at the offset where others took their place', async () => {
    const { continuity } = setting(new Map([[20n, 5]]), 20n, 2)
    await continuity.check(batch([5n, 6n], 2))
    await expect(continuity.check(batch([7n, 8n], 5))).rejects.toMatchObject(truncated)
  })

  it('takes what another owner applied under a leader that this one had not met for what it is', async () => {
    const { continuity } = setting(
      new Map([
        [6n, 2],
        [20n, 5],
      ]),
      20n,
      2,
      5,
    )
    await continuity.check(batch([5n, 6n], 2))
    await expect(continuity.check(batch([7n, 8n], 5))).resolves.toBeUndefined()
  })

  it('asks for whatever lies at an offset where the log can tell, event or not', async () => {
    const asked: bigint[] = []
    const log = {
      eventAt: async () => undefined,
      leaderEpochAt: async (_: number, offset: bigint) => (asked.push(offset), 5),
    }
    const continuity = new LogContinuity(log, 3, 2, async () => ({ offset: 4n, epoch: 2 }))
    await expect(continuity.check(batch([5n], 5))).rejects.toMatchObject(truncated)
    expect(asked).toEqual([4n])
  })

  it('finds one of before its life by what was kept with the floor', async () => {
    const { continuity } = setting(new Map([[4n, 5]]), 4n, 2)
    await expect(continuity.check(batch([5n], 5))).rejects.toThrow(
      'partition 3: the events up to offset 4 were read under leader epochs up to 2, and the log (now at epoch 5) holds at 4 one of epoch 5',
    )
  })

  it('remembers what was read before a repair went back', async () => {
    const { continuity } = setting(new Map([[20n, 5]]), 4n, 2)
    await continuity.check(batch([20n], 2))
    await continuity.check(batch([6n], 2))
    await expect(continuity.check(batch([7n], 5))).rejects.toMatchObject(truncated)
  })

  it('looks a little lower where no event stands, and says nothing where none is found', async () => {
    const found = setting(new Map([[2n, 5]]), 4n, 2)
    await expect(found.continuity.check(batch([5n], 5))).rejects.toMatchObject(truncated)
    expect(found.asked).toEqual([4n, 3n, 2n])
    const none = setting(new Map([[9n, 5]]), 30n, 2)
    await none.continuity.check(batch([31n], 5))
    expect(none.asked).toEqual([30n, 29n, 28n, 27n])
  })

  it('asks again when the log did not answer', async () => {
    let isAway = true
    const eventAt = async () => {
      if (isAway) throw new Error('away')
      return record(4n, 5)
    }
    const continuity = new LogContinuity({ eventAt }, 3, 2, async () => ({ offset: 4n, epoch: 2 }))
    await expect(continuity.check(batch([5n], 5))).rejects.toThrow('away')
    isAway = false
    await expect(continuity.check(batch([5n], 5))).rejects.toMatchObject(truncated)
  })

  it('says nothing of a log without epochs, or of which none is known yet', async () => {
    const { continuity, asked } = setting(new Map([[4n, 9]]), 4n)
    await continuity.check({ events: [record(5n)], lastOffset: 5n })
    await continuity.check(batch([6n], 3))
    expect(asked).toEqual([])
  })
})
