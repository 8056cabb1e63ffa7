import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { bufferBytesWorstCase } from '../../src/node/memory-bound.ts'

const mebibyte = 1024 * 1024
/** The bound of one channel: what a node without it and with it may hold. */
const settings = { events: { kind: 'postgres', fetchBytesMax: 0 }, grid: { segmentBytesMax: 0, capacity: 20, queues: 1, mode: 'local' } }
const boundOf = (channels: number) => bufferBytesWorstCase(settings as unknown as Parameters<typeof bufferBytesWorstCase>[0], 1, channels)

it(
  '24 clients a second that never read, on a full channel that moves, leave the memory of a node within its bound',
  { timeout: 180_000 },
  async () => {
    const program = fileURLToPath(new URL('../support/push-memory.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program, '12'])
    const { empty, rssMax, keys, dropped } = JSON.parse(stdout) as Record<'empty' | 'rssMax' | 'keys' | 'clients' | 'dropped', number>
    expect(keys).toBeGreaterThan(10_000)
    expect(dropped).toBeGreaterThan(20)
    // Start refuses a bound above 80% of the memory there is: the rest is for the runtime and for what it has not collected yet.
    expect((rssMax - empty) / mebibyte).toBeLessThan((boundOf(1) - boundOf(0)) / mebibyte / 0.8)
  },
)
