/**
 * A process of its own: reads a gzip batch of three records of 400 MB of one letter between small ones, and prints what came of it
 * with the highest resident size, as JSON.
 */
import { createGzip } from 'node:zlib'
import { batchAround, codecs, readFetch, recordBytes, varint } from '../support/kafka-batch.ts'

const largeBytes = 400_000_000
const step = Buffer.alloc(1_000_000, 'a')

async function* pieces(): AsyncGenerator<Buffer> {
  for (let i = 0; i < 7; i++) {
    if (i % 2 === 0) {
      yield recordBytes({ offsetDelta: i, value: Buffer.from(`small ${i}`) })
      continue
    }
    const fields = Buffer.concat([Buffer.alloc(1), varint(0), varint(i), varint(-1), varint(largeBytes)])
    yield Buffer.concat([varint(fields.length + largeBytes + 1), fields])
    for (let left = largeBytes; left > 0; left -= step.length) yield step
    yield varint(0)
  }
}

const gzip = createGzip()
const compressed: Buffer[] = []
gzip.on('data', (bytes: Buffer) => compressed.push(bytes))
for await (const piece of pieces()) if (!gzip.write(piece)) await new Promise((resolve) => gzip.once('drain', resolve))
await new Promise((resolve) => gzip.end(resolve))
const batch = batchAround(Buffer.concat(compressed), 7, { attributes: codecs.gzip })
const limits = { portionBytesMax: 2 << 20, recordBytesMax: (1 << 20) + 65_536 }
const before = process.resourceUsage().maxRSS
const { events, error } = await readFetch(batch, { limits })
const sizes = events.map(({ value, oversizeBytes }) => oversizeBytes ?? value!.length)
process.stdout.write(
  JSON.stringify({ batchBytes: batch.length, sizes, error: error?.message, before, after: process.resourceUsage().maxRSS }),
)
