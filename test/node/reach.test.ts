import { beforeEach, describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import type { EventBatch } from '../../src/events/event-log.ts'
import type { OwnerCapture, PartitionView } from '../../src/ledger/ledger.ts'
import { Reach } from '../../src/node/reach.ts'
import { shareOf } from '../../src/node/shares.ts'

const lookMs = 100
let nowMs: number
/** What each port answers now: a value, the code of an error, or nothing at all. */
let log: 'well' | ErrorCode | 'silent'
let deaf: Set<number>
let database: 'well' | ErrorCode | 'silent'
let reach: Reach
let lines: string[]

async function answer<T>(state: typeof log, value: T): Promise<T> {
  if (state === 'silent') return new Promise(() => undefined)
  if (state !== 'well') throw new ForebayError(state, 'played')
  return value
}

beforeEach(() => {
  nowMs = 0
  log = database = 'well'
  deaf = new Set()
  lines = []
  const stateOf = (partition: number) => (deaf.has(partition) ? 'FB_EVENT_LOG_UNREACHABLE' : log)
  const view: PartitionView = { partition: 0, floor: 0n, rows: new Map() }
  const batch: EventBatch = { events: [], lastOffset: 0n }
  reach = new Reach({
    log: {
      eventAt: (partition) => answer(stateOf(partition), undefined),
      range: (partition) => answer(stateOf(partition), { startOffset: 0n, endOffset: 0n }),
      open: async (partition) => ({ poll: () => answer(stateOf(partition), batch), seek: () => undefined, close: async () => undefined }),
    },
    ledger: {
      read: () => answer(database, view),
      readAll: () => answer(database, [view]),
      settle: () => answer(database, view),
      flush: () => answer(database, undefined),
      halt: () => answer(database, undefined),
    },
    clock: { now: () => nowMs, wallMs: () => nowMs, sleep: async (ms) => void (nowMs += ms) },
    observer: { count: () => undefined, value: () => undefined, committed: () => undefined, log: (_level, line) => void lines.push(line) },
  })
})

const poll = async (partition: number) => (await reach.log.open(partition, 0n)).poll(0)

/** Polls and settles for `ms`, as a node with these partitions does, and looks. */
async function live(ms: number, owned: readonly number[] = [0, 1, 2]) {
  for (const until = nowMs + ms; nowMs < until; nowMs += lookMs) {
    for (const partition of owned) void poll(partition).catch(() => undefined)
    void reach.ledger.settle({ partition: 0 } as OwnerCapture).catch(() => undefined)
    await new Promise((resolve) => setImmediate(resolve))
    reach.look(owned)
  }
}

/** Asks once for what is cut, which takes a second. */
async function probe() {
  const stop = new AbortController()
  const running = reach.run(stop.signal)
  stop.abort()
  await running
  reach.look([])
}

describe('a node that does not reach a server', () => {
  it('is cut from the log when all its partitions fail for five seconds, and reaches it again once it answers', async () => {
    await live(1000)
    log = 'FB_EVENT_LOG_UNREACHABLE'
    await live(4000)
    expect(reach.cut.log).toBe(false)
    await live(1200)
    expect(reach.cut).toMatchObject({ log: true, database: false, partitions: [] })
    for (let i = 0; i < 20; i++) await probe()
    expect(reach.cut.log).toBe(true)
    log = 'well'
    await probe()
    expect(reach.cut).toMatchObject({ log: false, database: false, partitions: [] })
    expect(lines).toEqual([
      expect.stringContaining('has not reached the event log'),
      expect.stringContaining('reaches the event log again'),
    ])
  })

  it('names the partitions that it cannot read when it can read others', async () => {
    deaf.add(1)
    await live(5500)
    expect(reach.cut).toMatchObject({ log: false, database: false, partitions: [1] })
    // Nobody reads it here now: only asking shows that it can be read again.
    await live(30_000, [0, 2])
    expect(reach.cut.partitions).toEqual([1])
    deaf.clear()
    await probe()
    expect(reach.cut.partitions).toEqual([])
  })

  it.each(['FB_DATABASE_UNREACHABLE', 'FB_DATABASE_FULL', 'FB_DATABASE_REFUSED'] as const)(
    'is cut from the database at %s',
    async (code) => {
      database = code
      await live(5500)
      expect(reach.cut).toMatchObject({ log: false, database: true, partitions: [] })
      database = 'well'
      for (let i = 0; i < 6; i++) await probe()
      expect(reach.cut.database).toBe(false)
    },
  )

  it.each(['FB_FENCED', 'FB_SCHEMA', 'FB_EPOCH_CLOSED'] as const)('is reached by a database that answers %s', async (code) => {
    database = code
    await live(20_000)
    expect(reach.cut.database).toBe(false)
  })

  it('doubts what fails for a second, or is silent for two, and for five more once it is well', async () => {
    database = 'FB_DATABASE_UNREACHABLE'
    await live(900)
    expect(reach.cut.doubts.database).toBe(false)
    await live(500)
    expect(reach.cut).toMatchObject({ database: false, doubts: { log: false, database: true } })
    database = 'well'
    await live(4500)
    expect(reach.cut.doubts.database).toBe(true)
    await live(1000)
    expect(reach.cut.doubts.database).toBe(false)
    log = 'silent'
    await live(2200)
    expect(reach.cut.doubts).toEqual({ log: true, database: false })
    expect(lines).toEqual([])
  })

  it('is cut by silence too', async () => {
    log = database = 'silent'
    await live(9000)
    expect(reach.cut).toMatchObject({ log: false, database: false, partitions: [] })
    await live(1500)
    expect(reach.cut).toMatchObject({ log: true, database: true, partitions: [] })
  })

  it('does not count time in which it stood still itself', async () => {
    await live(1000)
    log = database = 'silent'
    await live(300)
    nowMs += 60_000
    await live(300)
    log = database = 'well'
    await live(15_000)
    expect(reach.cut).toMatchObject({ log: false, database: false, partitions: [] })
  })

  it('holds a cut longer each time the line comes back for a moment only', async () => {
    const heldMs = async () => {
      log = 'FB_EVENT_LOG_UNREACHABLE'
      await live(5500)
      expect(reach.cut.log).toBe(true)
      const sinceMs = nowMs
      log = 'well'
      while (reach.cut.log) await probe()
      return nowMs - sinceMs
    }
    const first = await heldMs()
    const second = await heldMs()
    expect(await heldMs()).toBeGreaterThan(second + 5000)
    expect(second).toBeGreaterThan(first + 3000)
    await live(70_000)
    expect(await heldMs()).toBeLessThan(first + 2000)
  })
})

describe('shares among nodes that reach different things', () => {
  const work = { partitions: 4, queues: 2 }
  const none = { log: false, database: false }
  const both = { log: true, database: true }
  const cut = { ...none, partitions: [] as number[], doubts: none }
  const share = (id: string, cuts: Record<string, Partial<typeof cut>>) =>
    shareOf(
      id,
      Object.entries(cuts).map(([node, of]) => ({ id: node, cut: { ...cut, ...of } })),
      work,
    )

  it('gives partitions to those that reach the log, and queues to those that reach the database', () => {
    const cuts = { a: { log: true }, b: {}, c: { database: true } }
    expect(share('a', cuts).partitions.size).toBe(0)
    expect(share('a', cuts).queues.size).toBe(4)
    expect(share('b', cuts)).toMatchObject({ partitions: new Set([0, 1, 2, 3]) })
    expect(share('c', cuts)).toEqual({ partitions: new Set(), queues: new Set() })
  })

  it('takes nothing from a node that is cut while all others doubt what they reach', () => {
    const even = share('a', { a: {}, b: {} })
    expect(share('a', { a: both, b: { doubts: both } })).toEqual(even)
    expect(share('a', { a: both, b: { doubts: { ...none, log: true } } })).toMatchObject({ partitions: even.partitions, queues: new Set() })
    expect(share('b', { a: both, b: { doubts: both }, c: {} }).partitions.size).toBe(2)
  })

  it('leaves out a single partition only', () => {
    const cuts = { a: { partitions: [0, 1, 2] }, b: {} }
    expect([...share('a', cuts).partitions]).toEqual([3])
    expect([...share('b', cuts).partitions].toSorted()).toEqual([0, 1, 2])
  })

  it('stays as it is where nobody reaches what is needed', () => {
    const all = { a: { database: true, log: true }, b: { database: true, log: true } }
    expect(share('a', all)).toEqual(share('a', { a: {}, b: {} }))
    const one = { a: { partitions: [2] }, b: { partitions: [2] } }
    expect(share('a', one).partitions.size + share('b', one).partitions.size).toBe(4)
  })
})
