/** What a codec makes of a compressed batch: its bytes in pieces, each made when it is asked for. */
export type Pieces = Iterable<Buffer> | AsyncIterable<Buffer>

/** Pieces of at most so many bytes; the blocks of some codecs are larger. */
export const pieceBytesMax = 64 * 1024
/** Up to this size a batch is inflated at once, unless it turns out larger than `atOnceBytesMax`. */
const smallBytesMax = 16 * 1024
const atOnceBytesMax = 256 * 1024

/** The whole of a small batch, or null when it is large in either form. Throws what `inflate` throws. */
export function atOnce(body: Buffer, inflate: (outputBytesMax: number) => Buffer): Buffer[] | null {
  if (body.length > smallBytesMax) return null
  try {
    return [inflate(atOnceBytesMax)]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return null
    throw error
  }
}
