import { describe, expect, it } from 'vitest'
import { dueOf, missedMax } from '../../src/schedule/cron-due.ts'
import type { MissedPolicy } from '../../src/schedule/cron-due.ts'
import { parseCron } from '../../src/schedule/cron-expression.ts'
import { CronTimes } from '../../src/schedule/cron-times.ts'

const minute = 60_000
const start = Date.parse('2026-06-01T00:00:00Z')

function due(missed: MissedPolicy, doneToMs: number, nowMs: number, expression = '0 * * * * *') {
  const parsed = parseCron(expression)
  if ('problem' in parsed) throw new Error(parsed.problem)
  return dueOf({ times: new CronTimes(parsed.value, 'UTC'), doneToMs, nowMs, missed, missedAfterMs: 30_000 })
}

describe('What is due', () => {
  it.each(['skip', 'once', 'all'] as const)('is the one time that came, under policy %s', (missed) => {
    expect(due(missed, start, start + minute + 10)).toEqual({ run: start + minute, skipped: [] })
    expect(due(missed, start, start + minute - 1)).toEqual({ run: undefined, skipped: [] })
    expect(due(missed, start + minute, start + minute)).toEqual({ run: undefined, skipped: [] })
  })

  it('is nothing but the time of now under skip, and the rest is passed over', () => {
    const missed = [1, 2, 3].map((n) => start + n * minute)
    expect(due('skip', start, start + 3 * minute + 45_000)).toEqual({ run: undefined, skipped: missed })
    expect(due('skip', start, start + 3 * minute + 15_000)).toEqual({ run: missed[2], skipped: missed.slice(0, 2) })
  })

  it('is the latest time under once, however late', () => {
    expect(due('once', start, start + 3 * minute + 45_000)).toEqual({
      run: start + 3 * minute,
      skipped: [start + minute, start + 2 * minute],
    })
  })

  it('is each time under all, the oldest first', () => {
    expect(due('all', start, start + 3 * minute + 45_000)).toEqual({ run: start + minute, skipped: [] })
    expect(due('all', start + minute, start + 3 * minute + 45_000)).toEqual({ run: start + 2 * minute, skipped: [] })
  })

  it('is bounded under all: the latest are made up for, earlier ones passed over', () => {
    const { run, skipped } = due('all', start, start + 5000 * minute)
    expect(run).toBe(start + (5000 - missedMax + 1) * minute)
    expect(skipped.at(-1)).toBe(run! - minute)
  })

  it('is found in a moment after a year without a node, for a time of each second', () => {
    const { run, skipped } = due('once', start, start + 365 * 1440 * minute, '* * * * * *')
    expect(run).toBe(start + 365 * 1440 * minute)
    expect(skipped).toHaveLength(missedMax)
  })
})
