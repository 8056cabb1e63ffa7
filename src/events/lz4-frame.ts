/**
 * LZ4 frames, block by block. The frame is walked here and each block inflated by the library, since its own reader of frames
 * inflates all of one whatever it holds, and takes four times as long.
 */
import { createRequire } from 'node:module'
import { UnreadableRecords } from './kafka-record-batch.ts'

const magic = 0x184d2204
const version = 1
const independentFlag = 0x20
const blockSumFlag = 0x10
const contentSizeFlag = 0x08
const dictionaryFlag = 0x01
const storedFlag = 0x80000000
/** How far a block of a linked frame may reach back. */
const historyBytes = 64 * 1024
/** No LZ4 block inflates further. */
const inflationMax = 255
const usualInflation = 8
const usualBytes = 1024

type Library = typeof import('lz4-napi')
let library: Library | undefined

/** The blocks of the frame in `body`, inflated. Throws UnreadableRecords, and what the library throws. */
export function* lz4Pieces(body: Buffer): Generator<Buffer> {
  const { at: firstBlock, blockBytesMax, isLinked, sumBytes } = frameHead(body)
  let history: Buffer | undefined
  for (let at = firstBlock; ;) {
    if (at + 4 > body.length) throw new UnreadableRecords('its lz4 frame has no end')
    const size = body.readUInt32LE(at)
    if (size === 0) return
    const blockBytes = size & ~storedFlag
    at += 4
    if (blockBytes < 0 || blockBytes > body.length - at) throw new UnreadableRecords('a block of its lz4 frame reaches beyond the end')
    const block = body.subarray(at, at + blockBytes)
    const piece = size >= storedFlag ? block : inflateBlock(block, blockBytesMax, history)
    yield piece
    if (isLinked) history = historyOf(history, piece)
    at += blockBytes + sumBytes
  }
}

function frameHead(body: Buffer): { at: number; blockBytesMax: number; isLinked: boolean; sumBytes: number } {
  if (body.length < 7 || body.readUInt32LE(0) !== magic) throw new UnreadableRecords('its records are no lz4 frame')
  const flags = body[4]!
  if (flags >> 6 !== version) throw new UnreadableRecords(`its lz4 frame has version ${flags >> 6}`)
  if ((flags & dictionaryFlag) !== 0) throw new UnreadableRecords('its lz4 frame needs a dictionary')
  const sizeCode = (body[5]! >> 4) & 7
  if (sizeCode < 4) throw new UnreadableRecords('its lz4 frame names no block size')
  return {
    at: 7 + ((flags & contentSizeFlag) !== 0 ? 8 : 0),
    blockBytesMax: 2 ** (8 + 2 * sizeCode),
    isLinked: (flags & independentFlag) === 0,
    sumBytes: (flags & blockSumFlag) !== 0 ? 4 : 0,
  }
}

/** The library wants the size in front, and allocates and clears so much: of the large blocks that a frame allows few are large. */
function inflateBlock(block: Buffer, blockBytesMax: number, history: Buffer | undefined): Buffer {
  library ??= createRequire(import.meta.url)('lz4-napi') as Library
  const sized = Buffer.allocUnsafe(4 + block.length)
  block.copy(sized, 4)
  const most = Math.min(blockBytesMax, block.length * inflationMax + 16)
  const usual = Math.min(most, block.length * usualInflation + usualBytes)
  sized.writeUInt32LE(usual, 0)
  try {
    return trimmed(library.uncompressSync(sized, history), usual)
  } catch (error) {
    if (usual === most) throw error
  }
  sized.writeUInt32LE(most, 0)
  return trimmed(library.uncompressSync(sized, history), most)
}

/** A piece that would keep much more than its own bytes is copied. */
function trimmed(piece: Buffer, allocatedBytes: number): Buffer {
  return piece.length * 2 < allocatedBytes ? Buffer.from(piece) : piece
}

function historyOf(before: Buffer | undefined, piece: Buffer): Buffer {
  if (piece.length >= historyBytes || before === undefined) return piece.subarray(Math.max(0, piece.length - historyBytes))
  const both = Buffer.concat([before, piece])
  return both.subarray(Math.max(0, both.length - historyBytes))
}
