import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JobGrid, RingEntries } from '../../src/grid/job-grid.ts'

export interface JobGridHarness {
  /** Two views of one grid; the same object where a grid has only one. */
  readonly grid: JobGrid
  readonly other: JobGrid
  /** What every ring holds. */
  readonly capacity: number
  stop(): Promise<void>
}

const quick = { countMax: 1000, waitMs: 200 }
const patient = { countMax: 1000, waitMs: 10_000 }

export function describeJobGrid(name: string, start: () => Promise<JobGridHarness>): void {
  describe(`${name} as a job grid`, () => {
    let harness: JobGridHarness
    let grid: JobGrid
    let other: JobGrid
    beforeAll(async () => {
      harness = await start()
      ;({ grid, other } = harness)
    }, 300_000)
    afterAll(() => harness?.stop(), 60_000)

    const freshName = () => `forebay.contract.${randomUUID()}`
    const append = async (ring: string, ...texts: string[]) => {
      for (const text of texts) await grid.append(ring, Buffer.from(text))
    }
    const textsOf = ({ entries }: RingEntries) => entries.map(String)

    it('counts the sequences of a ring from 0 and gives entries back byte for byte', async () => {
      const ring = freshName()
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n))
      expect(await grid.append(ring, bytes)).toBe(0n)
      expect(await grid.append(ring, Buffer.alloc(0))).toBe(1n)
      const { entries, nextSequence } = await other.read(ring, 0n, quick)
      expect(entries.map((entry) => entry.toString('hex'))).toEqual([bytes.toString('hex'), ''])
      expect(entries.every(Buffer.isBuffer)).toBe(true)
      expect(nextSequence).toBe(2n)
    })

    it('removes nothing by reading', async () => {
      const ring = freshName()
      await append(ring, 'a', 'b')
      for (const reader of [grid, other, grid]) expect(textsOf(await reader.read(ring, 0n, quick))).toEqual(['a', 'b'])
    })

    it('does not change an entry when its buffer is used again', async () => {
      const ring = freshName()
      const buffer = Buffer.from('first')
      await grid.append(ring, buffer)
      buffer.fill('x')
      expect(textsOf(await grid.read(ring, 0n, quick))).toEqual(['first'])
    })

    it('takes no more than asked and reads on from there', async () => {
      const ring = freshName()
      await append(ring, 'a', 'b', 'c')
      const first = await grid.read(ring, 0n, { ...quick, countMax: 2 })
      expect(textsOf(first)).toEqual(['a', 'b'])
      expect(first.nextSequence).toBe(2n)
      expect(textsOf(await grid.read(ring, first.nextSequence, { ...quick, countMax: 2 }))).toEqual(['c'])
    })

    it('finds what is there even when it may not wait', async () => {
      const ring = freshName()
      await append(ring, 'a')
      expect(textsOf(await grid.read(ring, 0n, { countMax: 10, waitMs: 0 }))).toEqual(['a'])
      expect(await grid.read(ring, 1n, { countMax: 10, waitMs: 0 })).toEqual({ entries: [], nextSequence: 1n })
    })

    it('comes back empty from an empty ring with the position kept', async () => {
      const ring = freshName()
      expect(await grid.read(ring, 0n, quick)).toEqual({ entries: [], nextSequence: 0n })
      await append(ring, 'a')
      expect(await grid.read(ring, 1n, quick)).toEqual({ entries: [], nextSequence: 1n })
    })

    it('wakes a waiting read by an append', async () => {
      const ring = freshName()
      const waiting = grid.read(ring, 0n, patient)
      await new Promise((resolve) => setTimeout(resolve, 100))
      await other.append(ring, Buffer.from('late'))
      expect(textsOf(await waiting)).toEqual(['late'])
    })

    it('gives an entry once to a reader whose waits ended before it came', async () => {
      const ring = freshName()
      for (let i = 0; i < 5; i++) expect(textsOf(await grid.read(ring, 0n, { countMax: 10, waitMs: 20 }))).toEqual([])
      await other.append(ring, Buffer.from('late'))
      const found = await grid.read(ring, 0n, { ...patient, countMax: 10 })
      expect(textsOf(found)).toEqual(['late'])
      expect(await grid.read(ring, found.nextSequence, quick)).toEqual({ entries: [], nextSequence: 1n })
    })

    it('goes back to an older sequence while a read of a newer one was left waiting', async () => {
      const ring = freshName()
      await append(ring, 'a', 'b')
      await grid.read(ring, 2n, quick)
      expect(textsOf(await grid.read(ring, 1n, quick))).toEqual(['b'])
      expect(textsOf(await grid.read(ring, 0n, quick))).toEqual(['a', 'b'])
    })

    it('overwrites the oldest entries of a full ring and reads an overwritten sequence from the head', async () => {
      const ring = freshName()
      const texts = Array.from({ length: harness.capacity + 3 }, (_, n) => `${n}`)
      await append(ring, ...texts)
      const { entries, nextSequence } = await grid.read(ring, 0n, quick)
      expect(entries.map(String)).toEqual(texts.slice(3))
      expect(nextSequence).toBe(BigInt(texts.length))
    })

    it('waits for the next append when the sequence lies beyond the tail', async () => {
      const ring = freshName()
      await append(ring, 'old')
      expect(await grid.read(ring, 500n, quick)).toEqual({ entries: [], nextSequence: 500n })
      const waiting = grid.read(ring, 500n, patient)
      await new Promise((resolve) => setTimeout(resolve, 100))
      await append(ring, 'new')
      const found = await waiting
      expect(textsOf(found)).toEqual(['new'])
      expect(found.nextSequence).toBe(2n)
    })

    it('lets somebody look into a ring beside a reader that waits there', async () => {
      const ring = freshName()
      await append(ring, 'a', 'b', 'c')
      const waiting = grid.read(ring, 3n, patient)
      const { entries, nextSequence } = await grid.peek(ring, 1n, 1)
      expect([entries.map(String), nextSequence]).toEqual([['b'], 2n])
      expect(textsOf(await grid.peek(ring, 0n, 1000))).toEqual(['a', 'b', 'c'])
      expect(await grid.peek(ring, 3n, 10)).toEqual({ entries: [], nextSequence: 3n })
      expect(await grid.peek(freshName(), 0n, 10)).toEqual({ entries: [], nextSequence: 0n })
      await append(ring, 'd')
      expect(textsOf(await waiting)).toEqual(['d'])
    })

    it('goes on at the head of a ring that has gone round when somebody looks into it', async () => {
      const ring = freshName()
      await append(ring, ...Array.from({ length: harness.capacity + 3 }, (_, n) => `${n}`))
      let found = await grid.peek(ring, 0n, 1000)
      if (found.entries.length === 0) found = await grid.peek(ring, found.nextSequence, 1000)
      expect([found.entries.length, String(found.entries[0])]).toEqual([harness.capacity, '3'])
    })

    it('tells the newest entry of a ring', async () => {
      const ring = freshName()
      expect(await grid.tail(ring)).toEqual({ sequence: -1n, entry: undefined })
      await append(ring, 'a', 'b')
      const { sequence, entry } = await other.tail(ring)
      expect([sequence, String(entry)]).toEqual([1n, 'b'])
    })

    it('tells how many entries a ring holds', async () => {
      expect(await grid.capacity(freshName())).toBe(harness.capacity)
    })

    it('keeps, replaces and removes entries of a map', async () => {
      const map = freshName()
      expect(await grid.entries(map)).toEqual(new Map())
      await grid.put(map, 'a', '1')
      await grid.put(map, 'b', 'ü "2"')
      await other.put(map, 'a', '3')
      expect(await other.entries(map)).toEqual(
        new Map([
          ['a', '3'],
          ['b', 'ü "2"'],
        ]),
      )
      await grid.remove(map, 'a')
      await grid.remove(map, 'missing')
      expect(await grid.entries(map)).toEqual(new Map([['b', 'ü "2"']]))
    })

    it('destroys rings and maps for every view, leaves the others, and makes one anew for whoever writes to it', async () => {
      const [ring, map, kept] = [freshName(), freshName(), freshName()]
      await append(ring, 'a', 'b')
      await append(kept, 'c')
      await grid.put(map, 'a', '1')
      await grid.put(kept, 'a', '1')
      // Looked at by both, so that both have a handle of it.
      expect((await other.tail(ring)).sequence).toBe(1n)
      expect((await other.entries(map)).size).toBe(1)
      await grid.destroy({ rings: [ring, freshName()], maps: [map, freshName()] })
      for (const view of [grid, other]) {
        expect(await view.tail(ring)).toEqual({ sequence: -1n, entry: undefined })
        expect(await view.entries(map)).toEqual(new Map())
        expect((await view.tail(kept)).sequence).toBe(0n)
        expect((await view.entries(kept)).size).toBe(1)
      }
      expect(await other.append(ring, Buffer.from('new'))).toBe(0n)
      await other.put(map, 'b', '2')
      for (const view of [grid, other]) {
        expect(textsOf(await view.read(ring, 0n, quick))).toEqual(['new'])
        expect(await view.entries(map)).toEqual(new Map([['b', '2']]))
      }
    })

    it('ends a read that waits at a ring which is destroyed', async () => {
      const ring = freshName()
      const waiting = grid.read(ring, 0n, { countMax: 10, waitMs: 1_000 })
      await new Promise((resolve) => setTimeout(resolve, 50))
      await other.destroy({ rings: [ring], maps: [] })
      const found = await waiting.catch((error: unknown) => error)
      if (!(found instanceof Error)) expect(found).toEqual({ entries: [], nextSequence: 0n })
      else expect(found).toMatchObject({ code: 'FB_GRID_UNREACHABLE' })
      await grid.append(ring, Buffer.from('new'))
      expect(textsOf(await grid.read(ring, 0n, patient))).toEqual(['new'])
    })

    it('gives a copy of a map that later changes leave alone', async () => {
      const map = freshName()
      await grid.put(map, 'a', '1')
      const entries = await grid.entries(map)
      await grid.put(map, 'a', '2')
      expect(entries.get('a')).toBe('1')
    })
  })
}
