/**
 * Snappy as Kafka's producers write it: in the framing of the Java client (xerial), or raw. A raw block that inflates far is cut
 * at places where no later byte reaches back across them, which writers of snappy leave every 64 KiB.
 */
import { createRequire } from 'node:module'
import { UnreadableRecords } from './kafka-record-batch.ts'

const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
/** Magic, version, lowest version that reads it. */
const xerialHeadBytes = 16
const fragmentBytes = 64 * 1024
/** A raw block up to this size is inflated at once. */
const wholeBytesMax = 1024 * 1024
/** A copy of three bytes makes 64. */
const inflationMax = 22

type Library = typeof import('snappy')
let library: Library | undefined

/** Throws UnreadableRecords, and what the library throws. */
export function* snappyPieces(body: Buffer): Generator<Buffer> {
  if (!isXerial(body, 0)) {
    yield* rawPieces(body)
    return
  }
  for (let at = 0; at < body.length;) {
    if (isXerial(body, at)) {
      at += xerialHeadBytes
      continue
    }
    const blockBytes = at + 4 > body.length ? -1 : body.readInt32BE(at)
    at += 4
    if (blockBytes < 0 || blockBytes > body.length - at) throw new UnreadableRecords('a block of its snappy frame reaches beyond the end')
    yield* rawPieces(body.subarray(at, at + blockBytes))
    at += blockBytes
  }
}

function isXerial(body: Buffer, at: number): boolean {
  return xerialMagic.equals(body.subarray(at, at + xerialMagic.length))
}

function* rawPieces(raw: Buffer): Generator<Buffer> {
  const { value: told, at } = lengthOf(raw)
  if (told > raw.length * inflationMax) throw new UnreadableRecords(`its snappy block of ${raw.length} bytes says that it holds ${told}`)
  if (told <= wholeBytesMax) yield inflateBlock(raw)
  else yield* fragmentsOf(raw, at)
}

function inflateBlock(raw: Buffer): Buffer {
  library ??= createRequire(import.meta.url)('snappy') as Library
  return library.uncompressSync(raw, { asBuffer: true }) as Buffer
}

/** The elements of a raw block from `start` on, as blocks of their own. */
function* fragmentsOf(raw: Buffer, start: number): Generator<Buffer> {
  let [first, length] = [start, 0]
  for (let at = start; at < raw.length;) {
    const { next, bytes, reach } = elementAt(raw, at)
    if (next > raw.length) throw new UnreadableRecords('its snappy block is cut off')
    if (reach > length) throw new UnreadableRecords('its snappy block reaches back over more than 64 KiB, as no known writer does')
    length += bytes
    at = next
    if (length < fragmentBytes && at < raw.length) continue
    yield inflateBlock(Buffer.concat([varintOf(length), raw.subarray(first, at)]))
    first = at
    length = 0
  }
}

/** Where the next element begins, how many bytes this one makes, and how far back it reaches for them. */
function elementAt(raw: Buffer, at: number): { next: number; bytes: number; reach: number } {
  const tag = raw[at]!
  const upper = tag >> 2
  switch (tag & 3) {
    case 0: {
      const lengthBytes = upper < 60 ? 0 : upper - 59
      if (at + 1 + lengthBytes > raw.length) return { next: Infinity, bytes: 0, reach: 0 }
      const bytes = (lengthBytes === 0 ? upper : raw.readUIntLE(at + 1, lengthBytes)) + 1
      return { next: at + 1 + lengthBytes + bytes, bytes, reach: 0 }
    }
    case 1:
      return { next: at + 2, bytes: (upper & 7) + 4, reach: ((tag >> 5) << 8) | (raw[at + 1] ?? 0) }
    case 2:
      return { next: at + 3, bytes: upper + 1, reach: at + 3 > raw.length ? 0 : raw.readUInt16LE(at + 1) }
    default:
      return { next: at + 5, bytes: upper + 1, reach: at + 5 > raw.length ? 0 : raw.readUInt32LE(at + 1) }
  }
}

function lengthOf(raw: Buffer): { value: number; at: number } {
  let value = 0
  for (let at = 0; at < 5; at++) {
    const byte = raw[at]
    if (byte === undefined) break
    value += (byte & 0x7f) * 2 ** (7 * at)
    if (byte < 0x80) return { value, at: at + 1 }
  }
  throw new UnreadableRecords('its snappy block has no length')
}

function varintOf(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.from([...bytes, rest])
}
