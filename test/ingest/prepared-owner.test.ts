import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { EventBatch, EventLog } from '../../src/events/event-log.ts'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { ringName } from '../../src/grid/queue-name.ts'
import { decodeSegment } from '../../src/grid/segment.ts'
import { Converter, sectionsOf } from '../../src/ingest/converter.ts'
import { PartitionOwner } from '../../src/ingest/partition-owner.ts'
import type { Observer } from '../../src/observer.ts'
import { floorAllowedBy } from '../../src/ledger/ledger.ts'
import type { Ledger, OwnerCapture, PartitionView } from '../../src/ledger/ledger.ts'
import type { Clock } from '../../src/schedule/clock.ts'
import { Troubles } from '../../src/troubles.ts'

const scope = 'd.p.t.e1'
const secret = 'a secret of the test'
const ring = ringName(scope, { partition: 0, queue: 0 })
const eventCount = 1200
const observer: Observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }
const away = () => new ForebayError('FB_REGISTRY_UNREACHABLE', 'Schema 7 cannot be fetched from http://registry: away.')

/** A hundred times as fast as the machine's. */
const clock: Clock = {
  now: () => performance.now() * 100,
  wallMs: () => Date.now(),
  async sleep(ms, signal) {
    if (signal?.aborted) return
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms / 100)
      signal?.addEventListener('abort', done)
    })
  },
}

/** One batch, given once from the start and again only when asked to seek. */
function log(): EventLog {
  const events = Array.from({ length: eventCount }, (_, n) => ({
    offset: BigInt(n),
    timestampMs: 1,
    key: null,
    value: Buffer.from(`v${n}`),
  }))
  const batches: EventBatch[] = [{ events, lastOffset: BigInt(eventCount - 1) }]
  let position = -1n
  const poll = async () => {
    const batch = batches.shift()
    if (batch === undefined) await clock.sleep(100)
    else position = batch.lastOffset
    return batch ?? { events: [], lastOffset: position }
  }
  return {
    range: async () => ({ startOffset: 0n, endOffset: BigInt(eventCount) }),
    open: async () => ({ poll, seek: () => undefined, close: async () => undefined }),
  } as unknown as EventLog
}

interface Registry {
  prepare: (values: readonly Buffer[]) => Promise<void>
  decode: (value: Buffer | null) => unknown
}

async function ownerOf(registry: Registry) {
  const grid = new LocalJobGrid({ capacity: 1000 })
  const tasks = [{ name: 'store', isTracked: true, convert: (event: unknown) => event, encode: (job: unknown) => String(job) }]
  const sections = sectionsOf(tasks)
  const lines = async (): Promise<{ kind: string; text: string }[]> => {
    const { sequence } = await grid.tail(ring)
    if (sequence < 0n) return []
    const found: { kind: string; text: string }[] = []
    const { entries } = await grid.peek(ring, 0n, Number(sequence) + 1)
    for (const entry of entries) {
      for (const part of decodeSegment(entry, secret)!.sections) {
        for (const text of part.bytes.toString().split('\n').slice(0, -1)) found.push({ kind: part.kind, text })
      }
    }
    return found
  }
  const sent = async () => {
    const { entry } = await grid.tail(ring)
    return entry === undefined ? -1n : decodeSegment(entry, secret)!.hi
  }
  let view: PartitionView = { partition: 0, floor: -1n, rows: new Map([['store', [-1n]]]) }
  const look = async () => (view = { ...view, rows: new Map([['store', [await sent()]]]) })
  const settle = async (capture: OwnerCapture) => (view = { ...view, floor: floorAllowedBy(capture, await look()) })
  const troubles = new Troubles(clock)
  const converter = new Converter({
    source: { topic: 't', tombstones: 'skip', decode: registry },
    key: () => 'k',
    tasks,
    queues: 1,
    eventBytesMax: 1000,
    linesBytesMax: 1000,
  })
  const owner = new PartitionOwner(
    { log: log(), grid, ledger: { read: look, settle } as unknown as Ledger, clock, observer, troubles },
    { partition: 0, queues: 1, owner: 'o', scope, secret, sections, linesBytesMax: 4000, windowSegmentsMax: 100, lingerMs: 1_000_000 },
    converter,
  )
  return { owner, troubles, grid, lines, sent }
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000 && !(await isSo()); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(await isSo()).toBe(true)
}

const all = Array.from({ length: eventCount }, (_, n) => ({ kind: 'job', text: `v${n}` }))

describe('the owner of a partition whose decoder must fetch something first', () => {
  it('holds where it stands while that is away, says so, sends what is known good, and gives every event once when it is back', async () => {
    let isAway = true
    let first: string | undefined
    const registry: Registry = {
      prepare: async (values) => {
        first ??= String(values[0])
        // The first slice is known.
        if (isAway && String(values[0]) !== 'v0') throw away()
      },
      decode: String,
    }
    const { owner, troubles, grid, lines, sent } = await ownerOf(registry)
    await using _ = grid
    const stop = new AbortController()
    const life = owner.run(stop.signal)
    await until(() => troubles.present().length > 0)
    expect(troubles.present()).toMatchObject([
      {
        kind: 'schemas',
        where: 'partition 0',
        form: 'fails',
        code: 'FB_REGISTRY_UNREACHABLE',
        sentence: expect.stringContaining('Schema 7'),
      },
    ])
    expect(first).toBe('v0')
    expect(await sent()).toBe(511n)
    isAway = false
    await until(() => owner.position === BigInt(eventCount - 1))
    await until(() => troubles.present().length === 0)
    stop.abort()
    await life
    const held = await lines()
    expect(held.slice(0, 512)).toEqual(all.slice(0, 512))
    expect(held).toEqual(all.slice(0, held.length))
    expect(held.length).toBeGreaterThan(512)
  })

  it('prepares again for what decode does not know any more, and makes no dead letter of it', async () => {
    let forgets = 3
    const registry: Registry = {
      prepare: async () => undefined,
      decode: (value) => {
        if (String(value) === 'v600' && forgets-- > 0) throw away()
        return String(value)
      },
    }
    const { owner, grid, lines } = await ownerOf(registry)
    await using _ = grid
    const stop = new AbortController()
    const life = owner.run(stop.signal)
    await until(() => owner.position === BigInt(eventCount - 1))
    stop.abort()
    await life
    expect(forgets).toBe(-1)
    const held = await lines()
    expect(held).toEqual(all.slice(0, held.length))
    expect(held.length).toBeGreaterThan(512)
  })

  it('ends at once while it waits', async () => {
    const { owner, grid, sent } = await ownerOf({ prepare: () => Promise.reject(away()), decode: String })
    await using _ = grid
    const stop = new AbortController()
    const life = owner.run(stop.signal)
    await new Promise((resolve) => setTimeout(resolve, 30))
    stop.abort()
    await life
    expect(await sent()).toBe(-1n)
    expect(owner.position).toBe(-1n)
  })
})
