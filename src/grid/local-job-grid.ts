/**
 * A grid inside one process: bounded rings and maps in memory, for the standalone mode and for tests.
 *
 * Invariants: a ring never holds more than `capacity` entries; sequences of a ring count up by one from 0; every waiting
 * read has one timer and ends by an append, its time, or the disposal. Entries are copied on append, so that a caller who
 * uses its buffer again changes nothing.
 */
import { assert } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import type { JobGrid, ReadOptions, RingEntries, RingTail, UnusedNames } from './job-grid.ts'

export interface LocalJobGridOptions {
  /** Entries each ring can hold. */
  readonly capacity: number
}

interface Ring {
  /** Slot of a sequence: its remainder by the capacity. */
  readonly slots: Buffer[]
  /** Sequence the next entry gets. */
  next: bigint
  readonly waiting: Set<() => void>
}

export class LocalJobGrid implements JobGrid {
  readonly #capacity: number
  readonly #rings = new Map<string, Ring>()
  readonly #maps = new Map<string, Map<string, string>>()
  #isClosed = false

  constructor({ capacity }: LocalJobGridOptions) {
    assert(Number.isSafeInteger(capacity) && capacity >= 1, 'the capacity of a ring is a whole number from 1 on')
    this.#capacity = capacity
  }

  async append(name: string, entry: Buffer): Promise<bigint> {
    this.#requireOpen()
    const ring = this.#ring(name)
    const sequence = ring.next++
    ring.slots[this.#slotOf(sequence)] = Buffer.from(entry)
    for (const wake of ring.waiting) wake()
    return sequence
  }

  async read(name: string, fromSequence: bigint, { countMax, waitMs, signal }: ReadOptions): Promise<RingEntries> {
    assert(fromSequence >= 0n && countMax >= 1 && countMax <= 1000, 'a read starts at a sequence from 0 on and takes 1 to 1000 entries')
    this.#requireOpen()
    const ring = this.#ring(name)
    const from = fromSequence > ring.next ? ring.next : fromSequence
    if (from === ring.next && waitMs > 0) await waitForAppend(ring, waitMs, signal)
    this.#requireOpen()
    const head = this.#headOf(ring)
    const first = from < head ? head : from
    const entries: Buffer[] = []
    for (let sequence = first; sequence < ring.next && entries.length < countMax; sequence++) entries.push(this.#entry(ring, sequence))
    return { entries, nextSequence: entries.length === 0 ? fromSequence : first + BigInt(entries.length) }
  }

  async peek(name: string, fromSequence: bigint, countMax: number): Promise<RingEntries> {
    return this.read(name, fromSequence, { countMax, waitMs: 0 })
  }

  async tail(name: string): Promise<RingTail> {
    this.#requireOpen()
    const ring = this.#ring(name)
    const sequence = ring.next - 1n
    return { sequence, entry: sequence < 0n ? undefined : this.#entry(ring, sequence) }
  }

  async capacity(_ring: string): Promise<number> {
    this.#requireOpen()
    return this.#capacity
  }

  async put(map: string, key: string, value: string): Promise<void> {
    this.#requireOpen()
    const entries = this.#maps.get(map) ?? new Map<string, string>()
    this.#maps.set(map, entries.set(key, value))
  }

  async remove(map: string, key: string): Promise<void> {
    this.#requireOpen()
    this.#maps.get(map)?.delete(key)
  }

  async entries(map: string): Promise<ReadonlyMap<string, string>> {
    this.#requireOpen()
    return new Map(this.#maps.get(map))
  }

  async destroy({ rings, maps }: UnusedNames): Promise<void> {
    this.#requireOpen()
    for (const name of rings) {
      const ring = this.#rings.get(name)
      this.#rings.delete(name)
      for (const wake of ring?.waiting ?? []) wake()
    }
    for (const name of maps) this.#maps.delete(name)
  }

  /** Never calls: what is in this process is lost only together with its readers. */
  onDisturbance(_listener: () => void): () => void {
    return () => undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    for (const ring of this.#rings.values()) for (const wake of ring.waiting) wake()
    this.#rings.clear()
    this.#maps.clear()
  }

  #ring(name: string): Ring {
    let ring = this.#rings.get(name)
    if (ring === undefined) this.#rings.set(name, (ring = { slots: [], next: 0n, waiting: new Set() }))
    return ring
  }

  #headOf({ next }: Ring): bigint {
    const capacity = BigInt(this.#capacity)
    return next > capacity ? next - capacity : 0n
  }

  #slotOf(sequence: bigint): number {
    return Number(sequence % BigInt(this.#capacity))
  }

  #entry(ring: Ring, sequence: bigint): Buffer {
    const entry = ring.slots[this.#slotOf(sequence)]
    assert(entry !== undefined, 'a ring holds every sequence from its head to its tail')
    return entry
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new ForebayError('FB_GRID_UNREACHABLE', 'The grid of this process is closed.')
  }
}

function waitForAppend(ring: Ring, waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer)
      ring.waiting.delete(wake)
      signal?.removeEventListener('abort', wake)
      resolve()
    }
    const timer = setTimeout(wake, waitMs)
    ring.waiting.add(wake)
    signal?.addEventListener('abort', wake, { once: true })
  })
}
