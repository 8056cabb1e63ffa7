import { createRequire } from 'node:module'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeFetch } from '../../src/events/kafka-fetch-decoder.ts'
import { eventsOf } from '../../src/events/kafka-fetched.ts'
import { readRecords } from '../../src/events/kafka-records.ts'

/** The encoder and the decoder of kafkajs, which is the reference here. */
const load = createRequire(import.meta.url)
const RecordBatch = (load('kafkajs/src/protocol/recordBatch/v0/index.js') as { RecordBatch: (of: object) => Promise<Encoded> }).RecordBatch
const Record = load('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (of: object) => unknown
const kafkajs = load('kafkajs/src/protocol/requests/fetch/v11/response.js') as { decode(bytes: Buffer): Promise<ReferenceResponse> }

interface Encoded {
  readonly buffer: Buffer
}

interface ReferenceMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly isControlRecord: boolean
  readonly batchContext: { firstOffset: string; lastOffsetDelta: number; producerId: string; inTransaction: boolean }
}

interface ReferenceResponse {
  readonly responses: readonly { readonly partitions: readonly { readonly messages: readonly ReferenceMessage[] }[] }[]
}

interface Message {
  readonly key: string | null
  readonly value: string | null
  readonly deltaMs: number
  readonly headers: Record<string, string>
}

async function batchOf(messages: readonly Message[], { firstOffset = 0, compression = 0, transactional = false } = {}): Promise<Buffer> {
  const records = messages.map(({ key, value, deltaMs, headers }, offsetDelta) =>
    Record({ offsetDelta, timestampDelta: deltaMs, key, value, headers }),
  )
  const { buffer } = await RecordBatch({
    compression,
    firstOffset,
    firstTimestamp: 1_700_000_000_000,
    maxTimestamp: 1_700_000_000_000 + Math.max(...messages.map(({ deltaMs }) => deltaMs)),
    producerId: 7,
    producerEpoch: 0,
    firstSequence: 0,
    lastOffsetDelta: messages.length - 1,
    transactional,
    records,
  })
  return Buffer.from(buffer)
}

/** A fetch response of one partition. */
function responseOf(recordSet: Buffer, aborted: readonly { producerId: bigint; firstOffset: bigint }[] = []): Buffer {
  const head = Buffer.alloc(4 + 2 + 4 + 4 + 2 + 6 + 4 + 4 + 2 + 24 + 4 + aborted.length * 16 + 4 + 4)
  let at = head.writeInt32BE(0, 0)
  at = head.writeInt16BE(0, at)
  at = head.writeInt32BE(0, at)
  at = head.writeInt32BE(1, at)
  at = head.writeInt16BE(6, at)
  at += head.write('trades', at)
  at = head.writeInt32BE(1, at)
  at = head.writeInt32BE(3, at)
  at = head.writeInt16BE(0, at)
  for (const offset of [90n, 80n, 5n]) at = head.writeBigInt64BE(offset, at)
  at = head.writeInt32BE(aborted.length, at)
  for (const { producerId, firstOffset } of aborted) at = head.writeBigInt64BE(firstOffset, head.writeBigInt64BE(producerId, at))
  at = head.writeInt32BE(-1, at)
  head.writeInt32BE(recordSet.length, at)
  return Buffer.concat([head, recordSet])
}

const messageArbitrary = fc.record({
  key: fc.option(fc.string({ maxLength: 200 })),
  value: fc.option(fc.string({ maxLength: 2000 })),
  deltaMs: fc.integer({ min: -5, max: 2 ** 40 }),
  headers: fc.dictionary(fc.string({ minLength: 1, maxLength: 5 }), fc.string({ maxLength: 5 }), { noNullPrototype: true }),
})

describe('The decoder of fetches', () => {
  it('reads what kafkajs reads, record by record', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(messageArbitrary, { minLength: 1, maxLength: 40 }), fc.boolean()), { maxLength: 4 }),
        fc.nat(200),
        async (batches, cut) => {
          let firstOffset = 1000
          const parts: Buffer[] = []
          for (const [messages, transactional] of batches) {
            parts.push(await batchOf(messages, { firstOffset, transactional }))
            firstOffset += messages.length + 3
          }
          const whole = Buffer.concat(parts)
          // A broker cuts its answer off in the middle of a batch. kafkajs fails on less than the byte of the format.
          const kept = whole.length - cut < 17 ? 0 : whole.length - cut
          const bytes = responseOf(whole.subarray(0, kept), [{ producerId: 7n, firstOffset: 1001n }])
          const reference = (await kafkajs.decode(bytes)).responses[0]!.partitions[0]!
          const found = decodeFetch(bytes)!.responses[0]!.partitions[0]!
          expect({ ...found, messages: [], bytes: 0, lastOffset: undefined }).toEqual({ ...reference, messages: [], bytes: 0 })
          expect(found.messages.map(plain)).toEqual(reference.messages.map(plain))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('leaves compressed batches and older formats to kafkajs', async () => {
    const gzip = 1
    const message = { key: 'k', value: 'v', deltaMs: 0, headers: {} }
    expect(decodeFetch(responseOf(await batchOf([message], { compression: gzip })))).toBeNull()
    const old = await batchOf([message])
    old.writeInt8(1, 16)
    expect(decodeFetch(responseOf(old))).toBeNull()
  })

  it('refuses a record whose lengths reach beyond its batch', async () => {
    const bytes = await batchOf([{ key: 'key', value: 'value', deltaMs: 0, headers: {} }])
    const keyLength = bytes.indexOf('key') - 1
    bytes[keyLength] = 0x7e
    expect(() => readRecords(bytes, 0, bytes.length)).toThrow(/damaged/)
  })

  it('refuses a record whose fields reach beyond its own length', async () => {
    const bytes = await batchOf([{ key: 'key', value: 'value', deltaMs: 0, headers: {} }])
    const recordLength = 61
    expect(bytes[recordLength]).toBe(2 * (bytes.length - recordLength - 1))
    bytes[recordLength] = 2 * 6
    expect(() => readRecords(bytes, 0, bytes.length)).toThrow(/damaged/)
  })

  it('passes a record batch of which compaction left no record', async () => {
    const message = { key: 'k', value: 'v', deltaMs: 0, headers: {} }
    const full = await batchOf([message, message], { firstOffset: 20 })
    const emptied = (await batchOf([message, message, message], { firstOffset: 30 })).subarray(0, 61)
    emptied.writeInt32BE(61 - 12, 8)
    emptied.writeInt32BE(0, 57)
    const passed = (recordSet: Buffer, nextOffset: bigint) => {
      const { events, lastOffset } = eventsOf(decodeFetch(responseOf(recordSet))!.responses[0]!.partitions[0]!, nextOffset)
      return [events.map(({ offset }) => offset), lastOffset]
    }
    expect(passed(emptied, 25n)).toEqual([[], 32n])
    expect(passed(Buffer.concat([full, emptied]), 21n)).toEqual([[21n], 32n])
    expect(passed(Buffer.concat([full, emptied.subarray(0, 60)]), 21n)).toEqual([[21n], 21n])
    expect(passed(Buffer.alloc(0), 25n)).toEqual([[], 24n])
  })

  it('takes the time of the batch where the broker stamps its records as they come in', async () => {
    const bytes = await batchOf([1, 2].map((deltaMs) => ({ key: 'k', value: 'v', deltaMs, headers: {} })))
    expect(readRecords(bytes, 0, bytes.length)!.map(({ timestampMs }) => timestampMs)).toEqual([1_700_000_000_001, 1_700_000_000_002])
    bytes.writeInt16BE(bytes.readInt16BE(21) | 0x08, 21)
    bytes.writeBigInt64BE(1_800_000_000_000n, 35)
    expect(readRecords(bytes, 0, bytes.length)!.map(({ timestampMs }) => timestampMs)).toEqual([1_800_000_000_000, 1_800_000_000_000])
  })
})

function plain({ offset, key, value, isControlRecord, batchContext, ...times }: { [Name in keyof ReferenceMessage]?: unknown } & object) {
  const { timestamp, timestampMs } = times as { timestamp?: string; timestampMs?: number }
  const { firstOffset, lastOffsetDelta, producerId, inTransaction } = batchContext as ReferenceMessage['batchContext']
  const batch = { firstOffset, lastOffsetDelta, producerId, inTransaction }
  return { offset: String(offset), timeMs: timestampMs ?? Number(timestamp), key, value, isControlRecord, batch }
}
