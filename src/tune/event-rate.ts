/** Rates out of the times of events. Pure. */
import { Quantiles } from './quantiles.ts'

const bucketMs = 100
/** Shorter spans tell no bursts. */
const bucketsLeast = 10

/** Events in each whole second between the first and the last of them. */
export function countsPerSecond(timesMs: readonly number[]): number[] {
  const counts = bucketCounts(timesMs, 1000)
  // The first and the last second are not whole.
  return counts.length > 2 ? counts.slice(1, -1) : []
}

/**
 * By events: the rate of the tenth of a second in which each came, as a multiple of the mean of the time in which all `streams`
 * have events; 1 when they are too few to tell.
 */
export function burstOf(streams: readonly (readonly number[])[]): Quantiles {
  const filled = streams.filter((times) => times.length > 1)
  const from = filled.reduce((latest, times) => Math.max(latest, least(times)), -Infinity)
  const to = filled.reduce((earliest, times) => Math.min(earliest, most(times)), Infinity)
  const counts = bucketCounts(
    filled.flat().filter((timeMs) => timeMs >= from && timeMs <= to),
    bucketMs,
  )
  if (counts.length < bucketsLeast) return new Quantiles([1])
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
  return new Quantiles(counts.flatMap((count) => new Array<number>(count).fill(count / mean)))
}

function bucketCounts(timesMs: readonly number[], widthMs: number): number[] {
  if (timesMs.length === 0) return []
  const first = Math.floor(least(timesMs) / widthMs)
  const length = Math.floor(most(timesMs) / widthMs) - first + 1
  // A recording with a gap of days has no rate worth telling.
  if (length > 100_000) return []
  const counts = new Array<number>(length).fill(0)
  for (const timeMs of timesMs) counts[Math.floor(timeMs / widthMs) - first]!++
  return counts
}

function least(times: readonly number[]): number {
  return times.reduce((a, b) => Math.min(a, b), Infinity)
}

function most(times: readonly number[]): number {
  return times.reduce((a, b) => Math.max(a, b), -Infinity)
}
