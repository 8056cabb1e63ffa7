import { describe, expect, it } from 'vitest'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import type { Segment } from '../../src/grid/segment.ts'
import { TaskInbox } from '../../src/work/task-inbox.ts'

/** A segment of (lo, hi] with a line for each offset of each task. */
function segment(lo: bigint, hi: bigint, offsetsOf: Readonly<Record<string, readonly bigint[]>>): Segment {
  const drafts = Object.entries(offsetsOf).map(([task, offsets]) => ({
    task,
    kind: 'job' as const,
    offsets: [...offsets],
    timesMs: offsets.map(() => 0),
    text: offsets.map((offset) => `${task}${offset}\n`).join(''),
  }))
  const bytes = encodeSegment({ scope: 's', partition: 0, queue: 0, owner: 'o', repair: 0, lo, hi }, drafts, 'secret')
  return decodeSegment(bytes, 'secret')!
}
const taken = (inbox: TaskInbox, rowsMax = 1000) => {
  const batch = inbox.take(rowsMax)
  return batch && { from: batch.from, to: batch.to, lines: batch.sections.flatMap((section) => section.lines()) }
}

describe('The inbox of a task', () => {
  it('takes the lines of its own task, and the interval where there are none', () => {
    const inbox = new TaskInbox('a', -1n)
    inbox.push(segment(-1n, 4n, { a: [0n, 3n], b: [1n] }), -1n)
    inbox.push(segment(4n, 9n, { b: [5n] }), 4n)
    expect(taken(inbox)).toEqual({ from: -1n, to: 9n, lines: ['a0', 'a3'] })
  })

  it('leaves out what was received before, and what is applied already', () => {
    const ahead = new TaskInbox('a', 2n)
    ahead.push(segment(-1n, 4n, { a: [0n, 2n, 3n, 4n] }), -1n)
    expect(taken(ahead)).toEqual({ from: 2n, to: 4n, lines: ['a3', 'a4'] })
    ahead.push(segment(-1n, 6n, { a: [3n, 4n, 5n] }), 4n)
    expect(taken(ahead)).toEqual({ from: 2n, to: 6n, lines: ['a3', 'a4', 'a5'] })
    const beyond = new TaskInbox('a', 9n)
    beyond.push(segment(-1n, 9n, { a: [9n] }), -1n)
    expect([beyond.intervals, taken(beyond)]).toEqual([0, undefined])
  })

  it('hands out whole intervals until the rows are reached, and at least one with rows', () => {
    const inbox = new TaskInbox('a', -1n)
    inbox.push(segment(-1n, 1n, {}), -1n)
    inbox.push(segment(1n, 4n, { a: [2n, 3n, 4n] }), 1n)
    inbox.push(segment(4n, 5n, { a: [5n] }), 4n)
    expect(taken(inbox, 3)).toEqual({ from: -1n, to: 4n, lines: ['a2', 'a3', 'a4'] })
    expect(taken(inbox, 1)).toEqual({ from: -1n, to: 4n, lines: ['a2', 'a3', 'a4'] })
    expect([inbox.rows, inbox.bytes]).toEqual([4, 12])
    inbox.settle(4n)
    expect([inbox.rows, inbox.bytes, inbox.applied]).toEqual([1, 3, 4n])
    expect(taken(inbox, 1)).toEqual({ from: 4n, to: 5n, lines: ['a5'] })
  })

  it('passes what another node applied, also within an interval', () => {
    const inbox = new TaskInbox('a', -1n)
    inbox.push(segment(-1n, 4n, { a: [1n, 4n] }), -1n)
    inbox.settle(9n)
    expect([inbox.intervals, inbox.rows, inbox.applied, taken(inbox)]).toEqual([0, 0, 9n, undefined])
  })
})
