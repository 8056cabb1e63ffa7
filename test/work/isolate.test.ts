import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { JobLines } from '../../src/grid/segment.ts'
import type { LedgerTransaction } from '../../src/offsets/ledger.ts'
import type { TransactionalSink } from '../../src/sinks/sink.ts'
import { writeIsolating, writeRefused } from '../../src/work/isolate.ts'

const transaction: LedgerTransaction = { attempt: (body) => body(), bury: () => Promise.resolve() }

/** A sink that refuses any batch with a bad job, and counts how often it is asked. */
function pickySink(bad: ReadonlySet<number>) {
  const written: number[] = []
  const counts = { tries: 0 }
  const write: TransactionalSink['write'] = (_, jobs) => {
    counts.tries++
    const numbers = jobs.flatMap((lines) => lines.lines().map(Number))
    if (numbers.some((n) => bad.has(n))) return Promise.reject(new ForebayError('FB_BAD_JOB', 'a bad one is among them'))
    written.push(...numbers)
    return Promise.resolve()
  }
  const sink: TransactionalSink = { delivery: 'exactly-once', label: 'picky', encode: String, write }
  return { sink, written, counts }
}

/** Jobs 0 … count - 1 in sections of `size`, each job of an event of its own. */
function sectionsOf(count: number, size: number): JobLines[] {
  const sections: JobLines[] = []
  for (let first = 0; first < count; first += size) {
    const numbers = Array.from({ length: Math.min(size, count - first) }, (_, i) => first + i)
    const deltas = Uint32Array.from(numbers)
    const bytes = Buffer.from(numbers.map((n) => `${n}\n`).join(''))
    const of = { task: 't', kind: 'job' as const, partition: 0, queue: 0 }
    sections.push(new JobLines(of, bytes, { offset: 0n, timeMs: 0 }, deltas, new Uint32Array(numbers.length)))
  }
  return sections
}

describe('Isolating the bad jobs of a batch', () => {
  it.each([2, 3, 7, 64, 1000, 4999, 5000])('finds one among %i with at most 2 * log2(n) tries', async (count) => {
    const places =
      count > 100 ? Array.from({ length: 25 }, (_, i) => Math.floor((i * (count - 1)) / 24)) : sectionsOf(count, 1).map((_, i) => i)
    for (const place of places) {
      const { sink, written, counts } = pickySink(new Set([place]))
      const letters = await writeRefused(sink, transaction, sectionsOf(count, 700))
      expect(letters.map(({ offset }) => Number(offset))).toEqual([place])
      expect(written).toHaveLength(count - 1)
      expect(counts.tries, `bad job at ${place}`).toBeLessThanOrEqual(2 * Math.log2(count))
    }
  })

  it('writes every good job once and in order, and names every bad one, whatever is bad', async () => {
    const batch = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 25 }), fc.uniqueArray(fc.nat(59)), fc.boolean())
    await fc.assert(
      fc.asyncProperty(batch, async ([count, size, picked, isTried]) => {
        const bad = new Set(picked.filter((n) => n < count))
        const { sink, written } = pickySink(bad)
        const letters = await (isTried ? writeIsolating : writeRefused)(sink, transaction, sectionsOf(count, size))
        const numbers = Array.from({ length: count }, (_, n) => n)
        expect(letters.map(({ offset }) => Number(offset))).toEqual(numbers.filter((n) => bad.has(n)))
        expect(written).toEqual(numbers.filter((n) => !bad.has(n)))
      }),
    )
  })

  it('throws what is no fault of a job, and makes no dead letter of it', async () => {
    const { sink } = pickySink(new Set())
    const refused = () => Promise.reject(new ForebayError('FB_SCHEMA', 'no such table'))
    await expect(writeIsolating({ ...sink, write: refused }, transaction, sectionsOf(10, 3))).rejects.toThrow('no such table')
  })
})
