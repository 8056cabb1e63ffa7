import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isSameTasks, rowsOfNextEpoch, taskChangeOf, taskDifferences, unevenTask } from '../../src/epochs/task-set.ts'
import type { RowChange } from '../../src/epochs/task-set.ts'

const view = (floor: bigint, rows: Record<string, bigint[]>) => ({ partition: 0, floor, rows: new Map(Object.entries(rows)) })
const change = (was: string[], is: string[], more: Partial<RowChange> = {}): RowChange => ({
  was,
  is,
  withRows: ['a', 'b', 'c'],
  untracked: [],
  queues: 2,
  isCut: false,
  ...more,
})
const rowsOf = (...of: Parameters<typeof rowsOfNextEpoch>) => {
  const { floor, rows } = rowsOfNextEpoch(...of)
  return { floor, ...Object.fromEntries(rows) }
}

describe('floors and rows of the next epoch', () => {
  it('hold the place of a task that leaves, at the floor where its row had stayed behind it', () => {
    expect(rowsOf(view(50n, { a: [60n, 40n], b: [55n, 20n] }), change(['a', 'b'], ['a'], { withRows: ['a', 'b'] }))).toEqual({
      floor: 50n,
      a: [60n, 40n],
      b: [55n, 50n],
    })
  })

  it('leave a task that is away where it is, whatever else changes', () => {
    const rows = { a: [60n, 40n], b: [10n, 20n] }
    expect(rowsOf(view(50n, rows), change(['a'], ['a', 'd']))).toEqual({
      floor: 50n,
      a: [60n, 40n],
      b: [10n, 20n],
      c: [-1n, -1n],
      d: [50n, 50n],
    })
  })

  it('go back to the lowest row of a task that comes back, and lift the others to the floor of before', () => {
    const rows = { a: [60n, 40n], b: [30n, 20n] }
    const next = rowsOf(view(50n, rows), change(['a'], ['a', 'b', 'd'], { withRows: ['a', 'b'] }))
    expect(next).toEqual({ floor: 20n, a: [60n, 50n], b: [30n, 20n], d: [50n, 50n] })
  })

  it('do not move for one that comes back before a floor has passed it', () => {
    expect(rowsOf(view(50n, { a: [60n, 40n], b: [50n, 70n] }), change(['a'], ['a', 'b'], { withRows: ['a', 'b'] }))).toEqual({
      floor: 50n,
      a: [60n, 40n],
      b: [50n, 70n],
    })
  })

  it('begin at the first event of a partition that came while the task was away', () => {
    expect(rowsOf(view(7n, { a: [7n, 7n] }), change(['a'], ['a', 'b'], { withRows: ['a', 'b'] }))).toEqual({
      floor: -1n,
      a: [7n, 7n],
      b: [-1n, -1n],
    })
  })

  it('take places over into another number of queues at a cut', () => {
    const rows = { a: [50n, 50n], b: [20n, 20n], c: [30n, 30n] }
    const cut = { queues: 3, isCut: true }
    expect(rowsOf(view(50n, rows), change(['a'], ['a'], cut))).toEqual({
      floor: 50n,
      a: [50n, 50n, 50n],
      b: [20n, 20n, 20n],
      c: [30n, 30n, 30n],
    })
    expect(rowsOf(view(50n, rows), change(['a'], ['a', 'b'], cut))).toMatchObject({ floor: 20n, a: [50n, 50n, 50n], b: [20n, 20n, 20n] })
    expect(rowsOf(view(50n, rows), change(['a', 'b'], ['a'], { ...cut, withRows: ['a', 'b'] }))).toEqual({
      floor: 50n,
      a: [50n, 50n, 50n],
      b: [50n, 50n, 50n],
    })
  })

  it('keep no rows of a task that delivers latest values only from now on', () => {
    expect(rowsOf(view(9n, { p: [9n, 9n] }), change(['p'], ['a'], { withRows: ['p'], untracked: ['p'] }))).toEqual({
      floor: 9n,
      a: [9n, 9n],
    })
  })

  it('never pass what a task has to apply, nor give it anything twice, over any sequence of task sets', () => {
    const sets = fc.array(fc.record({ tasks: fc.subarray(['a', 'b', 'c'], { minLength: 1 }), applied: fc.nat(20), queue: fc.nat(1) }), {
      maxLength: 12,
    })
    fc.assert(
      fc.property(sets, (steps) => {
        let now = rowsOfNextEpoch(view(-1n, {}), change([], ['a', 'b', 'c'], { withRows: [] }))
        let was: readonly string[] = ['a', 'b', 'c']
        // What each queue of each task has truly applied; a queue has a job at every offset.
        const truth = new Map(was.map((task) => [task, [-1n, -1n]]))
        const effective = (task: string, queue: number) => {
          const row = now.rows.get(task)![queue]!
          return row > now.floor ? row : now.floor
        }
        for (const { tasks, applied, queue } of steps) {
          now = rowsOfNextEpoch(now, { was, is: tasks, withRows: [...now.rows.keys()], untracked: [], queues: 2, isCut: false })
          was = tasks
          for (const task of tasks) for (const q of [0, 1]) expect(effective(task, q)).toBe(truth.get(task)![q])
          for (const task of tasks) {
            const to = effective(task, queue) + BigInt(applied)
            ;(now.rows.get(task) as bigint[])[queue] = to
            truth.get(task)![queue] = to
          }
          const lowest = tasks.flatMap((task) => [0, 1].map((q) => effective(task, q))).reduce((low, mark) => (mark < low ? mark : low))
          now = { ...now, floor: lowest }
        }
      }),
    )
  })
})

describe('tasks of two epochs', () => {
  const was = { tasks: ['a', 'b'], ephemeral: ['p'] }

  it.each([
    [{ tasks: ['a'], ephemeral: ['p'] }, 'lacks task b'],
    [{ tasks: ['a', 'b'], ephemeral: [] }, 'lacks task p'],
    [{ tasks: ['a', 'c', 'd'], ephemeral: ['p'] }, 'lacks task b and has tasks c, d besides'],
    [{ tasks: ['b', 'a'], ephemeral: ['p'] }, 'has its tasks in another order (b, a)'],
    [was, ''],
  ])('differ by name: %j', (is, text) => {
    expect(taskDifferences(was, is)).toBe(text)
    expect(isSameTasks(was, is)).toBe(text === '')
  })

  it('match whatever is ephemeral where an older release stored nothing of it', () => {
    expect(isSameTasks({ tasks: ['a', 'b'] }, was)).toBe(true)
    expect(taskDifferences({ tasks: ['a', 'b'] }, { ...was, tasks: ['a'] })).toBe('lacks task b')
  })

  it('say which durable tasks are left out: no task of latest values is', () => {
    expect(taskChangeOf({ tasks: ['p'], ephemeral: ['p'] }, { tasks: ['a'], ephemeral: [] })).toEqual({
      left: [],
      added: ['a'],
      untracked: ['p'],
    })
    expect(taskChangeOf(was, { tasks: ['b', 'c'], ephemeral: [] })).toEqual({ left: ['a'], added: ['c'], untracked: [] })
  })

  it('find a task that left in the middle of its queues', () => {
    expect(unevenTask([view(9n, { a: [1n, 2n], b: [5n, 5n] })], ['b'])).toBeUndefined()
    expect(unevenTask([view(9n, { a: [1n, 2n] })], ['a', 'b'])).toEqual({ task: 'a', partition: 0 })
  })
})
