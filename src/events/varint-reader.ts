/** Reads the zigzag varints of Kafka's records. Never beyond its end: what reaches there is unreadable. */
import { UnreadableRecords } from './kafka-record-batch.ts'

/** A 64-bit number takes so many bytes. */
const longBytesMax = 10
/** Lengths and offsets are 32 bits wide. */
const intMax = 2 ** 31 - 1
const intMin = -(2 ** 31)

export class VarintReader {
  readonly bytes: Buffer
  at: number
  readonly #end: number

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.#end = end
  }

  /** A number of 32 bits. */
  next(): number {
    const value = this.nextLong()
    if (typeof value !== 'number' || value > intMax || value < intMin) throw new UnreadableRecords('a number has more than 32 bits')
    return value
  }

  /** A number of 64 bits; a bigint where a number could not hold it. */
  nextLong(): number | bigint {
    const bytes = this.bytes
    const start = this.at
    let value = 0
    let factor = 1
    for (;;) {
      if (this.at >= this.#end) throw new UnreadableRecords('a number reaches beyond the end')
      if (factor > 2 ** 42) return this.#readLarge(start)
      const byte = bytes[this.at++]!
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
      factor *= 128
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  /** Passes so many bytes and gives where they end. */
  skip(count: number): number {
    if (count < 0 || count > this.#end - this.at) throw new UnreadableRecords('a field reaches beyond the end')
    this.at += count
    return this.at
  }

  #readLarge(start: number): bigint {
    let value = 0n
    this.at = start
    for (let i = 0; i < longBytesMax; i++) {
      if (this.at >= this.#end) throw new UnreadableRecords('a number reaches beyond the end')
      const byte = this.bytes[this.at++]!
      value |= BigInt(byte & 0x7f) << BigInt(7 * i)
      if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n))
    }
    throw new UnreadableRecords('a number has more than 64 bits')
  }
}
