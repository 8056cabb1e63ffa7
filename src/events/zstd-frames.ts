/**
 * Where frames and blocks of Zstandard lie (RFC 8878), without inflating any: what the decoder in JavaScript does not look at itself is
 * refused here before it is given a byte.
 */
import { UnreadableRecords } from './kafka-record-batch.ts'

export interface ZstdFrame {
  readonly bytes: Buffer
  readonly windowBytes: number
  /** The first one with the head of the frame in front, the last one with its checksum behind. */
  readonly blocks: readonly Buffer[]
  /** Matches that its blocks say they hold; each may ask for 128 KiB of copying. */
  readonly sequences: number
}

const magic = 0xfd2fb528
/** Frames with one of 16 magics are to be passed over. */
const skippableMagic = 0x184d2a50
const blockBytesMax = 128 * 1024
/** The decoder allocates the window that a frame names, whatever that is; Node's own has this limit too. */
const windowBytesMax = 2 ** 27
const compressedBlock = 2
const repeatedBlock = 1
const reservedBlock = 3
const treeLiterals = 2

/** Throws UnreadableRecords. */
export function* zstdFrames(body: Buffer): Generator<ZstdFrame> {
  for (let at = 0; at < body.length;) {
    if (body.length - at < 8) throw new UnreadableRecords('its zstd frame is cut off')
    const found = body.readUInt32LE(at)
    if (((found ^ skippableMagic) & ~0xf) === 0) {
      at += 8 + body.readUInt32LE(at + 4)
      continue
    }
    if (found !== magic) throw new UnreadableRecords('its records are no zstd frame')
    const { frame, end } = frameAt(body, at)
    yield frame
    at = end
  }
}

function frameAt(body: Buffer, start: number): { frame: ZstdFrame; end: number } {
  const { windowBytes, firstBlock, sumBytes } = headAt(body, start)
  const blocks: Buffer[] = []
  let [from, sequences, isLast] = [start, 0, false]
  for (let at = firstBlock; !isLast;) {
    if (at + 3 > body.length) throw new UnreadableRecords('its zstd frame has no end')
    const head = body.readUIntLE(at, 3)
    const [type, size] = [(head >> 1) & 3, head >> 3]
    isLast = (head & 1) !== 0
    if (type === reservedBlock) throw new UnreadableRecords('a block of its zstd frame has a type that is not known')
    if (size > blockBytesMax) throw new UnreadableRecords(`a block of its zstd frame has ${size} bytes`)
    const blockEnd = at + 3 + (type === repeatedBlock ? 1 : size)
    const end = blockEnd + (isLast ? sumBytes : 0)
    if (end > body.length) throw new UnreadableRecords('a block of its zstd frame reaches beyond the end')
    if (type === compressedBlock) sequences += sequencesOf(body.subarray(at + 3, blockEnd))
    blocks.push(body.subarray(from, end))
    from = at = end
  }
  return { frame: { bytes: body.subarray(start, from), windowBytes, blocks, sequences }, end: from }
}

function headAt(body: Buffer, start: number): { windowBytes: number; firstBlock: number; sumBytes: number } {
  const flags = body[start + 4]!
  const isSingleSegment = (flags & 0x20) !== 0
  const dictionaryBytes = [0, 1, 2, 4][flags & 3]!
  const contentSizeBytes = flags >> 6 === 0 ? (isSingleSegment ? 1 : 0) : 2 ** (flags >> 6)
  const content = start + 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes
  const firstBlock = content + contentSizeBytes
  if (firstBlock > body.length) throw new UnreadableRecords('its zstd frame is cut off')
  const windowBytes = isSingleSegment ? contentBytes(body, content, contentSizeBytes) : windowOf(body[start + 5]!)
  if (windowBytes > windowBytesMax) throw new UnreadableRecords(`its zstd frame needs a window of ${windowBytes} bytes`)
  return { windowBytes, firstBlock, sumBytes: (flags & 4) === 0 ? 0 : 4 }
}

function windowOf(descriptor: number): number {
  return 2 ** (10 + (descriptor >> 3)) * (1 + (descriptor & 7) / 8)
}

function contentBytes(body: Buffer, at: number, size: number): number {
  if (size === 8) return Number(body.readBigUInt64LE(at))
  return body.readUIntLE(at, size) + (size === 2 ? 256 : 0)
}

/** What a compressed block says behind its literals. Throws UnreadableRecords where it holds less than that. */
function sequencesOf(block: Buffer): number {
  const at = literalsEnd(block)
  const first = block[at]
  if (first === undefined) throw new UnreadableRecords('a block of its zstd frame ends within its literals')
  if (first < 128) return first
  if (first < 255) return ((first - 128) << 8) + (block[at + 1] ?? 0)
  return (block[at + 1] ?? 0) + ((block[at + 2] ?? 0) << 8) + 0x7f00
}

/** Behind the literals' own head: raw ones, one that is repeated, or so many compressed bytes. */
function literalsEnd(block: Buffer): number {
  const head = Buffer.concat([block.subarray(0, 5), Buffer.alloc(5)]).readUIntLE(0, 5)
  const [type, format] = [head & 3, (head >> 2) & 3]
  const isCompressed = type >= treeLiterals
  const headBytes = (isCompressed ? [3, 3, 4, 5] : [1, 2, 1, 3])[format]!
  const sizeBits = (isCompressed ? [10, 10, 14, 18] : [5, 12, 5, 20])[format]!
  const sizeAt = !isCompressed && headBytes === 1 ? 8 : 16
  const size = Math.floor(head / sizeAt) % 2 ** sizeBits
  if (size > blockBytesMax) throw new UnreadableRecords(`a block of its zstd frame has ${size} literals`)
  if (type === treeLiterals && block[headBytes]! < 128 && isOneWeight(block, headBytes + 1)) {
    throw new UnreadableRecords('the weights of a tree in its zstd frame have no end')
  }
  if (isCompressed) return headBytes + (Math.floor(head / (16 * 2 ** sizeBits)) % 2 ** sizeBits)
  return headBytes + (type === 0 ? size : 1)
}

/** The table of the weights gives all its room to one of them: reading it takes no bits, so the decoder would read without end. */
function isOneWeight(block: Buffer, start: number): boolean {
  const accuracy = ((block[start] ?? 0) & 15) + 5
  for (let at = start * 8 + 4; at < block.length * 8;) {
    const share = bitsAt(block, at, accuracy + 1)
    if (share === 2 ** (accuracy + 1) - 1) return true
    if (share % 2 ** accuracy !== 1) return false
    // A weight without a share: two bits say how many more follow.
    for (at += accuracy; at < block.length * 8; at += 2) if (bitsAt(block, at, 2) < 3) break
    at += 2
  }
  return false
}

function bitsAt(block: Buffer, at: number, bits: number): number {
  let value = 0
  for (let i = 0; i < bits; i++) value += (((block[(at + i) >> 3] ?? 0) >> ((at + i) & 7)) & 1) * 2 ** i
  return value
}
