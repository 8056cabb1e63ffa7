/**
 * Inflates the records of a compressed batch, in pieces: whoever reads them decides when the next one is made, so that a batch takes no more
 * memory than a piece, however far it inflates.
 *
 * A small batch is inflated at once, since a stream costs more than the work; a large gzip or zstd one by a stream on a thread of
 * Node's pool, beside the conversion of what came before.
 */
import { createGunzip, gunzipSync } from 'node:zlib'
import { ForebayError } from '../errors.ts'
import { atOnce, pieceBytesMax } from './inflated-pieces.ts'
import type { Pieces } from './inflated-pieces.ts'
import { UnreadableRecords } from './kafka-record-batch.ts'
import { lz4Pieces } from './lz4-frame.ts'
import { snappyPieces } from './snappy-blocks.ts'
import { zstdPieces } from './zstd-pieces.ts'

interface Codec {
  readonly name: string
  readonly inflate: (body: Buffer) => Pieces
}

/** By the number that the format gives them. */
const codecs: readonly (Codec | undefined)[] = [
  undefined,
  { name: 'gzip', inflate: gzipPieces },
  { name: 'snappy', inflate: snappyPieces },
  { name: 'lz4', inflate: lz4Pieces },
  { name: 'zstd', inflate: zstdPieces },
]

/** The records of a compressed batch. The pieces throw UnreadableRecords where their bytes are none of the codec. */
export function inflated(body: Buffer, codec: number): Pieces {
  const known = codecs[codec]
  if (known === undefined) throw new UnreadableRecords(`it is compressed by codec ${codec}, which is not known`)
  try {
    const pieces = known.inflate(body)
    return Symbol.iterator in pieces ? named(pieces, known.name) : namedAsync(pieces, known.name)
  } catch (error) {
    throw unreadable(error, known.name)
  }
}

function gzipPieces(body: Buffer): Pieces {
  return atOnce(body, (limit) => gunzipSync(body, { maxOutputLength: limit })) ?? createGunzip({ chunkSize: pieceBytesMax }).end(body)
}

function* named(pieces: Iterable<Buffer>, codec: string): Generator<Buffer> {
  try {
    for (const piece of pieces) yield* smaller(piece)
  } catch (error) {
    throw unreadable(error, codec)
  }
}

/** Blocks of lz4 have up to 4 MiB, and one record would keep all of it in memory: large pieces are handed on as copies of parts. */
function* smaller(piece: Buffer): Generator<Buffer> {
  if (piece.length <= 2 * pieceBytesMax) yield piece
  else for (let at = 0; at < piece.length; at += pieceBytesMax) yield Buffer.from(piece.subarray(at, at + pieceBytesMax))
}

async function* namedAsync(pieces: AsyncIterable<Buffer>, codec: string): AsyncGenerator<Buffer> {
  try {
    yield* pieces
  } catch (error) {
    throw unreadable(error, codec)
  }
}

function unreadable(error: unknown, codec: string): Error {
  if (error instanceof ForebayError || error instanceof UnreadableRecords) return error
  return new UnreadableRecords(`its ${codec} bytes cannot be inflated (${String((error as Error | undefined)?.message)})`, { cause: error })
}
