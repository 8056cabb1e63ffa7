import type { Kafka } from 'kafkajs'
import lz4 from 'lz4-napi'
import { afterEach, describe, expect, it } from 'vitest'
import { KafkaCursor } from '../../src/events/kafka-cursor.ts'
import { decodeFetch } from '../../src/events/kafka-fetch-decoder.ts'
import { batchBytes, codecs, responseOf } from '../support/kafka-batch.ts'

const open: KafkaCursor[] = []
afterEach(() => Promise.all(open.splice(0).map((cursor) => cursor.close())))

/** A cursor on a broker that answers every fetch at once with what `answer` gives for its offset. */
function cursorOn(answer: (nextOffset: bigint) => Buffer): { cursor: KafkaCursor; fetches: () => number } {
  let fetches = 0
  const broker = {
    fetch: async ({ topics }: { topics: { partitions: { fetchOffset: string }[] }[] }) => {
      fetches++
      await new Promise((resolve) => setImmediate(resolve))
      return decodeFetch(responseOf(answer(BigInt(topics[0]!.partitions[0]!.fetchOffset))))
    },
  }
  const cluster = {
    connect: async () => undefined,
    disconnect: async () => undefined,
    addTargetTopic: async () => undefined,
    findLeaderForPartitions: () => ({ 1: [0] }),
    findBroker: async () => broker,
  }
  const kafka = {
    consumer: ({ partitionAssigners }: { partitionAssigners: ((of: { cluster: unknown }) => unknown)[] }) =>
      partitionAssigners[0]!({ cluster }),
  } as unknown as Kafka
  const limits = { portionBytesMax: 10_000, recordBytesMax: 100_000 }
  const cursor = new KafkaCursor({
    ...{ kafka, brokers: ['fake'], topic: 'trades', partition: 0, nextOffset: 0n },
    ...{ fetchBytesMax: 1 << 20, limits, onClose: () => undefined },
  })
  open.push(cursor)
  return { cursor, fetches: () => fetches }
}

describe('A cursor on Kafka', () => {
  it('asks for a trickle of events once in four milliseconds at most, however fast it is polled', async () => {
    const beganAt = performance.now()
    const { cursor, fetches } = cursorOn((nextOffset) => batchBytes([{ value: Buffer.from('v') }], { firstOffset: nextOffset }))
    let found = 0
    while (performance.now() - beganAt < 300) found += (await cursor.poll(100)).events.length
    expect(found).toBeGreaterThan(0)
    // A timer may come a millisecond early.
    expect(fetches()).toBeLessThanOrEqual((performance.now() - beganAt) / 3 + 2)
  })

  const count = 5000
  const compressed = batchBytes(
    Array.from({ length: count }, (_, i) => ({ value: Buffer.from(`${i}`) })),
    { attributes: codecs.lz4, compress: (body) => lz4.compressFrameSync(Buffer.from(body)) },
  )
  const upTo = (nextOffset: bigint) => (nextOffset < BigInt(count) ? compressed : Buffer.alloc(0))

  it('hands out one compressed batch in many portions, joined without a gap, of one fetch', async () => {
    const { cursor, fetches } = cursorOn(upTo)
    const found: string[] = []
    let [polls, heldMost] = [0, 0]
    for (; found.length < count; polls++) {
      const { events, lastOffset } = await cursor.poll(1000)
      for (const { value } of events) found.push(String(value))
      expect(lastOffset).toBe(BigInt(found.length - 1))
      heldMost = Math.max(heldMost, cursor.heldBytes)
    }
    expect(found).toEqual(Array.from({ length: count }, (_, i) => `${i}`))
    expect(polls).toBeGreaterThan(50)
    // The fetch, and two portions with a piece of what is inflated each.
    expect(heldMost).toBeLessThan(compressed.length + 200 + 2 * (10_000 + 160 + 2 * 64 * 1024))
    expect(heldMost).toBeGreaterThan(compressed.length)
    expect(fetches()).toBeLessThanOrEqual(2)
  })

  it('goes on from where it was sought in the middle of a batch, backwards too', async () => {
    const { cursor } = cursorOn(upTo)
    for (const from of [3000n, 10n, 4999n, 0n, 77n]) {
      cursor.seek(from)
      const { events } = await cursor.poll(1000)
      expect([events[0]!.offset, String(events[0]!.value)]).toEqual([from, String(from)])
      await cursor.poll(1000)
    }
  })

  it('hands out what lies before a damaged batch, then says where it is, and reads on once it is mended', async () => {
    let isMended = false
    const good = batchBytes([{ value: Buffer.from('a') }])
    const bad = batchBytes([{ value: Buffer.from('b') }], { firstOffset: 1n })
    const { cursor } = cursorOn((nextOffset) => {
      const second = Buffer.from(bad)
      if (!isMended) second[second.length - 3]! ^= 1
      return nextOffset === 0n ? Buffer.concat([good, second]) : nextOffset === 1n ? second : Buffer.alloc(0)
    })
    expect((await cursor.poll(1000)).events.map(({ value }) => String(value))).toEqual(['a'])
    const refusal = {
      code: 'FB_EVENT_LOG_UNREADABLE',
      message: expect.stringContaining('batch at offset 1 of partition 0 of topic trades'),
    }
    await expect(cursor.poll(1000)).rejects.toMatchObject(refusal)
    isMended = true
    for (let tries = 0; tries < 100; tries++) {
      const events = await cursor.poll(50).then(
        (batch) => batch.events,
        () => [],
      )
      if (events.length > 0) return expect(String(events[0]!.value)).toBe('b')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error('it never read on')
  })
})
