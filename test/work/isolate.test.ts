import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { JobLines } from '../../src/grid/segment.ts'
import type { LedgerTransaction } from '../../src/ledger/ledger.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
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

  it('asks at most 64 times before the sink writes job by job, and names the same bad jobs', async () => {
    for (const period of [2, 3, 50]) {
      const bad = new Set(Array.from({ length: 5000 }, (_, n) => n).filter((n) => n % period === 1))
      const { sink, written, counts } = pickySink(bad)
      let blocks = 0
      const writeEach: TransactionalSink['writeEach'] = (_, jobs) => {
        blocks++
        const numbers = jobs.flatMap((lines) => lines.lines().map(Number))
        written.push(...numbers.filter((n) => !bad.has(n)))
        return Promise.resolve(numbers.flatMap((n, index) => (bad.has(n) ? [{ index, error: `${n} is bad` }] : [])))
      }
      const letters = await writeRefused({ ...sink, writeEach }, transaction, sectionsOf(5000, 700))
      expect(letters.map(({ offset }) => Number(offset))).toEqual([...bad])
      expect(letters.at(-1)).toMatchObject({ error: `${[...bad].at(-1)} is bad`, payload: Buffer.from(`${[...bad].at(-1)}`) })
      expect(written).toEqual(Array.from({ length: 5000 }, (_, n) => n).filter((n) => !bad.has(n)))
      expect(counts.tries).toBeLessThanOrEqual(64)
      expect(blocks).toBeLessThanOrEqual(Math.log2(5000))
    }
  })

  it('leaves out what the screening names, whatever is in which section, and finds what it overlooks', async () => {
    const batch = fc.tuple(
      fc.integer({ min: 2, max: 40 }),
      fc.integer({ min: 1, max: 15 }),
      fc.uniqueArray(fc.nat(39)),
      fc.uniqueArray(fc.nat(39)),
    )
    await fc.assert(
      fc.asyncProperty(batch, async ([count, size, picked, overlooked]) => {
        const bad = new Set(picked.filter((n) => n < count))
        const { sink, written, counts } = pickySink(bad)
        const screen: TransactionalSink['screen'] = (_, jobs) => {
          const numbers = jobs.flatMap((lines) => lines.lines().map(Number))
          return Promise.resolve(numbers.flatMap((n, index) => (bad.has(n) && !overlooked.includes(n) ? [{ index, error: 'seen' }] : [])))
        }
        const letters = await writeRefused({ ...sink, screen }, transaction, sectionsOf(count, size))
        const numbers = Array.from({ length: count }, (_, n) => n)
        const named = letters.map(({ offset, ordinal, payload }) => [Number(offset), ordinal, String(payload)])
        expect(named.toSorted(([a], [b]) => Number(a) - Number(b))).toEqual(numbers.filter((n) => bad.has(n)).map((n) => [n, 0, String(n)]))
        expect(written).toEqual(numbers.filter((n) => !bad.has(n)))
        if (bad.size > 0 && overlooked.every((n) => !bad.has(n))) expect(counts.tries).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('throws what is no fault of a job, and makes no dead letter of it', async () => {
    const { sink } = pickySink(new Set())
    const refused = () => Promise.reject(new ForebayError('FB_SCHEMA', 'no such table'))
    await expect(writeIsolating({ ...sink, write: refused }, transaction, sectionsOf(10, 3))).rejects.toThrow('no such table')
  })
})
