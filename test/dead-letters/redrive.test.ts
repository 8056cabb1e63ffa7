/** A redrive of letters whose offset holds what it held, another event, or none: rows of another event are never written. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { redriveLetter } from '../../src/dead-letters/redrive.ts'
import type { DeadLetterRow, DeadLetters } from '../../src/dead-letters/dead-letters.ts'
import type { EventLog, EventRecord } from '../../src/events/event-log.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import { bytes, definePipeline, postgresTable } from '../../src/index.ts'
import type { LedgerTransaction } from '../../src/ledger/ledger.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'

const pipeline = definePipeline({
  name: 'p',
  source: { topic: 't', decode: bytes((value) => value?.toString() ?? null), tombstones: 'decode' },
  key: () => 'k',
  tasks: {
    a: { every: '1s', sink: postgresTable('a', { columns: { v: 'text' } }), convert: (event) => ({ v: event ?? 'nothing' }) },
  },
})

/** Redrives `letter` on a log that holds `record` at its offset; what was written, or why not. */
async function redriven(letter: DeadLetterRow, record: EventRecord | undefined, { isByOrdinal = false } = {}) {
  const written: string[] = []
  const sink = {
    delivery: 'exactly-once',
    encode: ({ v }: { v: string }) => v,
    write: async (_: LedgerTransaction, jobs: readonly JobLines[]) => void written.push(...jobs.flatMap((lines) => lines.lines())),
  } as unknown as TransactionalSink
  const letters = {
    redrive: async (_: string, write: (transaction: LedgerTransaction) => Promise<void>) => (await write({} as LedgerTransaction), true),
    fail: async () => undefined,
  } as unknown as DeadLetters
  const log = { eventAt: async () => record } as unknown as EventLog
  const options = { pipeline, eventBytesMax: 1e6, segmentBytesMax: 1e6, isDry: false, isByOrdinal }
  const result = await redriveLetter(letter, { letters, log, sinks: new Map([['a', sink]]) }, options)
  return { ...result, written }
}

const event = (value: string | null, timestampMs: number): EventRecord => ({
  offset: 5n,
  timestampMs,
  key: null,
  value: value === null ? null : Buffer.from(value),
})

/** The letter of `record`: of its one job, or of the event as a whole for one task or for all. */
function letterOf({ offset, timestampMs, value }: EventRecord, kind: 'job' | 'task' | 'event', payloadMax = Infinity): DeadLetterRow {
  const payload = kind === 'job' ? Buffer.from(value ?? 'nothing') : (value?.subarray(0, payloadMax) ?? null)
  return {
    id: '1',
    topic: 't',
    partition: 0,
    offset,
    ordinal: 0,
    task: kind === 'event' ? null : 'a',
    isJob: kind === 'job',
    error: 'refused',
    payload,
    isPayloadCut: kind !== 'job' && (value?.length ?? 0) > payloadMax,
    createdAt: new Date(9e11),
    attempts: 1,
    resolvedAt: null,
    resolution: null,
    reason: null,
    traceparent: null,
    eventTimeMs: timestampMs,
  }
}

describe('A redrive', () => {
  const kind = fc.constantFrom('job' as const, 'task' as const, 'event' as const)
  const value = fc.option(fc.string({ unit: fc.constantFrom('x', 'y'), maxLength: 6 }))

  it('writes the row of the event its letter is about, and never one of another event at its offset', async () => {
    const time = fc.integer({ min: 1, max: 3 })
    await fc.assert(
      fc.asyncProperty(
        kind,
        value,
        value,
        time,
        time,
        fc.constantFrom(2, 100),
        fc.boolean(),
        async (of, was, is, at, later, cut, isByOrdinal) => {
          const [then, now] = [event(was, at), event(is, later)]
          const { written, outcome } = await redriven(letterOf(then, of, cut), now, { isByOrdinal })
          // Same place, same time, same beginning: the event itself, as far as a letter can know. Of a job it knows no more than place and time.
          const isCut = of !== 'job' && (was?.length ?? 0) > cut
          const isTaken = at === later && (of === 'job' || is === was || (isCut && is !== null && is.startsWith(was!.slice(0, cut))))
          if (isTaken) expect(written).toEqual([is ?? 'nothing'])
          else if (isCut || (was === null && of !== 'job')) expect({ outcome, written }).toEqual({ outcome: 'failed', written: [] })
          else expect(written).toEqual([was ?? 'nothing'])
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('takes a letter of an older release, which knows no time, by its value alone', async () => {
    const old = { ...letterOf(event('x', 1), 'event'), eventTimeMs: null }
    expect(await redriven(old, event('x', 7))).toMatchObject({ from: 'log', written: ['x'] })
    expect(await redriven(old, event('y', 7))).toMatchObject({ from: 'letter', written: ['x'] })
    const tombstone = { ...letterOf(event(null, 1), 'event'), eventTimeMs: null }
    expect(await redriven(tombstone, event('y', 7))).toMatchObject({ outcome: 'failed', written: [] })
  })

  it('takes no event of another topic', async () => {
    const letter = { ...letterOf(event('x', 1), 'event'), topic: 'before' }
    expect(await redriven(letter, event('x', 1))).toMatchObject({ from: 'letter' })
  })
})
