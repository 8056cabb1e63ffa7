/**
 * The one copy of a channel's values as frames, shared by all clients that take it, in pieces of about `pieceChars`.
 *
 * Keys lie on *shelves* in the order in which they came; a shelf's frame is its *piece*. Every tick has a version; a key and its shelf carry
 * the version of their last change, so that a client needs no list of what it missed, only the version up to which it has everything.
 * A piece is made when somebody takes it, and may then be up to `staleMs` old: its version says what it lacks. A shelf that has
 * become too long for one piece is split as its piece is made. The first piece is the `snapshot` frame, the others are `update` frames.
 */
import type { Clock } from '../../schedule/clock.ts'
import type { LatestValue } from './latest-values.ts'

/** Values of a channel, by key. */
export interface PushValues {
  get(key: string): LatestValue | undefined
  keys(): Iterable<string>
}

export interface Piece {
  readonly frame: Buffer
  /** Holds every change up to this version. */
  readonly version: number
  readonly madeMs: number
  /** Whether this is the snapshot frame, and others follow. */
  readonly isBeginning: boolean
}

export interface Shelf {
  readonly keys: string[]
  /** About what the keys took when they came. */
  chars: number
  version: number
  piece: Piece | undefined
}

interface Place {
  shelf: Shelf
  version: number
}

/** Frames are this long at most, unless one value alone is longer. */
export const pieceChars = 128 * 1024
const staleMs = 1000
export interface PushCopyOptions {
  readonly channel: string
  readonly clock: Pick<Clock, 'now'>
  readonly values: PushValues
  /** Told when the shelf `index` kept its first `keysLeft` keys and the others moved to a new one behind it. */
  readonly onSplit: (index: number, keysLeft: number) => void
}

export class PushCopy {
  readonly #options: PushCopyOptions
  /** Tells a client that took a snapshot in several frames that it has all of it. */
  readonly ending: Buffer
  readonly #places = new Map<string, Place>()
  #shelves: Shelf[] = []
  #version = 0

  constructor(options: PushCopyOptions) {
    this.#options = options
    this.ending = this.frame('update', [], true)
  }

  get version(): number {
    return this.#version
  }

  get shelves(): readonly Shelf[] {
    return this.#shelves
  }

  /** Nobody needs it any more: lets go of everything. */
  clear(): void {
    if (this.#shelves.length === 0) return
    this.#shelves = []
    this.#places.clear()
  }

  /** The next version: these keys have changed since the last one. */
  stamp(changed: Iterable<string>): void {
    this.#version++
    if (this.#shelves.length === 0) {
      this.#shelves.push({ keys: [], chars: 0, version: this.#version, piece: undefined })
      this.#mark(this.#options.values.keys())
    }
    this.#mark(changed)
  }

  /** Whether the key has a value that is newer than `version`. */
  isNewer(key: string, version: number): boolean {
    return (this.#places.get(key)?.version ?? -1) > version
  }

  /** What the piece of a shelf would cost to take now, in characters made: 0 when there is one. */
  workOf(index: number): number {
    return this.#usable(this.#shelves[index]!) === undefined ? pieceChars : 0
  }

  piece(index: number): Piece {
    const shelf = this.#shelves[index]!
    return this.#usable(shelf) ?? (shelf.piece = this.#make(index, shelf))
  }

  /** A frame that says these keys' values. */
  frame(type: 'snapshot' | 'update', keys: Iterable<string>, isComplete?: boolean): Buffer {
    return Buffer.from(this.#open(type, isComplete) + [...keys].flatMap((key) => this.#entry(key) ?? []).join(',') + ']}')
  }

  /** Frames of bounded length that say these keys' values. */
  frames(keys: Iterable<string>): Buffer[] {
    const frames: Buffer[] = []
    let some: string[] = []
    let chars = 0
    for (const key of keys) {
      some.push(key)
      chars += this.charsOf(key)
      if (chars < pieceChars) continue
      frames.push(this.frame('update', some))
      some = []
      chars = 0
    }
    if (some.length > 0) frames.push(this.frame('update', some))
    return frames
  }

  /** About what a key takes of a frame. */
  charsOf(key: string): number {
    return entryChars + key.length + (this.#options.values.get(key)?.json.length ?? 0)
  }

  #mark(keys: Iterable<string>): void {
    for (const key of keys) {
      let place = this.#places.get(key)
      if (place === undefined) {
        place = { shelf: this.#shelfFor(key), version: 0 }
        this.#places.set(key, place)
      }
      place.version = place.shelf.version = this.#version
    }
  }

  #shelfFor(key: string): Shelf {
    let shelf = this.#shelves.at(-1)!
    if (shelf.chars >= pieceChars) this.#shelves.push((shelf = { keys: [], chars: 0, version: 0, piece: undefined }))
    shelf.keys.push(key)
    shelf.chars += this.charsOf(key)
    return shelf
  }

  #usable(shelf: Shelf): Piece | undefined {
    const { piece } = shelf
    if (piece === undefined || piece.version >= shelf.version) return piece
    return this.#options.clock.now() - piece.madeMs < staleMs ? piece : undefined
  }

  #make(index: number, shelf: Shelf): Piece {
    let text = ''
    let count = 0
    while (count < shelf.keys.length && text.length < pieceChars) {
      const entry = this.#entry(shelf.keys[count++]!)
      if (entry !== undefined) text += text === '' ? entry : `,${entry}`
    }
    if (count < shelf.keys.length) this.#split(index, shelf, count)
    const isBeginning = index === 0 && this.#shelves.length > 1
    const open = this.#open(index === 0 ? 'snapshot' : 'update', isBeginning ? false : undefined)
    return { frame: Buffer.from(`${open}${text}]}`), version: this.#version, madeMs: this.#options.clock.now(), isBeginning }
  }

  #split(index: number, shelf: Shelf, keysLeft: number): void {
    const rest: Shelf = { keys: shelf.keys.splice(keysLeft), chars: pieceChars, version: shelf.version, piece: undefined }
    for (const key of rest.keys) this.#places.get(key)!.shelf = rest
    this.#shelves.splice(index + 1, 0, rest)
    this.#options.onSplit(index, keysLeft)
  }

  #open(type: 'snapshot' | 'update', isComplete: boolean | undefined): string {
    const mark = isComplete === undefined ? '' : `"isComplete":${isComplete},`
    return `{"type":"${type}","channel":${JSON.stringify(this.#options.channel)},${mark}"values":[`
  }

  #entry(key: string): string | undefined {
    const value = this.#options.values.get(key)
    if (value === undefined) return undefined
    return `{"key":${JSON.stringify(key)},"value":${value.json},"partition":${value.partition},"offset":"${value.offset}"}`
  }
}

/** `{"key":"","value":,"partition":0,"offset":""},` with some digits. */
const entryChars = 80
