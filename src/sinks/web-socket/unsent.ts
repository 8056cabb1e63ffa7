/**
 * What sockets have not sent yet: the bytes of frames that wait in this process for clients to take them.
 *
 * Pure. A frame that many sockets share counts once for as long as any of them holds it; a socket that encrypts holds a copy of its
 * own. Each send in wait counts a little beside its frame, since many small ones are objects rather than bytes.
 */
const sendBytes = 512
/** From here on whoever makes no progress has to go. */
const scarceShare = 0.75

export class Unsent {
  readonly #bytesMax: number
  readonly #holders = new Map<Buffer, number>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get isScarce(): boolean {
    return this.#bytes > this.#bytesMax * scarceShare
  }

  /** Whether so many bytes more would stay within the bound. */
  hasRoom(bytes: number): boolean {
    return this.#bytes + bytes + sendBytes <= this.#bytesMax
  }

  /** What `hold` would add. */
  costOf(frame: Buffer, isCopy: boolean): number {
    return isCopy || !this.#holders.has(frame) ? frame.length : 0
  }

  hold(frame: Buffer, isCopy: boolean): void {
    this.#bytes += sendBytes + this.costOf(frame, isCopy)
    if (!isCopy) this.#holders.set(frame, (this.#holders.get(frame) ?? 0) + 1)
  }

  release(frame: Buffer, isCopy: boolean): void {
    this.#bytes -= sendBytes
    const left = isCopy ? 0 : (this.#holders.get(frame) ?? 1) - 1
    if (left > 0) return void this.#holders.set(frame, left)
    this.#holders.delete(frame)
    this.#bytes -= frame.length
  }
}
