import { assert } from '../assert.ts'
import type { Sized } from './measurements.ts'

/**
 * What something of `size` takes at quantile `share`: in proportion between the two measured sizes around it; beyond the largest it
 * grows as over the last step, below the smallest it is what the smallest took.
 */
export function timeAt(series: readonly Sized[], size: number, share: number): number {
  return timeOf(series, size, ({ ms }) => ms.at(share))
}

export function meanTimeAt(series: readonly Sized[], size: number): number {
  return timeOf(series, size, ({ ms }) => ms.mean)
}

/** Most of what was measured that goes through in a second, at sizes up to `sizeMax` where one was measured; flushes follow each other at once. */
export function ratePerSecond(series: readonly Sized[], sizeMax: number): number {
  const within = series.filter(({ size }) => size <= sizeMax)
  const sizes = (within.length > 0 ? within : series.slice(0, 1)).map(({ size }) => size)
  return Math.max(...sizes.map((size) => rateAt(series, size)))
}

/** Of `size`, through in a second. */
export function rateAt(series: readonly Sized[], size: number): number {
  return (size * 1000) / Math.max(meanTimeAt(series, size), 1e-6)
}

function timeOf(series: readonly Sized[], size: number, valueOf: (sized: Sized) => number): number {
  assert(series.length > 0, 'a series has at least one size')
  const next = series.findIndex((sized) => sized.size >= size)
  if (next === 0 || series.length === 1) return valueOf(series[0]!) * (series.length === 1 ? Math.max(1, size / series[0]!.size) : 1)
  const [below, above] = next < 0 ? series.slice(-2) : series.slice(next - 1, next + 1)
  const from = valueOf(below!)
  const slope = (valueOf(above!) - from) / (above!.size - below!.size)
  // Noise may make the larger one faster; nothing gets cheaper for ever.
  return Math.max(next < 0 ? valueOf(above!) : 0, from + slope * (size - below!.size))
}
