/** What every ledger keeps, whatever it is kept in. Runs against each adapter of the port. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import type { Advance, DeadLetter, Ledger, LedgerTransaction } from '../../src/ledger/ledger.ts'

/** A fresh pipeline of 2 partitions with floor 9, 2 queues each, and the tracked tasks `a` and `b`. */
export interface LedgerWorld<Tx extends LedgerTransaction> {
  /** The ledger of one more node; another version opens another epoch. */
  node(version: string): Promise<Ledger<Tx>>
  /** A failover forgets that the newest epoch was opened, and nothing else. */
  forgetEpoch(): Promise<void>
  /** Writes a row within the transaction; `bad` is a row that the database refuses for its data. */
  put(transaction: Tx, row: string): Promise<void>
  rows(): Promise<string[]>
  letterCount(): Promise<number>
  close(): Promise<void>
}

const start = 9n
const letter: DeadLetter = {
  partition: 0,
  queue: 0,
  offset: 12n,
  ordinal: 0,
  task: 'a',
  error: 'bad',
  payload: Buffer.from('{'),
  isPayloadCut: false,
}

function advance(partition: number, queue: number, from: bigint, to: bigint): Advance {
  return { partition, queue, from, to }
}

async function codeOf(promise: Promise<unknown>): Promise<ErrorCode | 'none'> {
  return promise.then(
    () => 'none' as const,
    (error: unknown) => {
      if (!isForebayError(error)) throw error
      return error.code
    },
  )
}

export function describeLedger<Tx extends LedgerTransaction>(name: string, makeWorld: () => Promise<LedgerWorld<Tx>>): void {
  describe(`${name} keeps the contract of a ledger`, () => {
    let world: LedgerWorld<Tx>
    let ledger: Ledger<Tx>
    const nothing = async () => {}

    beforeEach(async () => {
      await world?.close()
      world = await makeWorld()
      ledger = await world.node('1')
    })
    afterAll(() => world?.close())

    it('starts every watermark at the floor', async () => {
      const view = await ledger.read(1)
      expect(view).toEqual({
        partition: 1,
        floor: start,
        rows: new Map([
          ['a', [start, start]],
          ['b', [start, start]],
        ]),
      })
    })

    it('reads several partitions with one question', async () => {
      await ledger.flush({ task: 'b', advances: [advance(1, 1, 9n, 12n)], write: nothing })
      expect(await ledger.readAll([1, 0])).toEqual([await ledger.read(1), await ledger.read(0)])
      expect(await ledger.readAll([])).toEqual([])
    })

    it('keeps a halt over the lives of nodes, with the first reason, and raises no floor meanwhile (rule 21)', async () => {
      const capture = { partition: 1, position: 30n, queues: [0, 1].map(() => ({ sent: 9n, isIdle: true })) }
      const halt = { partition: 1, reason: 'it was truncated', floor: 9n, logEnd: 5n }
      await ledger.halt(halt)
      await ledger.halt({ ...halt, reason: 'another', logEnd: null })
      const next = await world.node('1')
      expect((await next.read(1)).halt).toEqual(halt)
      expect((await next.read(0)).halt).toBeUndefined()
      expect(await codeOf(next.settle(capture))).toBe('FB_LOG_TRUNCATED')
      expect((await next.read(1)).floor).toBe(start)
      expect((await next.settle({ ...capture, partition: 0 })).floor).toBe(30n)
    })

    it('keeps the newest leader epoch beside the floor, whether that moves or not, and never takes it back', async () => {
      const settle = (position: bigint, leaderEpoch?: number) =>
        ledger.settle({ partition: 0, position, queues: [0, 1].map(() => ({ sent: 9n, isIdle: true })), leaderEpoch })
      expect((await ledger.read(0)).leaderEpoch).toBeUndefined()
      await settle(20n, 3)
      expect((await ledger.read(0)).leaderEpoch).toBe(3)
      expect((await settle(20n, 7)).leaderEpoch).toBe(7)
      expect((await ledger.read(0)).leaderEpoch).toBe(7)
      expect((await settle(21n)).leaderEpoch).toBe(7)
      expect((await settle(22n, 5)).leaderEpoch).toBe(7)
      expect(await ledger.read(0)).toMatchObject({ floor: 22n, leaderEpoch: 7 })
    })

    it('moves watermarks and writes rows and dead letters together (I7)', async () => {
      await ledger.flush({
        task: 'a',
        advances: [advance(0, 1, 9n, 20n), advance(1, 0, 9n, 9_007_199_254_740_993n)],
        write: async (transaction) => {
          await world.put(transaction, 'x')
          await transaction.bury([letter])
        },
      })
      expect((await ledger.read(0)).rows.get('a')).toEqual([9n, 20n])
      expect((await ledger.read(1)).rows.get('a')).toEqual([9_007_199_254_740_993n, 9n])
      expect((await ledger.read(0)).rows.get('b')).toEqual([9n, 9n])
      expect(await world.rows()).toEqual(['x'])
      expect(await world.letterCount()).toBe(1)
    })

    it('fences a flush whose queue stands elsewhere and moves none of the others (I1)', async () => {
      await ledger.flush({ task: 'a', advances: [advance(0, 0, 9n, 15n)], write: nothing })
      let isWritten = false
      const write = async () => {
        isWritten = true
      }
      expect(await codeOf(ledger.flush({ task: 'a', advances: [advance(0, 1, 9n, 30n), advance(0, 0, 9n, 15n)], write }))).toBe('FB_FENCED')
      expect(isWritten).toBe(false)
      expect((await ledger.read(0)).rows.get('a')).toEqual([15n, 9n])
    })

    it('refuses two advances of one queue, and one that goes back, as a bug (I5, I7)', async () => {
      const codeOfFlush = (...advances: Advance[]) => codeOf(ledger.flush({ task: 'a', advances, write: nothing }))
      expect(await codeOfFlush(advance(0, 0, 9n, 12n), advance(0, 0, 9n, 14n))).toBe('FB_INTERNAL')
      expect(await codeOfFlush(advance(0, 0, 9n, 9n))).toBe('FB_INTERNAL')
      expect((await ledger.read(0)).rows.get('a')).toEqual([9n, 9n])
    })

    it('lets exactly one of two nodes move a watermark from the same place', async () => {
      const other = await world.node('1')
      const flush = (node: Ledger<Tx>, row: string) =>
        node.flush({ task: 'a', advances: [advance(0, 0, 9n, 15n)], write: (transaction) => world.put(transaction, row) })
      const codes = await Promise.all([codeOf(flush(ledger, 'x')), codeOf(flush(other, 'y'))])
      expect(codes.sort()).toEqual(['FB_FENCED', 'none'])
      expect(await world.rows()).toHaveLength(1)
    })

    it('lets two nodes flush overlapping queues in opposite orders: one is fenced, none deadlocks', async () => {
      const other = await world.node('1')
      for (let round = 0n; round < 5n; round++) {
        const all = [advance(0, 0, 9n + round, 10n + round), advance(0, 1, 9n + round, 10n + round), advance(1, 1, 9n + round, 10n + round)]
        const codes = await Promise.all([
          codeOf(ledger.flush({ task: 'a', advances: all, write: nothing })),
          codeOf(other.flush({ task: 'a', advances: all.toReversed(), write: nothing })),
        ])
        expect(codes.sort()).toEqual(['FB_FENCED', 'none'])
      }
    })

    it('leaves nothing behind when write throws', async () => {
      const flush = ledger.flush({
        task: 'a',
        advances: [advance(0, 0, 9n, 15n)],
        write: async (transaction) => {
          await world.put(transaction, 'x')
          await transaction.bury([letter])
          await world.put(transaction, 'bad')
        },
      })
      expect(await codeOf(flush)).toBe('FB_BAD_JOB')
      expect((await ledger.read(0)).rows.get('a')).toEqual([9n, 9n])
      expect(await world.rows()).toEqual([])
      expect(await world.letterCount()).toBe(0)
    })

    it('goes on with the transaction after an attempt failed', async () => {
      await ledger.flush({
        task: 'a',
        advances: [advance(0, 0, 9n, 15n)],
        write: async (transaction) => {
          await world.put(transaction, 'x')
          const failed = transaction.attempt(async () => {
            await world.put(transaction, 'half')
            await transaction.attempt(() => world.put(transaction, 'bad'))
          })
          expect(await codeOf(failed)).toBe('FB_BAD_JOB')
          await transaction.attempt(() => world.put(transaction, 'y'))
          await transaction.bury([letter])
        },
      })
      expect((await world.rows()).sort()).toEqual(['x', 'y'])
      expect(await world.letterCount()).toBe(1)
    })

    it('raises the floor to what the watermarks allow and never takes it back (I3, I5)', async () => {
      await ledger.flush({ task: 'a', advances: [advance(0, 0, 9n, 20n), advance(0, 1, 9n, 18n)], write: nothing })
      await ledger.flush({ task: 'b', advances: [advance(0, 0, 9n, 20n), advance(0, 1, 9n, 12n)], write: nothing })
      const capture = {
        partition: 0,
        position: 25n,
        queues: [
          { sent: 20n, isIdle: true },
          { sent: 18n, isIdle: true },
        ],
      }
      expect((await ledger.settle(capture)).floor).toBe(12n)
      await ledger.flush({ task: 'b', advances: [advance(0, 1, 12n, 18n)], write: nothing })
      expect((await ledger.settle(capture)).floor).toBe(25n)
      expect((await ledger.settle({ ...capture, position: 11n })).floor).toBe(25n)
      expect((await ledger.read(0)).floor).toBe(25n)
    })

    it('takes an advance from the floor of a row that the floor has passed, and fences one from the row itself', async () => {
      await ledger.settle({
        partition: 0,
        position: 50n,
        queues: [
          { sent: 9n, isIdle: true },
          { sent: 9n, isIdle: true },
        ],
      })
      expect(await codeOf(ledger.flush({ task: 'a', advances: [advance(0, 0, 40n, 60n)], write: nothing }))).toBe('FB_FENCED')
      await ledger.flush({ task: 'a', advances: [advance(0, 0, 50n, 60n)], write: nothing })
      expect(await codeOf(ledger.flush({ task: 'a', advances: [advance(0, 0, 50n, 61n)], write: nothing }))).toBe('FB_FENCED')
      expect((await ledger.read(0)).rows.get('a')).toEqual([60n, 9n])
    })

    it('settles while flushes run, never above a watermark that is still open', async () => {
      const capture = {
        partition: 0,
        position: 40n,
        queues: [
          { sent: 40n, isIdle: true },
          { sent: 9n, isIdle: true },
        ],
      }
      for (const task of ['a', 'b']) {
        await ledger.flush({
          task,
          advances: [advance(0, 0, 9n, 40n)],
          write: async () => {
            expect((await ledger.settle(capture)).floor).toBe(9n)
          },
        })
      }
      expect((await ledger.settle(capture)).floor).toBe(40n)
    })

    it('inherits watermarks into the epoch of a new version and closes the old one (I8)', async () => {
      await ledger.flush({ task: 'a', advances: [advance(0, 0, 9n, 15n)], write: nothing })
      const next = await world.node('2')
      expect(await codeOf(ledger.flush({ task: 'a', advances: [advance(0, 0, 15n, 16n)], write: nothing }))).toBe('FB_EPOCH_CLOSED')
      expect(await codeOf(ledger.settle({ partition: 0, position: 9n, queues: [] }))).toBe('FB_EPOCH_CLOSED')
      await next.flush({ task: 'a', advances: [advance(0, 0, 15n, 17n)], write: nothing })
      expect((await next.read(0)).rows.get('a')).toEqual([17n, 9n])
    })

    it('knows the epoch by its mark: one that a failover forgot does not write into another of its number (I7)', async () => {
      const forgotten = await world.node('2')
      await world.forgetEpoch()
      const successor = await world.node('2')
      const flush = (node: Ledger<Tx>, row: string) =>
        node.flush({ task: 'a', advances: [advance(0, 0, 9n, 15n)], write: (transaction) => world.put(transaction, row) })
      expect(await codeOf(flush(forgotten, 'x'))).toBe('FB_EPOCH_CLOSED')
      expect(await codeOf(forgotten.settle({ partition: 0, position: 9n, queues: [] }))).toBe('FB_EPOCH_CLOSED')
      expect(await codeOf(flush(successor, 'y'))).toBe('none')
      expect(await world.rows()).toEqual(['y'])
    })

    it('lets a flush under way finish before a new epoch opens', async () => {
      const order: string[] = []
      let opening: Promise<unknown> = Promise.resolve()
      await ledger.flush({
        task: 'a',
        advances: [advance(0, 0, 9n, 15n)],
        write: async (transaction) => {
          opening = world.node('2').then(() => order.push('opened'))
          await world.put(transaction, 'x')
          // Long enough for an opening that waits for nobody; one that waits for this flush cannot end before it.
          await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, 300))])
          order.push('written')
        },
      })
      await opening
      expect(order).toEqual(['written', 'opened'])
    })
  })
}
