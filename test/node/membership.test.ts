import { beforeEach, describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { JobGrid } from '../../src/grid/job-grid.ts'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { Membership } from '../../src/node/membership.ts'
import { noCut } from '../../src/node/reach.ts'
import type { LiveNode, NodeInfo } from '../../src/node/membership.ts'
import type { Clock } from '../../src/schedule/clock.ts'

/** A clock moved by hand, which several nodes may share or not. */
class HandClock implements Clock {
  #nowMs = 0
  readonly #sleepers = new Set<{ dueMs: number; wake: () => void }>()

  now(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = () => {
        this.#sleepers.delete(sleeper)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const sleeper = { dueMs: this.#nowMs + ms, wake }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    for (;;) {
      await settle()
      const next = [...this.#sleepers].toSorted((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined || next.dueMs > endMs) break
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.wake()
    }
    this.#nowMs = endMs
    await settle()
  }

  /** Time passes for nobody but this clock: its owner was suspended. */
  jump(ms: number): void {
    this.#nowMs += ms
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

interface Peer {
  readonly membership: Membership
  readonly grid: { isReachable: boolean; isHung: boolean }
  readonly logged: string[]
  readonly changes: string[][]
  readonly stop: () => Promise<void>
}

/** The grid as one node reaches it, or not. */
function linkTo(grid: JobGrid): { grid: JobGrid; link: { isReachable: boolean; isHung: boolean } } {
  const link = { isReachable: true, isHung: false }
  const through =
    <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      if (link.isHung) await new Promise(() => undefined)
      if (!link.isReachable) throw new ForebayError('FB_GRID_UNREACHABLE', 'cut off')
      return call(...args)
    }
  const linked = { put: through(grid.put.bind(grid)), remove: through(grid.remove.bind(grid)), entries: through(grid.entries.bind(grid)) }
  return { grid: linked as unknown as JobGrid, link }
}

let shared: LocalJobGrid
let clock: HandClock
beforeEach(() => {
  shared = new LocalJobGrid({ capacity: 1 })
  clock = new HandClock()
})

const info: NodeInfo = { epoch: 1, http: 'http://127.0.0.1:1', pid: 1, cut: noCut }
const idsOf = (live: readonly LiveNode[]) => live.map(({ id }) => id)
const map = 'forebay.scope.nodes'

function join(id: string, options: { clock?: HandClock; forgetMs?: number } = {}): Peer {
  const { grid, link } = linkTo(shared)
  const logged: string[] = []
  const changes: string[][] = []
  const observer = {
    count: () => undefined,
    value: () => undefined,
    committed: () => undefined,
    log: (level: string, message: string) => void logged.push(`${level} ${message}`),
  }
  const { clock: own = clock, ...rest } = options
  const membership = new Membership(
    { grid, clock: own, observer },
    { id, scope: 'scope', ...rest, onChange: (live) => changes.push(idsOf(live)) },
    info,
  )
  const stopping = new AbortController()
  const done = membership.run(stopping.signal)
  return { membership, grid: link, logged, changes, stop: () => (stopping.abort(), done) }
}

describe('membership', () => {
  it('sees nobody before the grid has answered, then itself and whoever joins, sorted', async () => {
    const b = join('b')
    expect(b.membership.live()).toEqual([])
    await clock.advance(0)
    expect(b.membership.live()).toEqual([{ id: 'b', info }])
    const a = join('a')
    await clock.advance(300)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
    expect(idsOf(b.membership.live())).toEqual(['a', 'b'])
    expect(b.changes).toEqual([['b'], ['a', 'b']])
  })

  it('drops a node that fell silent after its lease, not before', async () => {
    const a = join('a')
    const b = join('b')
    await clock.advance(600)
    b.grid.isHung = true
    await clock.advance(1100)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
    await clock.advance(600)
    expect(idsOf(a.membership.live())).toEqual(['a'])
    await clock.advance(10_000)
    expect(idsOf(a.membership.live())).toEqual(['a'])
  })

  it('drops a node that left cleanly at the next beat, without waiting for its lease', async () => {
    const a = join('a')
    const b = join('b')
    await clock.advance(600)
    await b.stop()
    expect((await shared.entries(map)).has('b')).toBe(false)
    await clock.advance(300)
    expect(idsOf(a.membership.live())).toEqual(['a'])
  })

  it('keeps the last view while the grid does not answer, and gives everybody the lease again afterwards', async () => {
    const a = join('a')
    const b = join('b')
    await clock.advance(600)
    a.grid.isReachable = b.grid.isReachable = false
    await clock.advance(30_000)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
    expect(a.membership.isReached).toBe(false)
    a.grid.isReachable = true
    await clock.advance(900)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
    expect(a.membership.isReached).toBe(true)
    await clock.advance(900)
    expect(idsOf(a.membership.live())).toEqual(['a'])
    expect(a.logged.filter((line) => line.includes('does not reach the grid'))).toHaveLength(1)
  })

  it('does not take the others for dead after it was suspended itself', async () => {
    const suspended = new HandClock()
    const a = join('a', { clock: suspended })
    join('b')
    await clock.advance(300)
    await suspended.advance(300)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
    // When a goes on, it looks before b has beaten again.
    suspended.jump(20_000)
    await suspended.advance(300)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
  })

  it('takes a suspended node for alive again when it goes on', async () => {
    const a = join('a')
    const b = join('b')
    await clock.advance(600)
    b.grid.isReachable = false
    await clock.advance(5000)
    expect(idsOf(a.membership.live())).toEqual(['a'])
    b.grid.isReachable = true
    await clock.advance(600)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
  })

  it('does not flap when the grid lost the whole map', async () => {
    const a = join('a')
    const b = join('b')
    await clock.advance(600)
    for (const id of ['a', 'b']) await shared.remove(map, id)
    const seen = a.changes.length + b.changes.length
    await clock.advance(3000)
    expect(a.changes.length + b.changes.length).toBe(seen)
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
  })

  it('never counts on the clocks of two machines to agree', async () => {
    const far = new HandClock()
    far.jump(1e9)
    const a = join('a')
    const b = join('b', { clock: far })
    for (let i = 0; i < 20; i++) {
      await clock.advance(300)
      await far.advance(300)
    }
    expect(idsOf(a.membership.live())).toEqual(['a', 'b'])
    expect(idsOf(b.membership.live())).toEqual(['a', 'b'])
  })

  it('removes the entry of a node long dead', async () => {
    join('a', { forgetMs: 5000 })
    const b = join('b')
    await clock.advance(600)
    b.grid.isHung = true
    await clock.advance(4000)
    expect((await shared.entries(map)).has('b')).toBe(true)
    await clock.advance(2000)
    expect((await shared.entries(map)).has('b')).toBe(false)
  })

  it('tells the others what changed about a node', async () => {
    const a = join('a')
    const b = join('b')
    await clock.advance(600)
    b.membership.update({ epoch: 2, cut: { ...noCut, database: true } })
    await clock.advance(600)
    expect(a.membership.live()[1]?.info).toEqual({ ...info, epoch: 2, cut: { ...noCut, database: true } })
  })

  it('passes over entries that are none of its own', async () => {
    for (const [key, text] of [
      ['x', '{'],
      ['y', 'null'],
      ['z', '{"beat":1}'],
    ] as const)
      await shared.put(map, key, text)
    const a = join('a')
    await clock.advance(300)
    expect(idsOf(a.membership.live())).toEqual(['a'])
  })

  it('lets a bug through', async () => {
    const grid = { entries: () => Promise.reject(new TypeError('a bug')), remove: () => Promise.resolve() } as unknown as JobGrid
    const observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }
    await expect(
      new Membership({ grid, clock, observer }, { id: 'a', scope: 's' }, info).run(new AbortController().signal),
    ).rejects.toThrow('a bug')
  })
})
