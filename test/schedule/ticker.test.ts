import { expect, test } from 'vitest'
import type { Clock } from '../../src/schedule/clock.ts'
import { Ticker } from '../../src/schedule/ticker.ts'

/** Time that passes only in sleeps, at once. */
class LeapingClock implements Clock {
  nowMs = 0

  now(): number {
    return this.nowMs
  }

  wallMs(): number {
    return this.nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (!signal?.aborted) this.nowMs += ms
    return Promise.resolve()
  }
}

const signal = new AbortController().signal

test('ticks stay on the grid of their start', async () => {
  const clock = new LeapingClock()
  const ticker = new Ticker(clock, 15)
  const seen: number[] = []
  for (let i = 0; i < 3; i++) {
    await ticker.next(signal)
    seen.push(clock.nowMs)
    clock.nowMs += 4
  }
  expect(seen).toEqual([15, 30, 45])
})

test('early ticks do not put off the next one that is due', async () => {
  const clock = new LeapingClock()
  const ticker = new Ticker(clock, 1000)
  for (let i = 0; i < 20; i++) {
    ticker.wake()
    expect(await ticker.next(signal)).toBeUndefined()
  }
  await ticker.next(signal)
  expect(clock.nowMs).toBe(1000)
})

test('a late tick tells how late it came and is not made up for', async () => {
  const clock = new LeapingClock()
  const ticker = new Ticker(clock, 10)
  clock.nowMs = 47
  expect(await ticker.next(signal)).toBe(37)
  expect(await ticker.next(signal)).toBe(0)
  expect(clock.nowMs).toBe(47)
  await ticker.next(signal)
  expect(clock.nowMs).toBe(57)
})

test('a rest ends at a stir, and the next tick is the next on the grid', async () => {
  const clock = new LeapingClock()
  const ticker = new Ticker(clock, 10)
  clock.sleep = () => {
    // Something to do comes meanwhile.
    if (clock.nowMs === 0) {
      clock.nowMs = 234
      ticker.stir()
    } else clock.nowMs = 240
    return Promise.resolve()
  }
  await ticker.rest(signal)
  expect(clock.nowMs).toBe(234)
  expect(await ticker.next(signal)).toBe(0)
  expect(clock.nowMs).toBe(240)
})

test('a stir without a rest is nothing, and a wake ends the rest and the wait', async () => {
  const clock = new LeapingClock()
  const ticker = new Ticker(clock, 10)
  ticker.stir()
  clock.sleep = () => {
    clock.nowMs = 1003
    ticker.wake()
    return Promise.resolve()
  }
  await ticker.rest(signal)
  expect(await ticker.next(signal)).toBeUndefined()
  expect(clock.nowMs).toBe(1003)
})
