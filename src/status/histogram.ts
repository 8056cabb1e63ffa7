/**
 * Counts of whole milliseconds, small enough to keep one for each task and to send over HTTP.
 *
 * Buckets are log-linear: one a millisecond below 1,024 ms, above that 128 for each doubling, so that a bucket is never
 * wider than 0.8% of its value. Recording touches one array cell and allocates nothing. The layout is fixed, so that
 * histograms of several nodes can be merged.
 */
import { assert } from '../assert.ts'

const exactBits = 10
const exactMax = 1 << exactBits
const subBuckets = 128
const doublings = 22
const bucketCount = exactMax + doublings * subBuckets

/** A histogram on the wire. `buckets` holds [lowest value of the bucket in ms, count] of each bucket in use, ascending. */
export interface HistogramJson {
  readonly count: number
  readonly sumMs: number
  readonly maxMs: number
  readonly buckets: readonly (readonly [number, number])[]
}

export class Histogram {
  readonly #counts = new Float64Array(bucketCount)
  #count = 0
  #sumMs = 0
  #maxMs = 0

  get count(): number {
    return this.#count
  }

  get sumMs(): number {
    return this.#sumMs
  }

  /** The greatest value recorded, 0 when there is none. */
  get maxMs(): number {
    return this.#maxMs
  }

  /** Records `valueMs` (rounded; below 0 counts as 0: clocks of two machines differ) `count` times. */
  record(valueMs: number, count = 1): void {
    const value = valueMs > 0 ? Math.round(valueMs) : 0
    const bucket = bucketOf(value)
    this.#counts[bucket] = this.#counts[bucket]! + count
    this.#count += count
    this.#sumMs += value * count
    if (value > this.#maxMs) this.#maxMs = value
  }

  /** The value that `percent` (0 to 100) of the recorded values do not exceed, or null when nothing was recorded. */
  percentile(percent: number): number | null {
    if (this.#count === 0) return null
    const wanted = Math.max(1, Math.ceil((percent / 100) * this.#count))
    let seen = 0
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.#counts[bucket]!
      if (seen >= wanted) return Math.min(lowestOf(bucket + 1) - 1, this.#maxMs)
    }
    return this.#maxMs
  }

  /** How many of the recorded values are at most `valueMs`, to the width of a bucket. */
  countUpTo(valueMs: number): number {
    const last = bucketOf(Math.floor(valueMs))
    let sum = 0
    for (let bucket = 0; bucket <= last; bucket++) sum += this.#counts[bucket]!
    return sum
  }

  /** Adds what `other` holds. */
  merge(other: Histogram): void {
    other.#counts.forEach((count, bucket) => {
      if (count > 0) this.#counts[bucket] = this.#counts[bucket]! + count
    })
    this.#count += other.#count
    this.#sumMs += other.#sumMs
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs)
  }

  /** What was recorded after `earlier`, an older state of this histogram, was taken. Its maximum is that of the whole. */
  since(earlier: Histogram): Histogram {
    const recent = new Histogram()
    this.#counts.forEach((count, bucket) => {
      recent.#counts[bucket] = Math.max(0, count - earlier.#counts[bucket]!)
      recent.#count += recent.#counts[bucket]!
    })
    recent.#sumMs = Math.max(0, this.#sumMs - earlier.#sumMs)
    recent.#maxMs = recent.#count === 0 ? 0 : this.#maxMs
    return recent
  }

  toJSON(): HistogramJson {
    const buckets: [number, number][] = []
    this.#counts.forEach((count, bucket) => {
      if (count > 0) buckets.push([lowestOf(bucket), count])
    })
    return { count: this.#count, sumMs: this.#sumMs, maxMs: this.#maxMs, buckets }
  }

  /** Throws FB_INTERNAL when `json` was not made by `toJSON`. */
  static fromJSON(json: HistogramJson): Histogram {
    const histogram = new Histogram()
    for (const [lowestMs, count] of json.buckets) {
      assert(lowestMs >= 0 && count > 0, 'a histogram bucket has a value and a count')
      const bucket = bucketOf(lowestMs)
      histogram.#counts[bucket] = histogram.#counts[bucket]! + count
      histogram.#count += count
    }
    assert(histogram.#count === json.count, 'the buckets of a histogram add up to its count')
    histogram.#sumMs = json.sumMs
    histogram.#maxMs = json.maxMs
    return histogram
  }
}

function bucketOf(value: number): number {
  if (value < exactMax) return value
  const exponent = Math.floor(Math.log2(value))
  // log2 of a value just below a power of two may round up to it.
  const doubling = (2 ** exponent > value ? exponent - 1 : exponent) - exactBits
  if (doubling >= doublings) return bucketCount - 1
  const step = exactMax / subBuckets
  return exactMax + doubling * subBuckets + Math.floor(value / 2 ** doubling / step) - subBuckets
}

/** The lowest value that falls into `bucket`. */
function lowestOf(bucket: number): number {
  if (bucket < exactMax) return bucket
  const doubling = Math.floor((bucket - exactMax) / subBuckets)
  const sub = (bucket - exactMax) % subBuckets
  return (subBuckets + sub) * (exactMax / subBuckets) * 2 ** doubling
}
