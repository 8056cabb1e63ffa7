/**
 * The grid as one part of a node uses it, with every call watched under the kinds of that part. It changes nothing.
 */
import type { JobGrid, ReadOptions, RingEntries, RingTail, UnusedNames } from '../grid/job-grid.ts'
import type { TroubleKind, TroubleWatch } from '../troubles.ts'

export interface GridKinds {
  readonly append: TroubleKind
  readonly read: TroubleKind
  readonly tail: TroubleKind
  readonly maps: TroubleKind
}

/** What owners and readers of queues do. */
export const queueKinds: GridKinds = { append: 'append', read: 'ring-read', tail: 'tail', maps: 'flags' }

/** Of a part whose every call is of one kind. */
export function oneKind(kind: TroubleKind): GridKinds {
  return { append: kind, read: kind, tail: kind, maps: kind }
}

export interface WatchedGridOptions {
  readonly kinds: GridKinds
  /** What names of rings and maps begin with, which says nothing to a person of this node. */
  readonly prefix: string
}

export class WatchedGrid implements JobGrid {
  readonly #grid: JobGrid
  readonly #troubles: TroubleWatch
  readonly #options: WatchedGridOptions
  readonly memberVersions?: () => ReadonlyMap<string, string>

  constructor(grid: JobGrid, troubles: TroubleWatch, options: WatchedGridOptions) {
    this.#grid = grid
    this.#troubles = troubles
    this.#options = options
    if (grid.memberVersions !== undefined) this.memberVersions = () => grid.memberVersions!()
  }

  append(ring: string, entry: Buffer): Promise<bigint> {
    return this.#troubles.watch(this.#options.kinds.append, this.#placeOf(ring), () => this.#grid.append(ring, entry))
  }

  read(ring: string, fromSequence: bigint, options: ReadOptions): Promise<RingEntries> {
    const read = () => this.#grid.read(ring, fromSequence, options)
    return this.#troubles.watch(this.#options.kinds.read, this.#placeOf(ring), read, options.waitMs)
  }

  /** For people who look into a queue: whether it gets through is theirs to see. */
  peek(ring: string, fromSequence: bigint, countMax: number): Promise<RingEntries> {
    return this.#grid.peek(ring, fromSequence, countMax)
  }

  tail(ring: string): Promise<RingTail> {
    return this.#troubles.watch(this.#options.kinds.tail, this.#placeOf(ring), () => this.#grid.tail(ring))
  }

  capacity(ring: string): Promise<number> {
    return this.#grid.capacity(ring)
  }

  put(map: string, key: string, value: string): Promise<void> {
    return this.#troubles.watch(this.#options.kinds.maps, `${this.#placeOf(map)}, writing`, () => this.#grid.put(map, key, value))
  }

  remove(map: string, key: string): Promise<void> {
    return this.#troubles.watch(this.#options.kinds.maps, `${this.#placeOf(map)}, removing`, () => this.#grid.remove(map, key))
  }

  entries(map: string): Promise<ReadonlyMap<string, string>> {
    return this.#troubles.watch(this.#options.kinds.maps, this.#placeOf(map), () => this.#grid.entries(map))
  }

  destroy(unused: UnusedNames): Promise<void> {
    return this.#grid.destroy(unused)
  }

  onDisturbance(listener: () => void): () => void {
    return this.#grid.onDisturbance(listener)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#grid[Symbol.asyncDispose]()
  }

  #placeOf(name: string): string {
    const { prefix } = this.#options
    return name.startsWith(prefix) ? name.slice(prefix.length) : name
  }
}
