import { describe, expect, it } from 'vitest'
import { paceOf } from '../../src/launch/feed-pace.ts'

const dues = (pace: Parameters<typeof paceOf>[0], times: number[]) => {
  const { dueMs } = paceOf(pace, () => 1_000_000)
  return times.map((time) => dueMs(time))
}

describe('the pace of a feed', () => {
  it('has no due times when it is as fast as possible', () => {
    expect(dues({ kind: 'max' }, [5, 6])).toEqual([null, null])
  })

  it('spreads lines evenly at a rate, whatever their own times', () => {
    expect(dues({ kind: 'rate', perSecond: 100 }, [7, 7, 900])).toEqual([1_000_000, 1_000_010, 1_000_020])
  })

  it('follows the feed’s own clock, a number of times faster', () => {
    expect(dues({ kind: 'speed', factor: 10 }, [500, 500, 700, 1500])).toEqual([1_000_000, 1_000_000, 1_000_020, 1_000_100])
  })

  it('does not go back with a line that is a little early', () => {
    expect(dues({ kind: 'speed', factor: 1 }, [500, 600, 590, 610])).toEqual([1_000_000, 1_000_100, 1_000_100, 1_000_110])
  })

  it('goes on without a pause when the next day begins', () => {
    expect(dues({ kind: 'speed', factor: 1 }, [34_200_000, 57_600_000, 34_200_000, 34_200_050])).toEqual([
      1_000_000, 24_400_000, 24_400_000, 24_400_050,
    ])
  })
})
