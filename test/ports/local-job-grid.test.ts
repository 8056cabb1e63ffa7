import { expect, it } from 'vitest'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { describeJobGrid } from './job-grid.contract.ts'

describeJobGrid('The local grid', async () => {
  const capacity = 20
  const grid = new LocalJobGrid({ capacity })
  return { grid, other: grid, capacity, stop: () => grid[Symbol.asyncDispose]() }
})

it('ends waiting reads and refuses calls once the local grid is disposed', async () => {
  const grid = new LocalJobGrid({ capacity: 2 })
  const waiting = grid.read('ring', 0n, { countMax: 1, waitMs: 60_000 })
  await grid[Symbol.asyncDispose]()
  await expect(waiting).rejects.toMatchObject({ code: 'FB_GRID_UNREACHABLE' })
  await expect(grid.append('ring', Buffer.from('a'))).rejects.toMatchObject({ code: 'FB_GRID_UNREACHABLE' })
})

it('wakes every reader of a ring', async () => {
  const grid = new LocalJobGrid({ capacity: 2 })
  const waiting = [1, 2, 3].map(() => grid.read('ring', 0n, { countMax: 1, waitMs: 60_000 }))
  await grid.append('ring', Buffer.from('a'))
  for (const { entries } of await Promise.all(waiting)) expect(entries.map(String)).toEqual(['a'])
  await grid[Symbol.asyncDispose]()
})

it.each([0, -1, 1.5, Number.NaN])('refuses a capacity of %d', (capacity) => {
  expect(() => new LocalJobGrid({ capacity })).toThrow('capacity')
})
