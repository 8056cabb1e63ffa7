import { expect, it, vi } from 'vitest'
import { keepLetters } from '../../src/node/letter-upkeep.ts'
import { SystemClock } from '../../src/schedule/clock.ts'

it('lets letters go once an hour, and at once again while a statement was full', async () => {
  vi.useFakeTimers()
  try {
    const stop = new AbortController()
    const forgotten = [1000, 3, 0]
    const asked: [number, bigint][][] = []
    const ports = {
      clock: new SystemClock(),
      log: { range: async (partition: number) => ({ startOffset: BigInt(partition * 10), endOffset: 99n }) },
      forget: async (starts: ReadonlyMap<number, bigint>) => (asked.push([...starts]), forgotten.shift() ?? 0),
    }
    const keeping = keepLetters(ports, 2, stop.signal)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(asked).toEqual([
      [
        [0, 0n],
        [1, 10n],
      ],
    ])
    await vi.advanceTimersByTimeAsync(1000)
    expect(asked).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(3_599_000)
    expect(asked).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(1000)
    expect(asked).toHaveLength(3)
    stop.abort()
    await keeping
  } finally {
    vi.useRealTimers()
  }
})
