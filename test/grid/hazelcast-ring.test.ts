/** One ring of Hazelcast against a member that is played here, so that each question to it can be counted. */
import type { Ringbuffer } from 'hazelcast-client'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { HazelcastRing } from '../../src/grid/hazelcast-ring.ts'

/** A member's ring; a question for what is not there stays open. */
class PlayedRing {
  readonly entries: Buffer[] = []
  /** `from/least` of each question. */
  readonly asked: string[] = []

  /** How often the tail was asked for. */
  looks = 0

  #waiting: { answer: () => void; fail: (error: Error) => void }[] = []

  /** Ends the questions that are open. */
  fail(error: Error) {
    for (const { fail } of this.#waiting.splice(0)) fail(error)
  }
  /** The ring is another one now, empty; whoever asked the old one is not answered. */
  lose() {
    this.entries.length = 0
    this.#waiting = []
  }
  async add(entry: Buffer) {
    const sequence = this.entries.push(entry) - 1
    for (const { answer } of this.#waiting.splice(0)) answer()
    return { toNumber: () => sequence }
  }
  async readMany(from: number, countMin: number, countMax: number) {
    this.asked.push(`${from}/${countMin}`)
    if (this.entries.length < from + countMin) await new Promise<void>((answer, fail) => this.#waiting.push({ answer, fail }))
    const found = this.entries.slice(from, from + countMax)
    const getSequence = (index: number) => ({ toNumber: () => from + index })
    return { getReadCount: () => found.length, get: (index: number) => found[index], getSequence }
  }
  async tailSequence() {
    this.looks++
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

const append = async (...texts: string[]) => {
  for (const text of texts) await ring.append(Buffer.from(text))
}
/** Leaves the ring read a moment ago, with nothing asked of the member. */
const readAll = async (countMax = 10) => {
  expect(await read(0n)).toEqual([])
  await append('first')
  const { nextSequence } = await ring.read(0n, { countMax, waitMs: 0 })
  expect(nextSequence).toBe(1n)
  played.asked.length = 0
}

it('of a ring that was made anew nothing older is given, whoever wrote to it since', async () => {
  await readAll()
  await append('old 1', 'old 2')
  played.lose()
  await append('new 0')
  await played.add(Buffer.from('new 1, of another'))
  expect(await read(0n)).toEqual(['new 0'])
  expect(await read(1n)).toEqual(['new 1, of another'])
})

it('a disturbance forgets the own entries: what the grid lost is not given from memory', async () => {
  await readAll()
  await append('lost')
  ring.doubt()
  played.lose()
  expect(await read(1n)).toEqual([])
})

it('a failed append forgets the own entries, since nobody knows whether it is in the ring', async () => {
  await readAll()
  await append('a')
  vi.spyOn(played, 'add').mockRejectedValueOnce(new Error('away'))
  await expect(append('b')).rejects.toThrow('away')
  expect(await read(1n)).toEqual(['a'])
  expect(played.asked).toEqual(['1/1'])
})

it('nothing is kept of a ring that nobody reads here', async () => {
  await append('a')
  expect(await read(0n)).toEqual(['a'])
  expect(played.asked).toEqual(['0/1'])
})

it('no more than eight own entries are kept, however many are appended before a read', async () => {
  await readAll()
  const texts = Array.from({ length: 9 }, (_, n) => String(n))
  await append(...texts)
  expect(await read(1n)).toEqual(texts)
  expect(played.asked).toEqual(['1/1'])
})

it('a read takes no more of the own entries than it asks for, and the next one the others', async () => {
  await readAll()
  await append('a', 'b', 'c')
  const texts = async (from: bigint) => (await ring.read(from, { countMax: 2, waitMs: 0 })).entries.map(String)
  expect(await texts(1n)).toEqual(['a', 'b'])
  expect(await texts(3n)).toEqual(['c'])
  expect(played.asked).toEqual([])
})

it('a read waits for an own entry no longer than it may, and not at all where the last one is long ago or the grid was disturbed', async () => {
  await readAll()
  const short = ring.read(1n, { countMax: 10, waitMs: 20 })
  await vi.advanceTimersByTimeAsync(20)
  expect(played.asked).toEqual(['1/1'])
  await vi.advanceTimersByTimeAsync(1)
  expect((await short).entries).toEqual([])
  await append('a')
  await ring.read(1n, { countMax: 10, waitMs: 0 })
  ring.doubt()
  const disturbed = ring.read(2n, { countMax: 10, waitMs: 10 })
  await vi.advanceTimersByTimeAsync(0)
  expect(played.asked).toEqual(['1/1', '2/1'])
  await vi.advanceTimersByTimeAsync(11)
  await disturbed
  await append('b')
  expect((await ring.read(2n, { countMax: 10, waitMs: 0 })).entries.map(String)).toEqual(['b'])
  await vi.advanceTimersByTimeAsync(101)
  const late = ring.read(3n, { countMax: 10, waitMs: 10 })
  await vi.advanceTimersByTimeAsync(0)
  expect(played.asked).toEqual(['1/1', '2/1', '3/1'])
  await vi.advanceTimersByTimeAsync(11)
  await late
})

it('after a disturbance the next empty read looks at the tail at once, else once a second', async () => {
  for (let n = 0; n < 3; n++) expect(await read(0n)).toEqual([])
  expect(played.looks).toBe(1)
  ring.doubt()
  expect(await read(0n)).toEqual([])
  expect(played.looks).toBe(2)
})

it('an answer that nobody asks for is let go', async () => {
  expect(await read(0n)).toEqual([])
  await played.add(Buffer.from('a'))
  await vi.advanceTimersByTimeAsync(10_001)
  expect(await read(0n)).toEqual(['a'])
  expect(played.asked).toEqual(['0/1', '0/1'])
})

it('a question of earlier that failed is put again, and only one of now is told of', async () => {
  expect(await read(0n)).toEqual([])
  played.fail(new Error('gone'))
  expect(await read(0n)).toEqual([])
  const reading = expect(ring.read(0n, { countMax: 10, waitMs: 100 })).rejects.toThrow('gone')
  await vi.advanceTimersByTimeAsync(1)
  played.fail(new Error('gone'))
  await reading
})

it('a ring to which another client appends in between is asked at once', async () => {
  await append('own')
  await played.add(Buffer.from('of another'))
  await append('own again')
  expect((await ring.read(0n, { countMax: 10, waitMs: 100 })).entries.map(String)).toEqual(['own', 'of another', 'own again'])
  const reading = ring.read(3n, { countMax: 10, waitMs: 100 })
  await played.add(Buffer.from('of another, too'))
  expect((await reading).entries.map(String)).toEqual(['of another, too'])
})

it('empty reads of an idle ring leave nothing in memory', async () => {
  vi.useRealTimers()
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const readMany = async (reads: number) => {
    // All within a second of the ring's last look at its tail: only the question stays.
    for (let i = 0; i < reads; i++) await ring.read(0n, { countMax: 10, waitMs: 0.1 })
    collect()
    return process.memoryUsage().heapUsed
  }
  await readMany(300)
  const before = await readMany(300)
  const grown = (await readMany(1500)) - before
  // A reaction on the open question would be 650 bytes a read.
  expect(grown / 1500).toBeLessThan(200)
})
