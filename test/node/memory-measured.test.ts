/** Fills the real buffers of a node and compares what the process holds then with the factors of the computed bound. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import lz4 from 'lz4-napi'
import { describe, expect, it } from 'vitest'
import { decodeFetch } from '../../src/events/kafka-fetch-decoder.ts'
import type { EventBatch } from '../../src/events/event-log.ts'
import { portionsOf } from '../../src/events/kafka-portions.ts'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import { QueueOutbox } from '../../src/ingest/queue-outbox.ts'
import { bufferBytesWorstCase } from '../../src/node/memory-bound.ts'
import { TaskInbox } from '../../src/work/task-inbox.ts'
import { batchBytes, codecs, responseOf } from '../support/kafka-batch.ts'
import type { BatchToWrite } from '../support/kafka-batch.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const segmentBytes = 128 * 1024
const eventBytes = 1024 * 1024
const head = { scope: 'd.p.t.1', partition: 0, queue: 0, owner: 'n', repair: 0 }
const tasks = ['storeTrade', 'minuteCandle']
const line = 'x'.repeat(50)

/** What the measured structures are held by. */
const kept: { value?: unknown } = {}

/** Bytes that what `fill` makes keeps in memory. */
async function measured(fill: () => unknown): Promise<number> {
  const held = async () => {
    for (let turn = 0; turn < 3; turn++) {
      // Buffers are let go of in a turn after the collection.
      await new Promise((resolve) => setImmediate(resolve))
      collect()
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  // What only the first time takes is not the buffers'.
  kept.value = await fill()
  kept.value = undefined
  const before = await held()
  kept.value = await fill()
  const bytes = (await held()) - before
  kept.value = undefined
  return bytes
}

/** The bound of one partition with one queue, its fetches aside. */
function grown(grid: { segmentBytesMax: number; capacity: number }): number {
  return boundOf({ kind: 'postgres', fetchBytesMax: 0 }, grid)
}

function boundOf(events: object, grid: { segmentBytesMax: number; capacity: number }): number {
  const settings = { events, grid: { ...grid, queues: 1 }, eventBytesMax: eventBytes }
  return bufferBytesWorstCase(settings as unknown as Parameters<typeof bufferBytesWorstCase>[0], 1)
}

function fullSegment(): Buffer {
  const count = Math.floor((segmentBytes - 1000) / tasks.length / (line.length + 9))
  const sections = tasks.map((task) => ({
    task,
    kind: 'job' as const,
    offsets: Array.from({ length: count }, (_, i) => BigInt(i + 1)),
    timesMs: Array.from({ length: count }, (_, i) => 1_700_000_000_000 + i),
    text: `${line}\n`.repeat(count),
  }))
  return encodeSegment({ ...head, lo: 0n, hi: BigInt(count) }, sections, 'secret')
}

describe('The computed bound', { timeout: 30_000 }, () => {
  const valuesOf: readonly (readonly [string, number, boolean])[] = [
    ['of 128 bytes', 128, false],
    ['of 128 bytes, compressed', 128, true],
    ['of one byte', 1, false],
    ['of one byte, compressed', 1, true],
    ['of 900 KiB, compressed', 900 * 1024, true],
  ]
  it.each(valuesOf)('covers two portions of a fetch with events %s', async (_what, valueBytes, isCompressed) => {
    const [fetchBytesMax, inflatedBytesMax] = [4 * 1024 * 1024, 2 * 1024 * 1024]
    const count = Math.ceil((valueBytes > 1000 ? 2 : 1) * (fetchBytesMax / (valueBytes + 20)))
    const value = Buffer.alloc(valueBytes, 'v')
    const of: BatchToWrite = isCompressed ? { attributes: codecs.lz4, compress: (body) => lz4.compressFrameSync(Buffer.from(body)) } : {}
    const response = responseOf(
      batchBytes(
        Array.from({ length: count }, () => ({ key: Buffer.from('SPY'), value })),
        of,
      ),
    )
    const limits = { portionBytesMax: inflatedBytesMax, recordBytesMax: eventBytes + 64 * 1024 }
    let told = 0
    const fill = async () => {
      const portions = portionsOf(decodeFetch(Buffer.from(response)).responses[0]!.partitions[0]!, 0n, limits, 'here')
      const batches = [(await portions.next()).value as EventBatch, (await portions.next()).value as EventBatch]
      told = batches.reduce((sum, { bytes }) => sum + (bytes ?? 0), response.length)
      return { portions, batches, buffers: batches.map(({ events }) => events.map(({ offset }) => offset)) }
    }
    const held = await measured(fill)
    // The library writes blocks of 4 MiB.
    const block = isCompressed ? 4 * 1024 * 1024 : 0
    expect(held).toBeLessThan(told + block + 128 * 1024)
    const events = { kind: 'kafka', fetchBytesMax, inflatedBytesMax }
    expect(told + block).toBeLessThan(boundOf(events, { segmentBytesMax: 0, capacity: 144 }))
  })

  it('covers a full window that waits in the inboxes', async () => {
    const segment = fullSegment()
    const windowSegments = 64
    const fill = () => {
      const inboxes = tasks.map((task) => new TaskInbox(task, 0n))
      for (let i = 0; i < windowSegments; i++) {
        const decoded = decodeSegment(Buffer.from(segment), 'secret')!
        for (const inbox of inboxes) inbox.push(decoded, 0n)
      }
      return inboxes
    }
    const bytes = await measured(fill)
    expect(bytes).toBeLessThan(windowSegments * segmentBytes * 1.2)
    expect(bytes).toBeGreaterThan(windowSegments * segmentBytes * 0.9)
    expect(bytes).toBeLessThan(grown({ segmentBytesMax: segmentBytes, capacity: 144 }))
  })

  it('covers the drafts of an owner', async () => {
    // Many queues, or what the test itself allocates would be a part of it.
    const queues = 8
    const template = tasks.map((task) => ({ task, kind: 'job' as const }))
    const fill = () =>
      Array.from({ length: queues }, (_, queue) => {
        const outbox = new QueueOutbox(queue, 0n, template, { linesBytesMax: segmentBytes, windowSegmentsMax: 64 })
        for (let offset = 1n; outbox.bufferedBytes < 2 * segmentBytes - 1000; offset++) {
          // As a converter makes them.
          const lines = tasks.map((_task, section) => ({ section, text: `${offset}`.padEnd(line.length, 'y') }))
          const bytes = lines.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 9, 0)
          outbox.add({ queue, lines, bytes }, offset, 1_700_000_000_000 + Number(offset), offset - 1n)
        }
        return outbox
      })
    // The open one and the one on its way; the encoded segment comes on top.
    expect((await measured(fill)) / (queues * 2 * segmentBytes)).toBeLessThan(4)
  })
})
