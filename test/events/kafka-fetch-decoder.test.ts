import { createRequire } from 'node:module'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeFetch } from '../../src/events/kafka-fetch-decoder.ts'
import { batchBytes, readFetch, responseOf, transactional } from '../support/kafka-batch.ts'

/** The decoder of kafkajs, which is the reference here. */
const load = createRequire(import.meta.url)
const kafkajs = load('kafkajs/src/protocol/requests/fetch/v11/response.js') as { decode(bytes: Buffer): Promise<ReferenceResponse> }

interface ReferenceMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer>>
}

interface ReferenceResponse {
  readonly responses: readonly {
    readonly partitions: readonly { readonly errorCode: number; readonly messages: readonly ReferenceMessage[] }[]
  }[]
}

const bytesArbitrary = (maxLength: number) => fc.option(fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes)))
const recordArbitrary = fc.record({
  key: bytesArbitrary(200),
  value: bytesArbitrary(2000),
  timeDelta: fc.bigInt(-5n, 2n ** 40n),
  headers: fc.uniqueArray(
    fc.tuple(
      fc.stringMatching(/^[a-z]{1,5}$/),
      fc.uint8Array({ maxLength: 5 }).map((bytes) => Buffer.from(bytes)),
    ),
    {
      selector: ([name]) => name,
      maxLength: 3,
    },
  ),
})

describe('The decoder of fetches', () => {
  it('reads what kafkajs reads, record by record', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(recordArbitrary, { minLength: 1, maxLength: 40 }), fc.boolean()), { maxLength: 4 }),
        fc.nat(200),
        async (batches, cut) => {
          let firstOffset = 1000n
          const parts: Buffer[] = []
          for (const [records, isTransactional] of batches) {
            parts.push(batchBytes(records, { firstOffset, attributes: isTransactional ? transactional : 0 }))
            firstOffset += BigInt(records.length + 3)
          }
          const whole = Buffer.concat(parts)
          // A broker cuts its answer off in the middle of a batch, but never of the first.
          const kept = whole.length - cut < (parts[0]?.length ?? 0) ? whole.length : whole.length - cut
          const records = whole.subarray(0, kept)
          const reference = (await kafkajs.decode(responseOf(records))).responses[0]!.partitions[0]!
          const { events } = await readFetch(records)
          const plain = events.map(({ offset, timestampMs, key, value, headers }) => ({
            offset: String(offset),
            timestamp: String(timestampMs),
            key,
            value,
            headers: Object.fromEntries(headers ?? []),
          }))
          expect(plain).toEqual(
            reference.messages.map(({ offset, timestamp, key, value, headers }) => ({ offset, timestamp, key, value, headers })),
          )
        },
      ),
      { numRuns: 60 },
    )
  })

  it('leaves the errors of a response to kafkajs', () => {
    const bytes = responseOf(Buffer.alloc(0))
    const errorAt = bytes.length - 4 - 4 - 4 - 24 - 2
    bytes.writeInt16BE(29, errorAt)
    expect(decodeFetch(bytes).responses[0]!.partitions[0]).toMatchObject({ partition: 3, errorCode: 29 })
  })
})
