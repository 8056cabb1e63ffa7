/** Fills the real buffers of a node and compares what the process holds then with the factors of the computed bound. */
import { createRequire } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { readRecords } from '../../src/events/kafka-records.ts'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import { QueueOutbox } from '../../src/ingest/queue-outbox.ts'
import { bufferBytesWorstCase } from '../../src/node/memory-bound.ts'
import { TaskInbox } from '../../src/work/task-inbox.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const segmentBytes = 128 * 1024
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
  kept.value = fill()
  kept.value = undefined
  const before = await held()
  kept.value = fill()
  const bytes = (await held()) - before
  kept.value = undefined
  return bytes
}

/** The bound of one partition with one queue. */
function grown(grid: { segmentBytesMax: number; capacity: number }, fetchBytesMax: number): number {
  const settings = { events: { kind: 'postgres', fetchBytesMax }, grid: { ...grid, queues: 1 } }
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
  it('covers a fetch with its records', async () => {
    const bytesMax = 4 * 1024 * 1024
    const batch = await batchOfEvents(1000, 128)
    const fill = () => {
      const bytes = Buffer.concat(Array.from({ length: Math.floor(bytesMax / batch.length) }, () => batch))
      return readRecords(bytes, 0, bytes.length)
    }
    // Of the 5.5 fetches that are counted for a partition 2.25 are such a one: its bytes and the objects of its events.
    expect(await measured(fill)).toBeLessThan((grown({ segmentBytesMax: 0, capacity: 144 }, bytesMax) * 2.25) / 5.5)
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
    expect(bytes).toBeLessThan(grown({ segmentBytesMax: segmentBytes, capacity: 144 }, 0))
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

/** A record batch as a producer sends it. */
async function batchOfEvents(count: number, valueBytes: number): Promise<Buffer> {
  const load = createRequire(import.meta.url)
  const { RecordBatch } = load('kafkajs/src/protocol/recordBatch/v0/index.js') as {
    RecordBatch: (of: object) => Promise<{ buffer: Buffer }>
  }
  const record = load('kafkajs/src/protocol/recordBatch/record/v0/index.js') as (of: object) => unknown
  const records = Array.from({ length: count }, (_, offsetDelta) =>
    record({ offsetDelta, timestampDelta: offsetDelta, key: 'SPY', value: 'v'.repeat(valueBytes), headers: { line: '1' } }),
  )
  return Buffer.from((await RecordBatch({ lastOffsetDelta: count - 1, firstOffset: 0, records })).buffer)
}
