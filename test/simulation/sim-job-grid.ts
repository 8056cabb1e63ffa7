/**
 * The grid of a simulation: rings with a capacity that overwrite their oldest entries, and maps. It may lose, duplicate or
 * recreate anything at any time; the world decides when.
 */
import type { JobGrid, ReadOptions, RingEntries, RingTail, UnusedNames } from '../../src/grid/job-grid.ts'
import type { Wire } from './wire.ts'

export interface Ring {
  entries: Buffer[]
  /** Sequence of the first entry. */
  head: number
}

/** Who watches what goes into rings and what is gone from them. */
export interface GridWitness {
  appended(ring: string, entry: Buffer, standing: readonly Buffer[]): void
  removed(entry: Buffer, pushers?: readonly Buffer[]): void
  /** Took a sequence that the ring had given before it lost entries: readers may have passed it. */
  hidden(entry: Buffer): void
}

/** The grid itself: what all nodes see. */
export class SimGrid {
  readonly rings = new Map<string, Ring>()
  readonly maps = new Map<string, Map<string, string>>()
  readonly capacity: number
  /** Per node. */
  readonly listeners = new Map<number, Set<() => void>>()
  readonly witness: GridWitness
  /** The highest sequence each ring ever gave. */
  readonly #highest = new Map<string, number>()
  overwrites = 0

  constructor(capacity: number, witness: GridWitness) {
    this.capacity = capacity
    this.witness = witness
  }

  ring(name: string): Ring {
    let ring = this.rings.get(name)
    if (ring === undefined) this.rings.set(name, (ring = { entries: [], head: 0 }))
    return ring
  }

  append(name: string, entry: Buffer): number {
    const ring = this.ring(name)
    ring.entries.push(entry)
    if (ring.entries.length > this.capacity) {
      const oldest = ring.entries.shift()!
      ring.head++
      this.overwrites++
      this.witness.removed(oldest, ring.entries)
    }
    const sequence = ring.head + ring.entries.length - 1
    const highest = this.#highest.get(name) ?? -1
    if (sequence <= highest) this.witness.hidden(entry)
    else this.#highest.set(name, sequence)
    return sequence
  }

  map(name: string): Map<string, string> {
    let map = this.maps.get(name)
    if (map === undefined) this.maps.set(name, (map = new Map()))
    return map
  }

  /** Entries of a ring vanish, as if they had never been there. */
  lose(name: string, from: number, count: number): void {
    for (const entry of this.ring(name).entries.splice(from, count)) this.witness.removed(entry)
  }

  loseRing(name: string): void {
    this.lose(name, 0, Infinity)
    this.rings.delete(name)
  }

  loseAll(): void {
    for (const name of [...this.rings.keys()]) this.loseRing(name)
    this.maps.clear()
  }

  disturb(): void {
    for (const listeners of this.listeners.values()) for (const listener of listeners) listener()
  }
}

/** The grid as one node sees it. */
export class SimJobGrid implements JobGrid {
  readonly #grid: SimGrid
  readonly #wire: Wire

  constructor(grid: SimGrid, wire: Wire) {
    this.#grid = grid
    this.#wire = wire
  }

  append(name: string, entry: Buffer): Promise<bigint> {
    // What the caller does with its buffer from now on concerns nobody; each arrival is an entry of its own.
    const sent = Buffer.from(entry)
    const effect = () => {
      const arrived = Buffer.from(sent)
      this.#grid.witness.appended(name, arrived, this.#grid.ring(name).entries)
      return BigInt(this.#grid.append(name, arrived))
    }
    return this.#wire.call('grid', `append ${shortName(name)}`, effect, { canLinger: true })
  }

  read(name: string, fromSequence: bigint, { countMax, waitMs, signal }: ReadOptions): Promise<RingEntries> {
    const { scheduler, faults } = this.#wire
    let from = Number(fromSequence)
    const look = () => {
      const ring = this.#grid.ring(name)
      const tail = ring.head + ring.entries.length
      if (from > tail) {
        // A ring that was made anew: the position is clamped to its end, and waits there.
        faults.count('clamp')
        from = tail
      }
      return tail > from
    }
    const effect = (): RingEntries => {
      if (!look()) return { entries: [], nextSequence: fromSequence }
      const ring = this.#grid.ring(name)
      const first = Math.max(from, ring.head)
      // Sometimes not everything: a reader is promised one entry only.
      const count = faults.hasShortReads && faults.random.chance(0.3) ? faults.random.int(1, 3) : countMax
      const entries = ring.entries.slice(first - ring.head, first - ring.head + Math.min(count, countMax))
      return { entries, nextSequence: BigInt(first + entries.length) }
    }
    const isReady = () => signal?.aborted === true || look()
    return this.#wire.call('grid', `read ${shortName(name)} ${fromSequence}`, effect, {
      dueMs: scheduler.nowMs + Math.max(1, waitMs),
      isReady,
    })
  }

  peek(name: string, fromSequence: bigint, countMax: number): Promise<RingEntries> {
    return this.#wire.call('grid', `peek ${shortName(name)} ${fromSequence}`, () => {
      const { head, entries: all } = this.#grid.ring(name)
      const first = Math.max(Number(fromSequence), head)
      const entries = all.slice(first - head, first - head + countMax)
      return { entries, nextSequence: entries.length === 0 ? fromSequence : BigInt(first + entries.length) }
    })
  }

  tail(name: string): Promise<RingTail> {
    return this.#wire.call('grid', `tail ${shortName(name)}`, () => {
      const ring = this.#grid.ring(name)
      return { sequence: BigInt(ring.entries.length === 0 ? -1 : ring.head + ring.entries.length - 1), entry: ring.entries.at(-1) }
    })
  }

  capacity(): Promise<number> {
    return this.#wire.call('grid', 'capacity', () => this.#grid.capacity)
  }

  put(map: string, key: string, value: string): Promise<void> {
    return this.#wire.call('grid', `put ${shortName(map)} ${key}`, () => void this.#grid.map(map).set(key, value), { canLinger: true })
  }

  remove(map: string, key: string): Promise<void> {
    return this.#wire.call('grid', `remove ${shortName(map)} ${key}`, () => void this.#grid.map(map).delete(key), { canLinger: true })
  }

  entries(map: string): Promise<ReadonlyMap<string, string>> {
    return this.#wire.call('grid', `entries ${shortName(map)}`, () => new Map(this.#grid.map(map)))
  }

  destroy({ rings, maps }: UnusedNames): Promise<void> {
    return this.#wire.call('grid', 'destroy', () => {
      for (const name of rings) this.#grid.loseRing(name)
      for (const name of maps) this.#grid.maps.delete(name)
    })
  }

  onDisturbance(listener: () => void): () => void {
    const { node } = this.#wire
    const listeners = this.#grid.listeners.get(node) ?? new Set()
    this.#grid.listeners.set(node, listeners)
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function shortName(name: string): string {
  return name.split('.').slice(-3).join('.')
}
