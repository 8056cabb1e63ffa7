import { describe, expect, it } from 'vitest'
import type { EventLog } from '../../src/events/event-log.ts'
import { retentionLeftMs, retentionWarningMs } from '../../src/events/retention-clock.ts'
import { RetentionWatch } from '../../src/node/retention-watch.ts'

const minute = 60_000
const hour = 60 * minute
const sample = (change: object = {}) => ({ atMs: 0, floor: 100n, startOffset: 0n, oldestMs: -10 * minute, ...change })

describe('The retention clock', () => {
  it('counts down to the age at which the event above a standing floor is deleted', () => {
    const now = sample({ atMs: 10 * minute })
    expect(retentionLeftMs(sample(), now, hour)).toBe(40 * minute)
    expect(retentionLeftMs(now, now, hour)).toBe(40 * minute)
  })

  it('runs slower while the floor moves, and stands while the floor gains', () => {
    const halfSpeed = sample({ atMs: 10 * minute, floor: 200n, oldestMs: -5 * minute })
    expect(retentionLeftMs(sample(), halfSpeed, hour)).toBe(90 * minute)
    expect(retentionLeftMs(sample(), sample({ atMs: 10 * minute, floor: 300n, oldestMs: 5 * minute }), hour)).toBeNull()
  })

  it('counts down while the start of the log comes nearer than the floor gets away', () => {
    const now = sample({ atMs: 10 * minute, floor: 110n, startOffset: 60n })
    expect(retentionLeftMs(sample(), now, null)).toBe((51 / (50 / 10)) * minute)
    expect(retentionLeftMs(sample(), sample({ atMs: 10 * minute, floor: 160n, startOffset: 60n }), null)).toBeNull()
  })

  it('is never below zero, and has none where nothing waits or nothing expires', () => {
    expect(retentionLeftMs(sample(), sample({ atMs: 2 * hour }), hour)).toBe(0)
    expect(retentionLeftMs(sample(), sample({ atMs: hour, oldestMs: null }), hour)).toBeNull()
    expect(retentionLeftMs(sample(), sample({ atMs: minute }), null)).toBeNull()
  })

  it('warns an hour before, or at half of a shorter retention', () => {
    expect([retentionWarningMs(null), retentionWarningMs(24 * hour), retentionWarningMs(hour)]).toEqual([hour, hour, hour / 2])
  })
})

describe('A node', () => {
  it('warns in its log and status while a floor is about to be passed, and stops when it is not', async () => {
    const warnings: string[] = []
    let nowMs = 0
    const log = {
      retentionMs: () => Promise.resolve(hour),
      eventAt: (_: number, offset: bigint) => Promise.resolve({ offset, timestampMs: 0, key: null, value: null }),
    } as unknown as EventLog
    const clock = { now: () => nowMs, wallMs: () => nowMs, sleep: () => Promise.resolve() }
    const watch = new RetentionWatch({ log, clock, observer: { log: (_level, message) => void warnings.push(message) } })
    const look = (endOffset: bigint) => watch.look(new Map([[2, 9n]]), new Map([[2, { startOffset: 0n, endOffset }]]))
    await look(50n)
    expect([watch.leftMs(2), warnings]).toEqual([undefined, []])
    nowMs = 45 * minute
    await look(50n)
    expect(watch.leftMs(2)).toBe(15 * minute)
    expect(warnings).toEqual([expect.stringContaining('partition 2: at the present rate 15 min left')])
    nowMs += minute
    await look(50n)
    expect(warnings).toHaveLength(1)
    nowMs += minute
    await look(10n)
    expect(watch.leftMs(2)).toBeUndefined()
  })
})
