import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { EventBatch, EventLog } from '../../src/events/event-log.ts'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import type { JobGrid } from '../../src/grid/job-grid.ts'
import { ringName } from '../../src/grid/queue-name.ts'
import { decodeSegment } from '../../src/grid/segment.ts'
import { Converter, sectionsOf } from '../../src/ingest/converter.ts'
import { PartitionOwner } from '../../src/ingest/partition-owner.ts'
import type { Observer } from '../../src/observer.ts'
import { floorAllowedBy } from '../../src/ledger/ledger.ts'
import type { Ledger, OwnerCapture, PartitionView } from '../../src/ledger/ledger.ts'
import type { Clock } from '../../src/schedule/clock.ts'

const scope = 'd.p.t.e1'
const secret = 'a secret of the test'
const ring = ringName(scope, { partition: 0, queue: 0 })
const tasks = [{ name: 'store', isTracked: true, convert: (event: unknown) => event, encode: (job: unknown) => String(job) }]
const observer: Observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }

/** Fifty times as fast as the machine's. */
class HastyClock implements Clock {
  #sleeping = 0
  get sleeping(): number {
    return this.#sleeping
  }
  now = () => performance.now() * 50
  wallMs = () => Date.now()
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return
    this.#sleeping++
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms / 50)
      signal?.addEventListener('abort', done)
    })
    this.#sleeping--
  }
}

/** Gives ten events, then says that what follows is gone. */
function expiringLog(): EventLog {
  const events = Array.from({ length: 10 }, (_, n) => ({ offset: BigInt(n), timestampMs: 1, key: null, value: Buffer.from(`v${n}`) }))
  const batches: EventBatch[] = [{ events, lastOffset: 9n }]
  const poll = async () => {
    const batch = batches.shift()
    if (batch === undefined) throw new ForebayError('FB_RETENTION_PASSED', 'the log begins at 50')
    return batch
  }
  return {
    range: async () => ({ startOffset: 0n, endOffset: 100n }),
    open: async () => ({ poll, seek: () => undefined, close: async () => undefined }),
  } as unknown as EventLog
}

function setting(grid: JobGrid, watermark: () => Promise<bigint>) {
  const clock = new HastyClock()
  let view: PartitionView = { partition: 0, floor: -1n, rows: new Map([['store', [-1n]]]) }
  const look = async () => (view = { ...view, rows: new Map([['store', [await watermark()]]]) })
  const settle = async (capture: OwnerCapture) => (view = { ...view, floor: floorAllowedBy(capture, await look()) })
  const ledger = { read: look, settle } as unknown as Ledger
  const converter = new Converter({
    source: { topic: 't', tombstones: 'skip', decode: { decode: String } },
    key: () => 'k',
    tasks,
    queues: 1,
    eventBytesMax: 1000,
    linesBytesMax: 1000,
  })
  const options = {
    partition: 0,
    queues: 1,
    owner: 'o',
    scope,
    secret,
    sections: sectionsOf(tasks),
    linesBytesMax: 1000,
    windowSegmentsMax: 4,
    lingerMs: 1_000_000,
  }
  return { owner: new PartitionOwner({ log: expiringLog(), grid, ledger, clock, observer }, options, converter), clock }
}

const halted = { code: 'FB_RETENTION_PASSED' }

describe('the owner of a partition whose next events expired', () => {
  it('sends what it holds before it halts, and its floor stands at what was applied', async () => {
    await using grid = new LocalJobGrid({ capacity: 24 })
    const tail = async () => {
      const { entry } = await grid.tail(ring)
      return entry === undefined ? -1n : decodeSegment(entry, secret)!.hi
    }
    const { owner, clock } = setting(grid, tail)
    await expect(owner.run(new AbortController().signal)).rejects.toMatchObject(halted)
    expect(await tail()).toBe(9n)
    expect(owner.floor).toBe(9n)
    expect(clock.sleeping).toBe(0)
  })

  it('halts all the same when nobody applies what it sent, and its floor stays', async () => {
    await using grid = new LocalJobGrid({ capacity: 24 })
    const { owner, clock } = setting(grid, async () => -1n)
    await expect(owner.run(new AbortController().signal)).rejects.toMatchObject(halted)
    expect((await grid.tail(ring)).sequence).toBeGreaterThanOrEqual(0n)
    expect(owner.floor).toBe(-1n)
    expect(clock.sleeping).toBe(0)
  })

  it('halts all the same when the grid takes nothing', async () => {
    const away = () => Promise.reject(new ForebayError('FB_GRID_UNREACHABLE', 'away'))
    const grid = { append: away, entries: away, tail: away, onDisturbance: () => () => undefined } as unknown as JobGrid
    const { owner, clock } = setting(grid, async () => -1n)
    await expect(owner.run(new AbortController().signal)).rejects.toMatchObject(halted)
    expect(owner.floor).toBe(-1n)
    expect(clock.sleeping).toBe(0)
  })
})

it('leaves nothing behind when it is stopped before it starts', async () => {
  await using grid = new LocalJobGrid({ capacity: 24 })
  const { owner } = setting(grid, async () => -1n)
  let listeners = 0
  const signal = AbortSignal.abort()
  signal.addEventListener = () => void listeners++
  signal.removeEventListener = () => void listeners--
  await owner.run(signal)
  expect(listeners).toBe(0)
})
