import { describe, expect, it } from 'vitest'
import { eventsOf } from '../../src/events/kafka-fetched.ts'
import type { AbortedTransaction, FetchedBatchContext, FetchedMessage, FetchedPartition } from '../../src/events/kafka-fetched.ts'

const abort = 0
const commit = 1

/** The messages of one record batch. */
function batch(
  producerId: number,
  offsets: readonly number[],
  of: { last?: number; isPlain?: boolean; control?: number } = {},
): FetchedMessage[] {
  const { last = offsets.at(-1)!, isPlain = false, control } = of
  const batchContext: FetchedBatchContext = {
    firstOffset: String(offsets[0]),
    lastOffsetDelta: last - offsets[0]!,
    producerId: String(producerId),
    inTransaction: !isPlain,
  }
  const key = control === undefined ? null : Buffer.from([0, 0, 0, control])
  return offsets.map((offset) => ({
    offset: String(offset),
    timestamp: '0',
    key,
    value: null,
    isControlRecord: control !== undefined,
    batchContext,
  }))
}

function read(messages: readonly FetchedMessage[][], aborted: readonly [producerId: number, firstOffset: number][] = [], nextOffset = 0n) {
  const abortedTransactions = aborted.map(([producerId, firstOffset]): AbortedTransaction => {
    return { producerId: String(producerId), firstOffset: String(firstOffset) }
  })
  const fetched: FetchedPartition = {
    partition: 0,
    highWatermark: '100',
    lastStableOffset: '100',
    abortedTransactions,
    messages: messages.flat(),
  }
  const { events, lastOffset } = eventsOf(fetched, nextOffset)
  return { offsets: events.map(({ offset }) => Number(offset)), lastOffset: Number(lastOffset) }
}

describe('the events of a fetch', () => {
  it('begin at the offset that was asked for, wherever the record batch begins', () => {
    expect(read([batch(1, [3, 4, 5, 6])], [], 5n)).toEqual({ offsets: [5, 6], lastOffset: 6 })
  })

  it('pass a compacted end of a record batch', () => {
    expect(read([batch(1, [0, 1], { last: 4 })])).toEqual({ offsets: [0, 1], lastOffset: 4 })
  })

  it('leave out an aborted transaction up to its marker, and nothing of the same producer after it', () => {
    const messages = [batch(1, [0, 1]), batch(1, [2], { control: abort }), batch(1, [3, 4]), batch(1, [5], { control: commit })]
    expect(read(messages, [[1, 0]])).toEqual({ offsets: [3, 4], lastOffset: 5 })
  })

  it('of two transactions that overlap leave out the aborted one only, and the marker of the other ends nothing', () => {
    const messages = [batch(1, [0]), batch(2, [1]), batch(2, [2], { control: commit }), batch(1, [3]), batch(1, [4], { control: abort })]
    expect(read(messages, [[1, 0]])).toEqual({ offsets: [1], lastOffset: 4 })
  })

  it('leave out every aborted transaction, also where the broker lists first what ended first', () => {
    const messages = [
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
    expect(read(messages, byTheirEnds)).toEqual({ offsets: [4], lastOffset: 4 })
  })

  it('hold what a producer wrote outside of its aborted transaction', () => {
    expect(read([batch(1, [0]), batch(1, [1], { isPlain: true })], [[1, 0]])).toEqual({ offsets: [1], lastOffset: 1 })
  })

  it('hold what lies before the beginning of an aborted transaction, and not its first batch of one record', () => {
    const messages = [batch(1, [0, 1]), batch(1, [2], { control: commit }), batch(1, [3]), batch(1, [4], { control: abort })]
    expect(read(messages, [[1, 3]])).toEqual({ offsets: [0, 1], lastOffset: 4 })
  })
})
