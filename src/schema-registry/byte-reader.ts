/** Reads the primitives that binary formats share. Every length is checked against what is there, so that a forged one is an error at once. */
import { isUtf8 } from 'node:buffer'

const varintBytesMax = 10
const highBase = 2 ** 28

export class ByteReader {
  readonly #bytes: Buffer
  #at: number
  readonly #end: number

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
  }

  get position(): number {
    return this.#at
  }

  get left(): number {
    return this.#end - this.#at
  }

  byte(): number {
    return this.#bytes[this.#take(1)]!
  }

  /** Unsigned, of at most 64 bits. */
  varint(): number | bigint {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return low
    }
    let high = 0
    for (let count = 4, scale = 1; count < varintBytesMax; count++, scale *= 128) {
      const byte = this.byte()
      high += (byte & 0x7f) * scale
      if (byte >= 0x80) continue
      const value = high < 2 ** 24 ? high * highBase + low : BigInt(high) * BigInt(highBase) + BigInt(low)
      if (typeof value === 'bigint' && value >= 2n ** 64n) break
      return value
    }
    throw new Error(`a number at byte ${this.#at} has more than 64 bits`)
  }

  /** Signed, as Avro and Protobuf's sint write it. */
  zigzag(): number | bigint {
    const value = this.varint()
    if (typeof value === 'number') return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    return (value >> 1n) ^ -(value & 1n)
  }

  float(): number {
    return this.#bytes.readFloatLE(this.#take(4))
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#take(8))
  }

  uint32(): number {
    return this.#bytes.readUInt32LE(this.#take(4))
  }

  uint64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#take(8))
  }

  /** A view of the event's value. */
  bytes(length: number | bigint): Buffer {
    const from = this.#take(length)
    return this.#bytes.subarray(from, this.#at)
  }

  text(length: number | bigint): string {
    const bytes = this.bytes(length)
    const text = bytes.toString('utf8')
    if (text.includes('\ufffd') && !isUtf8(bytes)) throw new Error(`the text that ends at byte ${this.#at} is not UTF-8`)
    return text
  }

  /** Reads the next `length` bytes alone. */
  within(length: number | bigint): ByteReader {
    const from = this.#take(length)
    return new ByteReader(this.#bytes, from, this.#at)
  }

  #take(length: number | bigint): number {
    if (length < 0 || length > this.left) throw new Error(`${length} bytes are called for at byte ${this.#at}, and ${this.left} are left`)
    const from = this.#at
    this.#at += Number(length)
    return from
  }
}
