/** One ring of Hazelcast against a member that is played here, so that each question to it can be counted. */
import type { Ringbuffer } from 'hazelcast-client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { HazelcastRing } from '../../src/grid/hazelcast-ring.ts'

/** A member's ring; a question for what is not there stays open. */
class PlayedRing {
  readonly entries: Buffer[] = []
  /** `from/least` of each question. */
  readonly asked: string[] = []

  #waiting: (() => void)[] = []

  async add(entry: Buffer) {
    const sequence = this.entries.push(entry) - 1
    for (const answer of this.#waiting.splice(0)) answer()
    return { toNumber: () => sequence }
  }
  async readMany(from: number, countMin: number, countMax: number) {
    this.asked.push(`${from}/${countMin}`)
    if (this.entries.length < from + countMin) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    const found = this.entries.slice(from, from + countMax)
    const getSequence = (index: number) => ({ toNumber: () => from + index })
    return { getReadCount: () => found.length, get: (index: number) => found[index], getSequence }
  }
  async tailSequence() {
    return { toNumber: () => this.entries.length - 1 }
  }
}

let played: PlayedRing
let ring: HazelcastRing

beforeEach(() => {
  vi.useFakeTimers()
  played = new PlayedRing()
  const open = () => Promise.resolve(played as unknown as Ringbuffer<Buffer>)
  ring = new HazelcastRing('r', (_what, call) => call(), open)
})
afterEach(() => {
  ring.close()
  vi.useRealTimers()
})

const read = async (from: bigint) => {
  const reading = ring.read(from, { countMax: 10, waitMs: 100 })
  await vi.advanceTimersByTimeAsync(101)
  return (await reading).entries.map(String)
}

it('a look takes nothing of what is kept for the reader and leaves its question with the member', async () => {
  expect(await read(0n)).toEqual([])
  await ring.append(Buffer.from('a'))
  expect((await ring.peek(0n, 10)).entries.map(String)).toEqual(['a'])
  expect(await read(0n)).toEqual(['a'])
  expect(played.asked).toEqual(['0/1', '0/0'])
  expect(await read(1n)).toEqual([])
  await ring.peek(0n, 10)
  expect(await read(1n)).toEqual([])
  expect(played.asked).toEqual(['0/1', '0/0', '1/1', '0/0'])
})

it('own entries are kept for a reader, yet only while it reads', async () => {
  const append = async (...texts: string[]) => {
    for (const text of texts) await ring.append(Buffer.from(text))
  }
  expect(await read(0n)).toEqual([])
  await append('a', 'b')
  // The question that was left with the member was answered by the first of the two.
  expect(await read(0n)).toEqual(['a', 'b'])
  expect(await read(2n)).toEqual([])
  await append('c', 'd')
  await vi.advanceTimersByTimeAsync(2500)
  expect(await read(2n)).toEqual(['c'])
  expect(played.asked).toEqual(['0/1', '2/1'])
})

it('a reader that has all of what is appended here waits for the next append before it asks the member', async () => {
  expect(await read(0n)).toEqual([])
  await ring.append(Buffer.from('a'))
  expect((await ring.read(0n, { countMax: 10, waitMs: 100 })).entries.map(String)).toEqual(['a'])
  const reading = ring.read(1n, { countMax: 10, waitMs: 100 })
  await vi.advanceTimersByTimeAsync(50)
  await ring.append(Buffer.from('b'))
  expect((await reading).entries.map(String)).toEqual(['b'])
  expect(played.asked).toEqual(['0/1'])
})

it('an entry of another writer is asked for at once where the next own one shows it, and soon where none comes', async () => {
  expect(await read(0n)).toEqual([])
  await ring.append(Buffer.from('a'))
  expect((await ring.read(0n, { countMax: 10, waitMs: 100 })).entries.map(String)).toEqual(['a'])
  const reading = ring.read(1n, { countMax: 10, waitMs: 100 })
  await vi.advanceTimersByTimeAsync(10)
  await played.add(Buffer.from('of another'))
  await ring.append(Buffer.from('b'))
  expect((await reading).entries.map(String)).toEqual(['of another', 'b'])
  await played.add(Buffer.from('of another, too'))
  const later = ring.read(3n, { countMax: 10, waitMs: 200 })
  await vi.advanceTimersByTimeAsync(100)
  expect((await later).entries.map(String)).toEqual(['of another, too'])
  expect(played.asked).toEqual(['0/1', '1/1', '3/1'])
})

it('a reader that is behind does not wait', async () => {
  await played.add(Buffer.from('old'))
  await ring.append(Buffer.from('a'))
  expect((await ring.read(0n, { countMax: 10, waitMs: 100 })).entries.map(String)).toEqual(['old', 'a'])
})
