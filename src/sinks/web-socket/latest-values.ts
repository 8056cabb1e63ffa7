/**
 * The newest value of every key. Pure: no time, no I/O.
 *
 * Invariant: within a partition a value is only ever replaced by one of a higher offset. A key belongs to one partition;
 * should two partitions speak about it all the same, the later record time decides, then the higher partition. A seed
 * (offset -1) is older than any live value. Bounded by `keysMax` and `bytesMax`: what does not fit is not taken, and the value
 * held stays.
 */
export interface LatestValue {
  readonly partition: number
  /** -1 for a value that came from no event. */
  readonly offset: bigint
  /** When the event was written, in wall-clock milliseconds. */
  readonly timeMs: number
  /** The value as JSON text. */
  readonly json: string
}

/** Bytes of one channel's values at most, unless it is told otherwise. */
export const latestBytesMax = 64 * 1024 * 1024
/** Bytes of frames that clients of one channel have not taken yet at most, over all of them, unless it is told otherwise. */
export const unsentBytesMax = 32 * 1024 * 1024
/**
 * Of one channel, in sizes of its values: the values, their copy in frames (a character of two bytes may take three there), and the
 * grid's copy of them as it comes in and is decoded.
 */
const channelBytesFactor = 1 + 1.5 + 2
/** What a channel holds on a node at most. What clients have not taken yet comes on top of its values. */
export const channelBytesMax = latestBytesMax * channelBytesFactor + unsentBytesMax
/** Of one entry beside its texts: the objects of its value, its places in the map and on the shelves of the shared copy. */
const entryBytes = 256
/** Of these a character takes one byte in a frame, like in the key. */
const plainText = /^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/

export type Verdict = 'taken' | 'older' | 'full'

export class LatestValues {
  readonly #values = new Map<string, LatestValue>()
  readonly #keysMax: number
  readonly #bytesMax: number
  #bytes = 0

  constructor(keysMax: number, bytesMax: number = latestBytesMax) {
    this.#keysMax = keysMax
    this.#bytesMax = bytesMax
  }

  /** What keys and values take in memory at most. */
  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#values.size
  }

  get(key: string): LatestValue | undefined {
    return this.#values.get(key)
  }

  keys(): IterableIterator<string> {
    return this.#values.keys()
  }

  entries(): IterableIterator<[string, LatestValue]> {
    return this.#values.entries()
  }

  /** Keeps `value` when it is newer than what is held. */
  apply(key: string, value: LatestValue): Verdict {
    const held = this.#values.get(key)
    if (held && !isNewer(value, held)) return 'older'
    const bytes = this.#bytes + bytesOf(key, value) - (held ? bytesOf(key, held) : 0)
    if (bytes > this.#bytesMax || (!held && this.#values.size >= this.#keysMax)) return 'full'
    this.#bytes = bytes
    this.#values.set(key, value)
    return 'taken'
  }
}

function bytesOf(key: string, { json }: LatestValue): number {
  // A character takes two bytes where the text has one that is not Latin; in a frame those of a key may be escaped, six for one.
  const keyBytes = plainText.test(key) ? key.length : Buffer.byteLength(JSON.stringify(key))
  return entryBytes + Math.max(2 * key.length, keyBytes) + 2 * json.length
}

export type LatestPosition = Pick<LatestValue, 'partition' | 'offset' | 'timeMs'>

/** Whether `a` replaces `b`. The same position is not newer than itself. */
export function isNewer(a: LatestPosition, b: LatestPosition): boolean {
  if (a.offset < 0n || b.offset < 0n) return b.offset < 0n && a.offset >= 0n
  if (a.partition === b.partition) return a.offset > b.offset
  return a.timeMs === b.timeMs ? a.partition > b.partition : a.timeMs > b.timeMs
}
