import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { bufferBytesWorstCase } from '../../src/node/memory-bound.ts'

it('reads a batch of a megabyte that inflates to 1.2 GB within the bound of one partition', { timeout: 60_000 }, async () => {
  const program = fileURLToPath(new URL('inflate-bomb.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program])
  const { sizes, error, before, after } = JSON.parse(stdout) as { sizes: number[]; error?: string; before: number; after: number }
  expect(error).toBeUndefined()
  expect(sizes).toEqual([7, 400_000_010, 7, 400_000_010, 7, 400_000_010, 7])
  const events = { kind: 'kafka', fetchBytesMax: 4 << 20, inflatedBytesMax: 2 << 20 }
  const settings = { events, eventBytesMax: 1 << 20, grid: { mode: 'local', queues: 1, capacity: 20, segmentBytesMax: 0 } }
  const bound = bufferBytesWorstCase(settings as unknown as Parameters<typeof bufferBytesWorstCase>[0], 1)
  // Resident pages of code and of the heap's own growth come on top.
  expect((after - before) * 1024).toBeLessThan(bound + 64 * 1024 * 1024)
})
