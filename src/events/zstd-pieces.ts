/** Zstandard: by Node itself where it has it (from 22.15 on), else by a decoder in JavaScript. */
import { createRequire } from 'node:module'
import vm from 'node:vm'
import zlib from 'node:zlib'
import { atOnce, pieceBytesMax } from './inflated-pieces.ts'
import type { Pieces } from './inflated-pieces.ts'
import { UnreadableRecords } from './kafka-record-batch.ts'
import { zstdFrames } from './zstd-frames.ts'

/** What newer versions of Node have, whose types are not those of the oldest one that is supported. */
interface NodeZstd {
  readonly zstdDecompressSync?: (body: Buffer, options: { maxOutputLength: number }) => Buffer
  readonly createZstdDecompress?: (options: { chunkSize: number }) => { end(body: Buffer): AsyncIterable<Buffer> }
}

type Library = typeof import('fzstd')
const { zstdDecompressSync, createZstdDecompress } = zlib as unknown as NodeZstd
/** A body with fewer matches than this takes no time worth a guard, whatever they ask for. */
const unguardedSequences = 1000
/** A full block takes about two milliseconds; one that was forged may ask for a minute of copying beyond its end. So much time is given, */
const spareMs = 1000
/** and so much more for each full block that was made of it. */
const blockMs = 50
const blockBytes = 128 * 1024
/** The decoder moves all of its window at each block. So much is done whatever the blocks hold, */
const movedBytesFree = 2 ** 32
/** and so much more for each byte that they hold: as the largest window takes with full blocks. */
const movedBytesPerByte = 2 ** 10
let library: Library | undefined

/** Throws UnreadableRecords, and what the decoder throws. */
export function zstdPieces(body: Buffer): Pieces {
  if (zstdDecompressSync === undefined || createZstdDecompress === undefined) return scriptedPieces(body)
  const native = (frame: Buffer): Pieces =>
    atOnce(frame, (maxOutputLength) => zstdDecompressSync(frame, { maxOutputLength })) ??
    createZstdDecompress({ chunkSize: pieceBytesMax }).end(frame)
  const frames = [...zstdFrames(body)].map(({ bytes }) => bytes)
  return frames.length === 1 ? native(frames[0]!) : piecesOfAll(frames, native)
}

/** Node's decoder stops behind the first frame, and says nothing of others. */
async function* piecesOfAll(frames: readonly Buffer[], native: (frame: Buffer) => Pieces): AsyncGenerator<Buffer> {
  for (const frame of frames) yield* native(frame)
}

/** By JavaScript, block by block. Throws UnreadableRecords, and what the decoder throws. */
export function* scriptedPieces(body: Buffer): Generator<Buffer> {
  library ??= createRequire(import.meta.url)('fzstd') as Library
  let [movedBytes, sequences, leftMs] = [-movedBytesFree, 0, spareMs]
  for (const frame of zstdFrames(body)) {
    let made: Buffer[] = []
    const decoder = new library.Decompress((piece) => {
      // It writes into the same bytes again.
      if (piece.length > 0) made.push(Buffer.from(piece))
      movedBytes += frame.windowBytes - piece.length * movedBytesPerByte
      leftMs = Math.min(spareMs, leftMs + (blockMs * piece.length) / blockBytes)
    })
    sequences += frame.sequences
    for (const [i, block] of frame.blocks.entries()) {
      const push = () => decoder.push(block, i === frame.blocks.length - 1)
      if (sequences < unguardedSequences) push()
      else leftMs -= timeOf(push, leftMs)
      if (movedBytes > 0) throw new UnreadableRecords(`its zstd blocks hold too little for a window of ${frame.windowBytes} bytes`)
      yield* made
      made = []
    }
  }
}

const guarded = vm.createContext({ push: undefined as unknown })
const call = new vm.Script('push()')

/** How long it took. Throws UnreadableRecords when it takes longer than it may. */
function timeOf(push: () => void, limitMs: number): number {
  const startedAt = performance.now()
  guarded['push'] = push
  try {
    call.runInContext(guarded, { timeout: Math.max(1, Math.ceil(limitMs)) })
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
    throw new UnreadableRecords('its zstd frame takes too long for what it holds')
  } finally {
    guarded['push'] = undefined
  }
  return performance.now() - startedAt
}
