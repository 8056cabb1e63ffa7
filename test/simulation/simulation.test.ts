import { describe, expect, it } from 'vitest'
import { counterNames } from '../../src/observer.ts'
import { happenings } from './faults.ts'
import { runSchedule } from './schedule.ts'
import { summarise } from './summary.ts'

describe('the simulation', () => {
  it('makes the same trace from the same seed', async () => {
    for (const seed of [7, 8, 9]) {
      const [first, second] = [await runSchedule(seed), await runSchedule(seed)]
      expect(second.hash).toBe(first.hash)
      expect(second.steps).toBe(first.steps)
      expect((await runSchedule(seed + 100)).hash).not.toBe(first.hash)
    }
  })

  it('breaks no invariant in 5,000 schedules, and meets every fault on the way', async () => {
    const summary = await summarise({ firstSeed: 1, schedules: 5_000 })
    expect(summary.violations, 'replay with: npm run simulate -- --schedules 1 --seed SEED').toEqual([])
    expect(summary.medianSteps).toBeGreaterThanOrEqual(500)
    expect(summary.medianFaults).toBeGreaterThanOrEqual(20)
    const names = [
      ...Object.keys(counterNames),
      'overwrites',
      'twoOwners',
      ...happenings.map((name) => `fault.${name}`),
      'fault.commitUnknownApplied',
      'fault.commitUnknownLost',
      'fault.staleBatch',
      'fault.lingering',
      'fault.clamp',
      'fault.badJob',
      'cutInPeace',
      'fault.cut',
    ]
    expect(names.filter((name) => !(summary.counts[name]! > 0))).toEqual([])
  }, 600_000)
})
