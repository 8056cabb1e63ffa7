import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { ringName } from '../../src/grid/queue-name.ts'
import { encodeSegment } from '../../src/grid/segment.ts'
import type { Observer } from '../../src/observer.ts'
import type { Ledger, PartitionView } from '../../src/ledger/ledger.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import type { Clock } from '../../src/schedule/clock.ts'
import { QueueReader } from '../../src/work/queue-reader.ts'

const scope = 'd.p.t.e1'
const secret = 'a secret of the test'
const ring = ringName(scope, { partition: 0, queue: 0 })
const system = new SystemClock()
/** Twenty times as fast as the machine's. */
const hastyClock: Clock = {
  now: () => system.now() * 20,
  wallMs: () => system.wallMs(),
  sleep: (ms, signal) => system.sleep(ms / 20, signal),
}
let grid: LocalJobGrid
let view: PartitionView
let reader: QueueReader
let stop: AbortController
let done: Promise<void>
let forgets: number

/** The watermark rows of the tasks `a` and `b`, and the floor. */
function stand(a: bigint, b: bigint, floor = -1n): void {
  view = { partition: 0, floor, rows: new Map(Object.entries({ a: [a], b: [b] })) }
}

async function append(lo: bigint, hi: bigint): Promise<void> {
  const draft = {
    task: 'a',
    kind: 'job' as const,
    offsets: lo === hi ? [] : [hi],
    timesMs: lo === hi ? [] : [1],
    text: lo === hi ? '' : `a${hi}\n`,
  }
  await grid.append(ring, encodeSegment({ scope, partition: 0, queue: 0, owner: 'o', repair: 0, lo, hi }, [draft], secret))
}

function compare(): void {
  reader.compare(reader.recall()!, view)
}

beforeEach(() => {
  grid = new LocalJobGrid({ capacity: 24 })
  forgets = 0
  stand(-1n, -1n)
  const ledger = { read: async () => view } as unknown as Ledger
  const count: Observer['count'] = (name, by) => void (forgets += name === 'forgets' ? by : 0)
  const observer: Observer = { count, value: () => undefined, committed: () => undefined, log: () => undefined }
  const options = { partition: 0, queue: 0, scope, secret, trackedTasks: ['a', 'b'], untrackedTasks: [], windowSegmentsMax: 4 }
  reader = new QueueReader({ grid, ledger, clock: hastyClock, observer }, { ...options, onJobs: () => undefined })
  stop = new AbortController()
  done = reader.run(stop.signal)
})
afterEach(async () => {
  stop.abort()
  await done
  await grid[Symbol.asyncDispose]()
})

describe('a reader that looks at the watermarks', () => {
  it('moves on to the floor without forgetting, and advances from the row', async () => {
    await append(-1n, 5n)
    await expect.poll(() => reader.received).toBe(5n)
    for (const task of ['a', 'b']) reader.settle(task, 5n, reader.memory)
    stand(5n, 5n, 90n)
    compare()
    expect([reader.received, reader.inbox('a')!.applied, forgets]).toEqual([90n, 90n, 0])
    await append(5n, 95n)
    await expect.poll(() => reader.received).toBe(95n)
    expect(reader.inbox('a')!.take(10)).toMatchObject({ from: 5n, to: 95n, rows: 1 })
    expect(forgets).toBe(0)
  })

  it('lets go of what others applied, and keeps what only the floor of another time allowed', async () => {
    await append(-1n, 5n)
    await expect.poll(() => reader.received).toBe(5n)
    stand(9n, 5n, 3n)
    compare()
    expect([reader.received, reader.inbox('a')!.intervals, forgets]).toEqual([5n, 1, 0])
    stand(9n, 7n, 3n)
    compare()
    expect([reader.received, reader.inbox('a')!.intervals, reader.inbox('a')!.row, forgets]).toEqual([7n, 0, 9n, 0])
  })

  it('forgets when a row is behind one inbox, whatever the others hold', async () => {
    await append(-1n, 5n)
    await expect.poll(() => reader.received).toBe(5n)
    reader.settle('a', 5n, reader.memory)
    const known = reader.recall()!
    stand(-1n, -1n)
    reader.compare(known, view)
    expect(forgets).toBe(1)
    await expect.poll(() => reader.inbox('a')?.rows).toBe(1)
  })

  it('forgets when the floor that it followed was taken back', async () => {
    await append(-1n, 5n)
    await expect.poll(() => reader.received).toBe(5n)
    for (const task of ['a', 'b']) reader.settle(task, 5n, reader.memory)
    stand(5n, 5n, 90n)
    compare()
    stand(5n, 5n, 3n)
    compare()
    expect(forgets).toBe(1)
    await expect.poll(() => reader.received).toBe(5n)
  })

  it('reads its ring again when the watermarks reach a gap behind which it dropped something', async () => {
    await append(-1n, 5n)
    await append(10n, 20n)
    await expect.poll(async () => (await grid.entries(`forebay.${scope}.flags`)).size).toBe(1)
    expect(reader.received).toBe(5n)
    stand(10n, 10n)
    compare()
    await expect.poll(() => reader.received).toBe(20n)
  })

  it('starts over in a ring that was made anew behind it', async () => {
    await append(-1n, 5n)
    await expect.poll(() => reader.received).toBe(5n)
    for (const task of ['a', 'b']) reader.settle(task, 5n, reader.memory)
    stand(5n, 5n)
    await grid.destroy({ rings: [ring], maps: [] })
    await append(5n, 9n)
    await expect.poll(() => reader.received, { timeout: 10_000 }).toBe(9n)
  }, 20_000)
})
