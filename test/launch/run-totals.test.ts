import { expect, it } from 'vitest'
import { RunTotals, liveLine } from '../../src/launch/run-totals.ts'
import { nodeStatus } from '../node/node-status.ts'

it('the live line counts dead letters of tasks and of whole events, and what fits no event is said once', () => {
  const totals = new RunTotals()
  totals.update([nodeStatus()])
  const before = totals.moment(0)
  expect(liveLine(before, before)).not.toContain('dead')
  const { counters } = nodeStatus()
  const status = { ...nodeStatus(), counters: { ...counters, deadLetters: 3, deadEvents: 1200 }, misfits: ['not one fits'] }
  totals.update([status, { ...status, node: 'node-2', counters }])
  expect(liveLine(before, totals.moment(1000))).toMatch(/, 1,203 dead letters$/)
  expect([totals.newMisfits(), totals.newMisfits()]).toEqual([['not one fits'], []])
})
