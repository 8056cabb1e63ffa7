import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { EventBatch, EventCursor, EventLog } from '../../src/events/event-log.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import { Converter } from '../../src/ingest/converter.ts'
import type { LedgerTransaction } from '../../src/ledger/ledger.ts'
import { runReplay } from '../../src/replay/replay-run.ts'
import type { ReplayRun } from '../../src/replay/replay-run.ts'
import type { PartitionProgress, ReplayProgressStore, ReplayStep } from '../../src/replay/replay-store.ts'
import type { Clock } from '../../src/schedule/clock.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'

const converter = new Converter({
  source: { topic: 't', tombstones: 'skip', decode: { decode: String } },
  key: undefined,
  tasks: [{ name: 'all', isTracked: true, convert: (event) => event, encode: (job) => String(job) }],
  queues: 2,
  eventBytesMax: 1000,
  linesBytesMax: 1000,
})

/** Two partitions of `count` events, one every 10 ms of their own time. */
function logOf(count: number): EventLog {
  const open = (partition: number, nextOffset: bigint): Promise<EventCursor> => {
    let position = Number(nextOffset)
    const poll = (): Promise<EventBatch> => {
      const first = position
      position = Math.min(count, first + 700)
      const events = Array.from({ length: position - first }, (_, i) => ({
        offset: BigInt(first + i),
        timestampMs: (first + i) * 10 + partition,
        key: Buffer.from(`k${(first + i) % 3}`),
        value: Buffer.from(`${partition}/${first + i}`),
      }))
      return Promise.resolve({ events, lastOffset: BigInt(position - 1) })
    }
    return Promise.resolve({ poll, seek: (to) => void (position = Number(to)), close: () => Promise.resolve() })
  }
  return { open } as unknown as EventLog
}

interface Tx extends LedgerTransaction {
  readonly rows: string[]
}

/** A database that keeps a transaction or not, and tells so or not: `fate` decides for each step. */
class Store implements ReplayProgressStore<Tx> {
  readonly rows: string[] = []
  readonly passedBy: bigint[]
  isDone = false
  readonly #fate: () => 'commit' | 'lost' | 'unknown' | 'killed'

  constructor(partitions: readonly PartitionProgress[], fate: () => 'commit' | 'lost' | 'unknown' | 'killed' = () => 'commit') {
    this.passedBy = partitions.map(({ passed }) => passed)
    this.#fate = fate
  }

  passed(_replay: number, partition: number): Promise<bigint> {
    return Promise.resolve(this.passedBy[partition]!)
  }

  async step({ partition, from, to }: ReplayStep, write: (transaction: Tx) => Promise<{ rows: number; refused: number }>) {
    if (this.passedBy[partition] !== from) throw new ForebayError('FB_FENCED', 'elsewhere')
    const rows: string[] = []
    const written = await write({ rows, attempt: (body) => body(), bury: () => Promise.resolve() })
    const fate = this.#fate()
    if (fate === 'commit' || fate === 'unknown') {
      this.rows.push(...rows)
      this.passedBy[partition] = to
    }
    if (fate === 'killed') throw new Error('killed')
    if (fate !== 'commit') throw new ForebayError('FB_DATABASE_UNREACHABLE', 'away')
    return written
  }

  finish(): Promise<void> {
    this.isDone = true
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}

const sink: TransactionalSink<unknown, Tx> = {
  delivery: 'exactly-once',
  label: 'rows',
  encode: String,
  write: (transaction, jobs: readonly JobLines[]) => {
    transaction.rows.push(...jobs.flatMap((lines) => lines.lines()))
    return Promise.resolve()
  },
}

function clock(): Clock {
  let ms = 0
  return { now: () => ms, wallMs: () => ms, sleep: (by) => ((ms += Math.max(by, 0.1)), Promise.resolve()) }
}

const partitionsOf = (store?: Store): PartitionProgress[] =>
  [0, 1].map((partition) => ({
    partition,
    firstOffset: 10n,
    lastOffset: 2009n,
    passed: store?.passedBy[partition] ?? 9n,
    events: 0,
    rows: 0,
    refused: 0,
  }))
const runOf = (change: Partial<ReplayRun> = {}): ReplayRun => ({
  replay: 1,
  task: 'all',
  tasks: ['all'],
  target: 't',
  partitions: partitionsOf(),
  filter: undefined,
  speed: undefined,
  onRefused: () => undefined,
  onProgress: () => undefined,
  ...change,
})
const wanted = [0, 1].flatMap((partition) => Array.from({ length: 2000 }, (_, i) => `${partition}/${10 + i}`))
const signal = new AbortController().signal

describe('A replay', () => {
  it('writes every event of its ranges once, in order', async () => {
    const store = new Store(partitionsOf())
    const totals = await runReplay({ log: logOf(3000), clock: clock(), store, sink, converter }, runOf(), signal)
    expect(store.rows).toEqual(wanted)
    expect(totals).toEqual({ events: 4000, rows: 4000, letters: 0, refused: 0 })
    expect(store.isDone).toBe(true)
  })

  it('writes nothing twice when it does not learn what became of a transaction', async () => {
    const fates = ['lost', 'unknown', 'commit', 'unknown', 'lost', 'lost', 'commit'] as const
    let step = 0
    const store = new Store(partitionsOf(), () => fates[step++ % fates.length]!)
    const totals = await runReplay({ log: logOf(3000), clock: clock(), store, sink, converter }, runOf(), signal)
    expect(step).toBeGreaterThan(8)
    expect(store.rows).toEqual(wanted)
    expect(totals.rows).toBe(4000)
  })

  it('goes on from where the one before was killed', async () => {
    let step = 0
    const store = new Store(partitionsOf(), () => (++step % 2 === 0 ? 'killed' : 'commit'))
    let lives = 0
    while (!store.isDone && lives++ < 20) {
      const run = runOf({ partitions: partitionsOf(store) })
      await runReplay({ log: logOf(3000), clock: clock(), store, sink, converter }, run, signal).catch((error: Error) => {
        expect(error.message).toBe('killed')
      })
    }
    expect(lives).toBeGreaterThan(3)
    expect(store.rows).toEqual(wanted)
  })

  it('follows the record times at its speed, all partitions together', async () => {
    const time = clock()
    const store = new Store(partitionsOf())
    await runReplay({ log: logOf(3000), clock: time, store, sink, converter }, runOf({ speed: 4 }), signal)
    // 2,000 events every 10 ms are 20 s, at four times their pace 5 s.
    expect(time.now()).toBeGreaterThan(4990)
    expect(time.now()).toBeLessThan(5500)
    expect(store.rows.toSorted()).toEqual(wanted.toSorted())
    const firstOfOther = store.rows.findIndex((row) => row.startsWith('1/'))
    expect(firstOfOther).toBeLessThan(10)
  })

  it('takes only events of a key, and passes the others', async () => {
    const store = new Store(partitionsOf())
    const filter = { key: 'k1', keyOf: ({ key }: { key: Buffer | null }) => String(key) }
    await runReplay({ log: logOf(3000), clock: clock(), store, sink, converter }, runOf({ filter }), signal)
    expect(store.rows).toEqual(wanted.filter((row) => Number(row.slice(2)) % 3 === 1))
    expect(store.passedBy).toEqual([2009n, 2009n])
  })

  it('stops between two batches and says how to go on', async () => {
    const stop = new AbortController()
    const store = new Store(partitionsOf())
    const run = runOf({ onProgress: ({ done }) => done > 0 && stop.abort() })
    await expect(runReplay({ log: logOf(3000), clock: clock(), store, sink, converter }, run, stop.signal)).rejects.toMatchObject({
      code: 'FB_INTERRUPTED',
      message: expect.stringContaining('--resume 1'),
    })
    expect(store.rows.length).toBe(Number(store.passedBy[0]) - 9)
    expect(store.isDone).toBe(false)
  })
})
