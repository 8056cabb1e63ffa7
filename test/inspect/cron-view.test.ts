import { expect, it } from 'vitest'
import { cronCells } from '../../src/cron/cron-text.ts'
import type { CronTaskStatus } from '../../src/cron/cron-schedule.ts'
import { cronViews } from '../../src/inspect/cron-view.ts'
import { nodeStatus } from '../node/node-status.ts'

const told = (change: Partial<CronTaskStatus>) => ({ ...nodeStatus(), cron: [{ ...nodeStatus().cron[0]!, ...change }] })
const run = nodeStatus().cron[0]!.runs[0]!

it('tells a cron task as a node on which it runs, with the latest history that any node knows', () => {
  const behind = told({
    trouble: 'another schedule',
    runs: [{ ...run, scheduledMs: 60_000, outcome: 'succeeded', attempts: 1, error: null }],
  })
  const [view, ...others] = cronViews([behind, told({}), told({ runs: [] })])
  expect(others).toEqual([])
  expect(view).toMatchObject({ task: 'closeDay', trouble: null, nextAtMs: 86_400_000, runs: [{ scheduledMs: 60_000 }] })
  expect(cronViews([behind])).toMatchObject([{ trouble: 'another schedule' }])
  expect(cronViews([])).toEqual([])
})

it('shows its schedule, its next time and its last runs in one line', () => {
  expect(cronCells(nodeStatus().cron[0]!)).toEqual([
    'closeDay',
    '0 30 16 * * 1-5 America/New_York',
    '1970-01-02T00:00:00Z',
    '1970-01-01T00:00:00Z failed after 5 attempts (the day is not over)',
  ])
  expect(cronCells({ ...nodeStatus().cron[0]!, nextAtMs: null, runs: [] }).slice(2)).toEqual(['-', 'none yet'])
})

it('tells a success that is older than the lines as what it is', () => {
  const failed = { ...run, outcome: 'failed' as const, attempts: 1, error: null }
  const runs = [
    ...Array.from({ length: 5 }, (_, i) => ({ ...failed, scheduledMs: 600_000 - i * 60_000 })),
    { ...failed, scheduledMs: 0, outcome: 'succeeded' as const },
  ]
  expect(cronCells({ ...nodeStatus().cron[0]!, runs })[3]).toMatch(/00:06:00Z failed, last success 1970-01-01T00:00:00Z$/)
})
