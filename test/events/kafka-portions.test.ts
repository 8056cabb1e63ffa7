import { randomBytes } from 'node:crypto'
import * as zlib from 'node:zlib'
import * as fc from 'fast-check'
import lz4 from 'lz4-napi'
import snappy from 'snappy'
import { describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import { batchAround, batchBytes, codecs, control, readFetch, recordBytes, roomy, transactional, varint } from '../support/kafka-batch.ts'
import type { BatchToWrite } from '../support/kafka-batch.ts'
import { storedZstd } from '../support/zstd-frames.ts'

const abort = 0
const commit = 1

/** One record batch of a producer. */
function batch(producerId: number, offsets: readonly number[], of: { last?: number; isPlain?: boolean; control?: number } = {}): Buffer {
  const first = offsets[0]!
  const key = of.control === undefined ? null : Buffer.from([0, 0, 0, of.control])
  return batchBytes(
    offsets.map((offset) => ({ offsetDelta: offset - first, key, value: Buffer.from('v') })),
    {
      firstOffset: BigInt(first),
      lastOffsetDelta: (of.last ?? offsets.at(-1)!) - first,
      producerId: BigInt(producerId),
      attributes: (of.isPlain === true ? 0 : transactional) | (of.control === undefined ? 0 : control),
    },
  )
}

async function read(batches: readonly Buffer[], aborted: readonly [producerId: number, firstOffset: number][] = [], nextOffset = 0n) {
  const transactions = aborted.map(([producerId, firstOffset]) => ({ producerId: BigInt(producerId), firstOffset: BigInt(firstOffset) }))
  const { events, lastOffset, error } = await readFetch(Buffer.concat(batches), { nextOffset, aborted: transactions })
  expect(error).toBeUndefined()
  return { offsets: events.map(({ offset }) => Number(offset)), lastOffset: lastOffset === undefined ? undefined : Number(lastOffset) }
}

describe('the events of a fetch', () => {
  it('begin at the offset that was asked for, wherever the record batch begins', async () => {
    expect(await read([batch(1, [3, 4, 5, 6])], [], 5n)).toEqual({ offsets: [5, 6], lastOffset: 6 })
  })

  it('pass a compacted end of a record batch', async () => {
    expect(await read([batch(1, [0, 1], { last: 4 })])).toEqual({ offsets: [0, 1], lastOffset: 4 })
  })

  it('pass a record batch of which compaction left no record', async () => {
    const emptied = batchAround(Buffer.alloc(0), 0, { firstOffset: 30n, lastOffsetDelta: 2 })
    expect(await read([emptied], [], 25n)).toEqual({ offsets: [], lastOffset: 32 })
    expect(await read([batch(1, [20, 21]), emptied], [], 21n)).toEqual({ offsets: [21], lastOffset: 32 })
    expect(await read([batch(1, [20, 21]), emptied.subarray(0, 60)], [], 21n)).toEqual({ offsets: [21], lastOffset: 21 })
    expect(await read([], [], 25n)).toEqual({ offsets: [], lastOffset: undefined })
  })

  it('leave out an aborted transaction up to its marker, and nothing of the same producer after it', async () => {
    const batches = [batch(1, [0, 1]), batch(1, [2], { control: abort }), batch(1, [3, 4]), batch(1, [5], { control: commit })]
    expect(await read(batches, [[1, 0]])).toEqual({ offsets: [3, 4], lastOffset: 5 })
  })

  it('of two transactions that overlap leave out the aborted one only, and the marker of the other ends nothing', async () => {
    const batches = [batch(1, [0]), batch(2, [1]), batch(2, [2], { control: commit }), batch(1, [3]), batch(1, [4], { control: abort })]
    expect(await read(batches, [[1, 0]])).toEqual({ offsets: [1], lastOffset: 4 })
  })

  it('leave out every aborted transaction, also where the broker lists first what ended first', async () => {
    const batches = [
      batch(1, [0]),
      batch(2, [1]),
      batch(2, [2], { control: abort }),
      batch(1, [3], { control: abort }),
      batch(1, [4], { isPlain: true }),
    ]
    const byTheirEnds: [number, number][] = [
      [2, 1],
      [1, 0],
    ]
    expect(await read(batches, byTheirEnds)).toEqual({ offsets: [4], lastOffset: 4 })
  })

  it('hold what a producer wrote outside of its aborted transaction', async () => {
    expect(await read([batch(1, [0]), batch(1, [1], { isPlain: true })], [[1, 0]])).toEqual({ offsets: [1], lastOffset: 1 })
  })

  it('hold what lies before the beginning of an aborted transaction, and not its first batch of one record', async () => {
    const batches = [batch(1, [0, 1]), batch(1, [2], { control: commit }), batch(1, [3]), batch(1, [4], { control: abort })]
    expect(await read(batches, [[1, 3]])).toEqual({ offsets: [0, 1], lastOffset: 4 })
  })

  it('tell the leader epoch of the last batch', async () => {
    const batches = [batchBytes([{}], { leaderEpoch: 4 }), batchBytes([{}, {}], { firstOffset: 1n, leaderEpoch: 7 })]
    const { events, leaderEpoch } = await readFetch(Buffer.concat(batches))
    expect([leaderEpoch, ...events.map((event) => event.leaderEpoch)]).toEqual([7, 4, 7, 7])
    expect((await readFetch(batchBytes([{}], { leaderEpoch: -1 }))).leaderEpoch).toBeUndefined()
  })
})

function xerial(body: Buffer, blockBytes = 32 * 1024): Buffer {
  const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
  const parts: Buffer[] = [head]
  for (let at = 0; at < body.length; at += blockBytes) {
    const block = snappy.compressSync(Buffer.from(body.subarray(at, at + blockBytes)))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

const { zstdCompressSync } = zlib as unknown as { zstdCompressSync?: (body: Buffer) => Buffer }

const writers: readonly (readonly [string, number, (body: Buffer) => Buffer])[] = [
  ['gzip', codecs.gzip, (body) => zlib.gzipSync(body)],
  ['gzip in two members', codecs.gzip, (body) => Buffer.concat([zlib.gzipSync(body.subarray(0, 100)), zlib.gzipSync(body.subarray(100))])],
  ['snappy of the Java client', codecs.snappy, (body) => xerial(body)],
  [
    'snappy of the Java client, twice',
    codecs.snappy,
    (body) => Buffer.concat([xerial(body.subarray(0, 70)), xerial(body.subarray(70), 1000)]),
  ],
  ['raw snappy', codecs.snappy, (body) => snappy.compressSync(body)],
  ['lz4', codecs.lz4, (body) => lz4.compressFrameSync(Buffer.from(body))],
  // Node 20 writes none: what its reader makes of written frames is in zstd-pieces.test.ts.
  ['zstd', codecs.zstd, zstdCompressSync ?? storedZstd],
  ['zstd in stored blocks, twice', codecs.zstd, (body) => Buffer.concat([storedZstd(body.subarray(0, 50)), storedZstd(body.subarray(50))])],
  ['lz4 with sums', codecs.lz4, (body) => lz4.compressFrameSync(Buffer.from(body), { contentChecksum: true, blockChecksums: true })],
]

describe.each(writers)('A batch in %s', (_name, codec, compress) => {
  const of: BatchToWrite = { attributes: codec, compress }
  const valueOf = (i: number) => Buffer.from(`value ${i} ${'x'.repeat(i % 50)}`)

  it.each([1, 3, 5000, 60_000])('of %i records gives each once, in order', async (count) => {
    const records = Array.from({ length: count }, (_, i) => ({ key: Buffer.from(`k${i % 7}`), value: valueOf(i), timeDelta: BigInt(i) }))
    const { events, error, lastOffset } = await readFetch(batchBytes(records, of))
    expect(error).toBeUndefined()
    expect(lastOffset).toBe(BigInt(count - 1))
    expect(events.length).toBe(count)
    const wrong = events.findIndex(
      ({ offset, value, key, timestampMs }, i) =>
        offset !== BigInt(i) || !valueOf(i).equals(value!) || String(key) !== `k${i % 7}` || timestampMs !== 1_700_000_000_000 + i,
    )
    expect(wrong).toBe(-1)
  })

  it('holds no more than a portion at a time, and loses none', async () => {
    const records = Array.from({ length: 20_000 }, (_, i) => ({ value: valueOf(i) }))
    const limits = { portionBytesMax: 100_000, recordBytesMax: 1000 }
    const { events, portions, bytesMost } = await readFetch(batchBytes(records, of), { limits })
    expect(events.map(({ offset }) => Number(offset))).toEqual(Array.from({ length: 20_000 }, (_, i) => i))
    expect(portions).toBeGreaterThan(20)
    // Two of the pieces it is inflated in may be its own in part.
    expect(bytesMost).toBeLessThan(102_000 + 2 * 64 * 1024)
  })

  it('gives records that are not compressible', async () => {
    const values = Array.from({ length: 40 }, () => randomBytes(30_000))
    const { events, error } = await readFetch(
      batchBytes(
        values.map((value) => ({ value })),
        of,
      ),
    )
    expect(error).toBeUndefined()
    expect(events.map(({ value }, i) => values[i]!.equals(value!))).toEqual(values.map(() => true))
  })

  it('passes a record beyond the limit, keeping its beginning and its trace', async () => {
    const large = Buffer.alloc(3_000_000, 'a')
    const trace = [['traceparent', Buffer.from('00-1')]] as const
    const records = [
      { value: Buffer.from('before') },
      { key: Buffer.from('k'), value: large, headers: trace },
      { value: Buffer.from('after') },
    ]
    const { events, error, bytesMost } = await readFetch(batchBytes(records, of))
    expect(error).toBeUndefined()
    expect(events.map(({ offset, value }) => [offset, value!.length])).toEqual([
      [0n, 6],
      [1n, 64 * 1024],
      [2n, 5],
    ])
    expect(events[1]).toMatchObject({ key: Buffer.from('k'), oversizeBytes: recordBytes({ ...records[1], offsetDelta: 1 }).length - 4 })
    expect(events[1]!.headers!.text('traceparent')).toBe('00-1')
    expect(bytesMost).toBeLessThan(300_000)
  })

  it('of random bytes is refused with its offset', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const { error } = await readFetch(batchAround(Buffer.from(bytes), 1, { attributes: codec, firstOffset: 7n }))
        expect(isForebayError(error, 'FB_EVENT_LOG_UNREADABLE') && error.message).toContain(
          'batch at offset 7 of partition 3 of topic trades',
        )
      }),
    )
  })

  it('whose compressed bytes are changed or cut off is refused, or gives records as it says', async () => {
    const records = Array.from({ length: 300 }, (_, i) => ({ value: valueOf(i) }))
    const body = compress(Buffer.concat(records.map((record, i) => recordBytes({ ...record, offsetDelta: i }))))
    const limits = { portionBytesMax: 50_000, recordBytesMax: 10_000 }
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(body.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(body.length),
        async (changes, cut) => {
          const changed = Buffer.from(body.subarray(0, body.length - (cut % 3 === 0 ? cut : 0)))
          for (const [at, byte] of changes) if (at < changed.length) changed[at] = byte
          const { events, error } = await readFetch(batchAround(changed, 300, { attributes: codec }), { limits })
          expect(error === undefined || isForebayError(error, 'FB_EVENT_LOG_UNREADABLE')).toBe(true)
          expect(error !== undefined || events.length === 300).toBe(true)
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('A batch that is damaged', () => {
  const good = (firstOffset: bigint) => batchBytes([{ value: Buffer.from('value') }, { value: Buffer.from('other') }], { firstOffset })
  const refused = async (bytes: Buffer, sentence: string) => {
    const { events, lastOffset, error } = await readFetch(Buffer.concat([good(0n), bytes]))
    // What can be read of the batch before its damage may be handed out too.
    expect(events.map(({ offset }) => offset).slice(0, 2)).toEqual([0n, 1n])
    expect(lastOffset! >= 1n && lastOffset! <= 2n).toBe(true)
    expect(isForebayError(error, 'FB_EVENT_LOG_UNREADABLE')).toBe(true)
    expect(error!.message).toContain(sentence)
    expect(error!.message).toMatch(/at offset 2 of partition 3/)
  }

  it('in any bit is told by its checksum, and what came before it is handed out', async () => {
    const bytes = good(2n)
    for (let at = 17; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1 << (at % 8)
      await refused(changed, 'its checksum is wrong')
    }
  })

  it('in its length, its format or its codec is refused', async () => {
    const at = (place: number, value: number) => {
      const bytes = good(2n)
      bytes.writeInt32BE(value, place)
      return bytes
    }
    for (const length of [0, -1, 48, -(2 ** 31)]) await refused(at(8, length), `it says that it has ${length} bytes`)
    const format = good(2n)
    format.writeInt8(1, 16)
    await refused(format, 'message format 1, of Kafka before 0.11')
    await refused(batchBytes([{}], { firstOffset: 2n, attributes: 5 }), 'codec 5, which is not known')
    const { error } = await readFetch(at(8, 2 ** 31 - 1))
    expect(error!.message).toContain('less than the whole of it')
  })

  it('in what it says of its records is refused', async () => {
    const plain = recordBytes({ value: Buffer.from('v') })
    await refused(batchAround(plain, 2, { firstOffset: 2n }), 'it ends 1 records too early')
    await refused(batchAround(Buffer.concat([plain, plain]), 1, { firstOffset: 2n }), 'bytes are left behind its last record')
    await refused(
      batchAround(plain, 1, { firstOffset: 2n, count: 2 ** 31 - 1, lastOffsetDelta: 5 }),
      'it says that it has 2147483647 records',
    )
    await refused(batchAround(plain, 1, { firstOffset: 2n, count: -1 }), 'it says that it has -1 records')
    await refused(batchAround(plain, 1, { firstOffset: 2n, lastOffsetDelta: 2 ** 31 - 1, count: 2 ** 31 - 1 }), 'records too early')
    await refused(batchAround(Buffer.concat([plain, plain]), 2, { firstOffset: 2n }), 'a record has offset 2, not between')
    await refused(batchAround(recordBytes({ offsetDelta: 9 }), 1, { firstOffset: 2n }), 'a record has offset 11')
    const lengths = [varint(2 ** 31 - 1), varint(-5), varint(2n ** 40n), Buffer.alloc(20, 0xff), varint(3), varint(40)]
    for (const length of lengths)
      await refused(batchAround(Buffer.concat([length, plain.subarray(1)]), 1, { firstOffset: 2n }), 'cannot be read')
  })

  it('of forged bytes never hangs, crashes or invents records', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 40 }), fc.boolean(), async (bytes, count, isTiny) => {
        const limits = isTiny ? { portionBytesMax: 1, recordBytesMax: 4 } : roomy
        const { events, error } = await readFetch(batchAround(Buffer.from(bytes), count, { firstOffset: 2n }), { limits })
        expect(error === undefined || isForebayError(error, 'FB_EVENT_LOG_UNREADABLE')).toBe(true)
        expect(events.length).toBeLessThanOrEqual(count)
        for (const { key, value, headers } of events) {
          expect((key?.length ?? 0) + (value?.length ?? 0)).toBeLessThanOrEqual(bytes.length)
          try {
            expect(headers?.size ?? 0).toBeLessThanOrEqual(bytes.length)
          } catch (failure) {
            expect(isForebayError(failure, 'FB_BAD_EVENT')).toBe(true)
          }
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('in a whole response is never more than an error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        const { error } = await readFetch(Buffer.from(bytes))
        expect(bytes.length === 0 ? error : isForebayError(error, 'FB_EVENT_LOG_UNREADABLE')).toBe(bytes.length === 0 ? undefined : true)
      }),
    )
  })
})

describe('Times of records', () => {
  const timesOf = async (firstTimeMs: bigint, deltas: readonly bigint[], of: BatchToWrite = {}) => {
    const { events, clampedTimes, error } = await readFetch(
      batchBytes(
        deltas.map((timeDelta) => ({ timeDelta })),
        { firstTimeMs, ...of },
      ),
    )
    expect(error).toBeUndefined()
    return { times: events.map(({ timestampMs }) => timestampMs), clampedTimes }
  }
  const now = 1_700_000_000_123n
  const latest = 253_402_300_799_999

  it('are exact, whatever the first of the batch is', async () => {
    const before = -4_611_686_018_427_387_904n
    expect(await timesOf(before, [0n, now - before])).toEqual({ times: [0, Number(now)], clampedTimes: 1 })
    expect(await timesOf(2n ** 63n - 1n, [now - 2n ** 63n + 1n])).toEqual({ times: [Number(now)], clampedTimes: 0 })
    await fc.assert(
      fc.asyncProperty(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.bigInt(0n, BigInt(latest)), async (first, time) => {
        expect(await timesOf(first, [BigInt.asIntN(64, time - first)])).toEqual({ times: [Number(time)], clampedTimes: 0 })
      }),
    )
  })

  it('outside of what a time may be are moved to its nearer end, and counted', async () => {
    expect(await timesOf(-1n, [0n])).toEqual({ times: [0], clampedTimes: 1 })
    expect(await timesOf(now, [0n, now * 1_000_000n, 5n])).toEqual({ times: [Number(now), latest, Number(now) + 5], clampedTimes: 1 })
    expect(await timesOf(BigInt(latest), [0n, 1n])).toEqual({ times: [latest, latest], clampedTimes: 1 })
  })

  it("are the broker's where it stamps its records as they come in", async () => {
    const stamped = { attributes: 0x08, maxTimeMs: 1_800_000_000_000n }
    expect(await timesOf(now, [1n, 2n], stamped)).toEqual({ times: [1_800_000_000_000, 1_800_000_000_000], clampedTimes: 0 })
  })
})

it('reads a batch of half a million records', { timeout: 30_000 }, async () => {
  const count = 500_000
  const body = Buffer.concat(Array.from({ length: count }, (_, i) => recordBytes({ offsetDelta: i, value: Buffer.from('v') })))
  for (const [attributes, bytes] of [
    [0, body],
    [codecs.lz4, lz4.compressFrameSync(Buffer.from(body))],
  ] as const) {
    const { events, lastOffset, error } = await readFetch(batchAround(bytes, count, { attributes }))
    expect([error, events.length, lastOffset]).toEqual([undefined, count, BigInt(count - 1)])
  }
})
