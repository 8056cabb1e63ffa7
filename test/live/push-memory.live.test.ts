import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { channelBytesMax } from '../../src/sinks/web-socket/latest-values.ts'

const mebibyte = 1024 * 1024

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
    expect((rssMax - empty) / mebibyte).toBeLessThan(channelBytesMax / mebibyte / 0.8)
  },
)
