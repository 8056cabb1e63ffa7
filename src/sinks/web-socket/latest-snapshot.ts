/**
 * The grid's copy of the latest values, for nodes that start later: written behind, a few times a second, and put right
 * again when the grid has lost it.
 *
 * Boundary: it knows one map of the grid and the node's own values. The map is a hint: any of its entries may vanish or be
 * older than what nodes hold. `changed` marks a key that this node applied itself; `write` puts marked keys, at most
 * `putsMax` a call; `reconcile` looks at the whole map, takes what is newer there and marks what is missing or older.
 */
import type { JobGrid } from '../../grid/job-grid.ts'
import { isNewer, type LatestValue, type LatestValues } from './latest-values.ts'
import { decodeLatest, encodeLatest, type LatestSeal } from './latest-wire.ts'

const putsMax = 500
const putsAtOnce = 16

export interface LatestSnapshotOptions {
  readonly grid: JobGrid
  readonly map: string
  /** Key of the HMAC on every value. */
  readonly secret: string
  readonly values: LatestValues
  /** Takes a value found in the map. */
  readonly apply: (key: string, value: LatestValue) => void
  readonly onForeign: () => void
}

export class LatestSnapshot {
  readonly #options: LatestSnapshotOptions
  readonly #seal: LatestSeal
  readonly #dirty = new Set<string>()
  /** Offsets at which the map was behind at the last look: another node may just be about to write them. */
  #behind = new Map<string, bigint>()

  constructor(options: LatestSnapshotOptions) {
    this.#options = options
    this.#seal = { secret: options.secret, place: options.map }
  }

  changed(key: string): void {
    this.#dirty.add(key)
  }

  /** Puts marked keys. Those that the grid did not take stay marked, and the first failure is thrown. */
  async write(): Promise<void> {
    const { grid, map, values } = this.#options
    const keys = firstOf(this.#dirty, putsMax)
    for (let from = 0; from < keys.length; from += putsAtOnce) {
      const some = keys.slice(from, from + putsAtOnce)
      for (const key of some) this.#dirty.delete(key)
      const results = await Promise.allSettled(some.map((key) => grid.put(map, key, encodeLatest(this.#seal, key, values.get(key)!))))
      results.forEach((result, index) => result.status === 'rejected' && this.#dirty.add(some[index]!))
      const failed = results.find((result) => result.status === 'rejected')
      if (failed) throw failed.reason
    }
  }

  /** Merges the map and the node's values both ways. */
  async reconcile(): Promise<void> {
    const { grid, map, values, apply, onForeign } = this.#options
    const stored = await grid.entries(map)
    const found = new Map<string, LatestValue>()
    for (const [key, text] of stored) {
      const value = decodeLatest(this.#seal, key, text)
      if (!value) onForeign()
      else {
        found.set(key, value)
        apply(key, value)
      }
    }
    const behind = new Map<string, bigint>()
    for (const [key, value] of values.entries()) {
      const there = found.get(key)
      if (value.offset < 0n) continue
      if (!there || this.#behind.get(key) === there.offset) {
        if (!there || isNewer(value, there)) this.#dirty.add(key)
      } else if (isNewer(value, there)) behind.set(key, there.offset)
    }
    this.#behind = behind
  }
}

function firstOf(keys: ReadonlySet<string>, countMax: number): string[] {
  const first: string[] = []
  for (const key of keys) {
    if (first.length === countMax) break
    first.push(key)
  }
  return first
}
