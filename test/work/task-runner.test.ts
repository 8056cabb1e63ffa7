import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { JobLines } from '../../src/grid/segment.ts'
import type { Segment } from '../../src/grid/segment.ts'
import type { Observer } from '../../src/observer.ts'
import type { DeadLetter, Flush, Ledger } from '../../src/ledger/ledger.ts'
import type { Clock } from '../../src/schedule/clock.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import type { QueueReader } from '../../src/work/queue-reader.ts'
import { TaskInbox } from '../../src/work/task-inbox.ts'
import { TaskRunner } from '../../src/work/task-runner.ts'

const segmentRows = 500
const rowsMax = 20_000
/** No flush takes long: only bad jobs make the next one smaller. */
const clock: Clock = { now: () => 0, wallMs: () => 0, sleep: async () => undefined }

/** A queue of jobs 0 … `count` - 1, an event each, in segments of `segmentRows`; event n is written at time 7n. */
function queueOf(partition: number, count: number): QueueReader {
  const inbox = new TaskInbox('t', -1n)
  for (let first = 0; first < count; first += segmentRows) {
    const numbers = Array.from({ length: Math.min(segmentRows, count - first) }, (_, i) => first + i)
    const bytes = Buffer.from(numbers.map((n) => `${n}\n`).join(''))
    const times = Uint32Array.from(numbers, (n) => 7 * n)
    const of = { task: 't', kind: 'job' as const, partition, queue: 0 }
    const section = new JobLines(of, bytes, { offset: 0n, timeMs: 0 }, Uint32Array.from(numbers), times)
    inbox.push({ hi: BigInt(numbers.at(-1)!), sections: [section] } as unknown as Segment, -1n)
  }
  const settle = (_: string, to: bigint) => inbox.settle(to)
  return {
    name: `0/${partition}`,
    id: { partition, queue: 0 },
    memory: 1,
    inbox: () => inbox,
    settle,
    forget: () => undefined,
  } as unknown as QueueReader
}

/** A queue of one event that could not be converted, of offset 5 and written at time 42. */
function deadQueue(): QueueReader {
  const queue = queueOf(0, 0)
  const line = { task: 't', error: 'no good', payload: null, cut: false }
  const of = { task: 't', kind: 'dead' as const, partition: 0, queue: 0 }
  const section = new JobLines(
    of,
    Buffer.from(`${JSON.stringify(line)}\n`),
    { offset: 5n, timeMs: 40 },
    Uint32Array.of(0),
    Uint32Array.of(2),
  )
  queue.inbox('t')!.push({ hi: 5n, sections: [section] } as unknown as Segment, -1n)
  return queue
}

/** Flushes `queues` to their ends; the table refuses `isBad`. Gives for each flush that was tried its jobs, and those it buried. */
async function flushAll(queues: readonly QueueReader[], isBad: (n: number) => boolean) {
  const tried: { jobs: number; bad: number; isCommitted: boolean }[] = []
  const letters: DeadLetter[] = []
  const written: number[] = []
  const write: TransactionalSink['write'] = async (_, jobs) => {
    const numbers = jobs.flatMap((lines) => lines.lines().map(Number))
    if (numbers.some(isBad)) throw new ForebayError('FB_BAD_JOB', 'a bad one is among them')
    written.push(...numbers)
  }
  const screen: TransactionalSink['screen'] = async (_, jobs) =>
    jobs.flatMap((lines) => lines.lines()).flatMap((line, index) => (isBad(Number(line)) ? [{ index, error: 'bad' }] : []))
  const sink: TransactionalSink = { delivery: 'exactly-once', label: 'picky', encode: String, write, screen }
  const ledger = {
    flush: async ({ advances, write: body }: Flush) => {
      const flush = { jobs: advances.reduce((sum, { from, to }) => sum + Number(to - from), 0), bad: 0, isCommitted: false }
      tried.push(flush)
      await body({ attempt: (attempt) => attempt(), bury: async (buried) => void (letters.push(...buried), (flush.bad = buried.length)) })
      flush.isCommitted = true
    },
  } as unknown as Ledger
  const observer: Observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }
  const options = { task: 't', everyMs: 10, rowsMax, bytesMax: 1e9, intervalsMax: 1e6, isTracked: true, sink }
  const runner = new TaskRunner({ ledger, clock, observer }, options)
  for (const queue of queues) runner.attach(queue)
  const stop = new AbortController()
  while (queues.some((queue) => queue.inbox('t')!.intervals > 0)) await runner.flush(stop.signal)
  return { tried, letters, written }
}

describe('While bad jobs are found', () => {
  it.each([
    ['one queue', [60_000]],
    ['several queues', [20_000, 20_000, 20_000]],
  ])('a flush of %s takes at most 5,000 jobs, and more once they are good again', async (_, counts) => {
    const isBad = (n: number) => n < 15_000 && n % 1000 === 999
    const { tried, letters, written } = await flushAll(
      counts.map((count, partition) => queueOf(partition, count)),
      isBad,
    )
    const bad = counts.flatMap((count) => Array.from({ length: count }, (__, n) => n).filter(isBad))
    expect(letters.map(({ offset }) => Number(offset)).toSorted((a, b) => a - b)).toEqual(bad.toSorted((a, b) => a - b))
    expect(written).toHaveLength(60_000 - bad.length)
    for (const { offset, eventTimeMs } of letters) expect(eventTimeMs).toBe(7 * Number(offset))
    const isolating = tried.filter(({ bad: found }) => found > 0)
    expect(isolating.length).toBeGreaterThanOrEqual(3)
    for (const { jobs } of isolating) expect(jobs).toBeLessThanOrEqual(5000)
    // The first is refused whole, and it is not tried again as large.
    expect(tried[0]).toEqual({ jobs: rowsMax, bad: 0, isCommitted: false })
    expect(tried.slice(1).filter(({ isCommitted }) => !isCommitted)).toHaveLength(0)
    expect(Math.max(...tried.slice(1).map(({ jobs }) => jobs))).toBeGreaterThanOrEqual(rowsMax / 2)
  })
})

describe('A dead letter', () => {
  it('keeps offset and time of its event', async () => {
    const { letters } = await flushAll([deadQueue()], () => false)
    expect(letters).toMatchObject([{ offset: 5n, eventTimeMs: 42, error: 'no good' }])
  })
})
