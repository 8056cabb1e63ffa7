import { describe, expect, it } from 'vitest'
import { counterNames } from '../../src/observer.ts'
import { happenings } from './faults.ts'
import { runSchedule } from './schedule.ts'
import { summarise } from './summary.ts'

/** Seeds that once broke an invariant, and what they found. */
const regressions: readonly [seed: number, found: string][] = [
  [1, 'a bisected dead letter named the wrong ordinal of its event'],
  [3101, 'a reader forgot its memory for ever on its way to the same gap'],
  [1031, 'a reader stood past the entries of a ring made anew'],
]

describe('the simulation', () => {
  it('makes the same trace from the same seed', async () => {
    for (const seed of [7, 8, 9]) {
      const [first, second] = [await runSchedule(seed), await runSchedule(seed)]
      expect(second.hash).toBe(first.hash)
      expect(second.steps).toBe(first.steps)
      expect((await runSchedule(seed + 100)).hash).not.toBe(first.hash)
    }
  })

  it.each(regressions)('passes seed %i, which found that %s', async (seed) => {
    expect((await runSchedule(seed)).violation).toBeUndefined()
  })

  it('breaks no invariant in 5,000 schedules, and meets every fault on the way', async () => {
    const summary = await summarise({ firstSeed: 1, schedules: 5_000 })
    expect(summary.violations, 'replay with: npm run simulate -- --schedules 1 --seed SEED').toEqual([])
    expect(summary.medianSteps).toBeGreaterThanOrEqual(500)
    expect(summary.medianFaults).toBeGreaterThanOrEqual(20)
    const names = [
      ...Object.keys(counterNames),
      'overwrites',
      ...happenings.map((name) => `fault.${name}`),
      'fault.commitUnknownApplied',
      'fault.commitUnknownLost',
      'fault.staleBatch',
      'fault.lingering',
      'fault.clamp',
      'fault.badJob',
      'fault.cut',
    ]
    expect(names.filter((name) => !(summary.counts[name]! > 0))).toEqual([])
  }, 300_000)
})
