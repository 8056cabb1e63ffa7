/** What every book of owners keeps. Runs against each adapter of the port. */
import { describe, expect, it } from 'vitest'
import type { OwnerBook } from '../../src/ingest/owner-book.ts'

/** A pipeline of its own whose partition 0 has floor 9. */
export interface OwnerBookWorld {
  /** As a node of an epoch sees it; a later epoch has another converter. */
  book(epoch: number): OwnerBook
  setFloor(floor: bigint): Promise<void>
}

const none = { deaths: 0, suspects: new Map() }

export function describeOwnerBook(name: string, makeWorld: () => Promise<OwnerBookWorld>): void {
  describe(`${name} keeps the contract of a book of owners`, () => {
    it('counts owners that died while the floor stood, and forgets them when it moved', async () => {
      const { book, setFloor } = await makeWorld()
      const { begin, leave } = callsOf(book(1))
      expect(await begin(0, 'a')).toEqual(none)
      expect((await begin(0, 'b')).deaths).toBe(1)
      expect((await begin(0, 'c')).deaths).toBe(2)
      await leave(0, 'c')
      // Whoever leaves alive takes away no death that was counted before.
      expect((await begin(0, 'd')).deaths).toBe(2)
      await leave(0, 'somebody else')
      expect((await begin(0, 'e')).deaths).toBe(3)
      await setFloor(10n)
      expect((await begin(0, 'f')).deaths).toBe(1)
      await leave(0, 'f')
      await setFloor(11n)
      expect(await begin(0, 'g')).toEqual(none)
      expect(await begin(1, 'g')).toEqual(none)
    })

    it('counts deaths at offsets until they are acquitted or the floor has passed them', async () => {
      const { book, setFloor } = await makeWorld()
      const { begin, suspect, acquit } = callsOf(book(1))
      await begin(0, 'x')
      const far = 9_007_199_254_740_993n
      expect([await suspect(0, 10n), await suspect(0, 10n), await suspect(0, 11n), await suspect(0, far)]).toEqual([1, 2, 1, 1])
      await acquit(0, 11n)
      expect((await begin(0, 'a')).suspects).toEqual(
        new Map([
          [10n, 2],
          [far, 1],
        ]),
      )
      expect((await begin(1, 'a')).suspects).toEqual(new Map())
      await setFloor(10n)
      expect((await begin(0, 'b')).suspects).toEqual(new Map([[far, 1]]))
    })

    it('blames another converter for nothing', async () => {
      const { book } = await makeWorld()
      await book(1).begin(0, 'a')
      await book(1).suspect(0, 20n)
      expect(await book(2).begin(0, 'b')).toEqual(none)
      expect(await book(2).suspect(0, 20n)).toBe(1)
    })
  })
}

function callsOf(book: OwnerBook): OwnerBook {
  return {
    begin: (partition, owner) => book.begin(partition, owner),
    leave: (partition, owner) => book.leave(partition, owner),
    suspect: (partition, offset) => book.suspect(partition, offset),
    acquit: (partition, offset) => book.acquit(partition, offset),
  }
}
