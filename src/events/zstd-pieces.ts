/** Zstandard: by Node itself where it has it (from 22.15 on), else by a decoder in JavaScript. */
import { createRequire } from 'node:module'
import zlib from 'node:zlib'
import { atOnce, pieceBytesMax } from './inflated-pieces.ts'
import type { Pieces } from './inflated-pieces.ts'
import { UnreadableRecords } from './kafka-record-batch.ts'

/** What newer versions of Node have, whose types are not those of the oldest one that is supported. */
interface NodeZstd {
  readonly zstdDecompressSync?: (body: Buffer, options: { maxOutputLength: number }) => Buffer
  readonly createZstdDecompress?: (options: { chunkSize: number }) => { end(body: Buffer): AsyncIterable<Buffer> }
}

type Library = typeof import('fzstd')
const { zstdDecompressSync, createZstdDecompress } = zlib as unknown as NodeZstd
/** So little at a time that what it inflates to stays small: four bytes can make a block of 128 KiB. */
const stepBytes = 64
let library: Library | undefined

/** Throws what the decoder throws. */
export function zstdPieces(body: Buffer): Pieces {
  if (zstdDecompressSync === undefined || createZstdDecompress === undefined) return scriptedPieces(body)
  return (
    atOnce(body, (maxOutputLength) => zstdDecompressSync(body, { maxOutputLength })) ??
    createZstdDecompress({ chunkSize: pieceBytesMax }).end(body)
  )
}

/** By JavaScript. */
export function* scriptedPieces(body: Buffer): Generator<Buffer> {
  checkWindow(body)
  library ??= createRequire(import.meta.url)('fzstd') as Library
  let made: Buffer[] = []
  const decoder = new library.Decompress((piece) => {
    // It writes into the same bytes again.
    if (piece.length > 0) made.push(Buffer.from(piece))
  })
  for (let at = 0; at < body.length; at += stepBytes) {
    const step = body.subarray(at, at + stepBytes)
    decoder.push(step, at + stepBytes >= body.length)
    if (made.length === 0) continue
    yield* made
    made = []
  }
}

/** It allocates the window that the frame names, whatever that is; Node's own decoder has this limit too. */
const windowBytesMax = 2 ** 27

function checkWindow(body: Buffer): void {
  const flags = body[4] ?? 0
  const isSingleSegment = (flags & 0x20) !== 0
  const field = isSingleSegment ? contentBytes(body, flags) : 2 ** (10 + ((body[5] ?? 0) >> 3)) * (1 + ((body[5] ?? 0) & 7) / 8)
  if (field > windowBytesMax) throw new UnreadableRecords(`its zstd frame needs a window of ${field} bytes`)
}

/** Of a frame that is one segment: its size, behind the id of a dictionary. */
function contentBytes(body: Buffer, flags: number): number {
  const at = 5 + [0, 1, 2, 4][flags & 3]!
  const bytes = 2 ** (flags >> 6)
  if (at + bytes > body.length) return 0
  return bytes === 8 ? Number(body.readBigUInt64LE(at)) : body.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0)
}
