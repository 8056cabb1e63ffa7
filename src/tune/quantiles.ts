import { assert } from '../assert.ts'

/** Measured values, asked for by their share: `at(0.5)` is the median. Immutable. */
export class Quantiles {
  readonly #sorted: readonly number[]

  constructor(values: readonly number[]) {
    assert(values.length > 0 && values.every(Number.isFinite), 'quantiles are of at least one number')
    this.#sorted = values.toSorted((a, b) => a - b)
  }

  get count(): number {
    return this.#sorted.length
  }

  get mean(): number {
    return this.#sorted.reduce((sum, value) => sum + value, 0) / this.count
  }

  /** The value that `share` (0 to 1) of all do not exceed, between two values in proportion. */
  at(share: number): number {
    const place = Math.min(1, Math.max(0, share)) * (this.count - 1)
    const below = this.#sorted[Math.floor(place)]!
    const above = this.#sorted[Math.ceil(place)]!
    return below + (above - below) * (place - Math.floor(place))
  }
}
