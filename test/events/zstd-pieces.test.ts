/** Zstandard by JavaScript (Node 20), and by whatever this Node reads it with. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import { scriptedPieces, zstdPieces } from '../../src/events/zstd-pieces.ts'
import { batchAround, codecs, readFetch } from '../support/kafka-batch.ts'
import { copiesWithoutEnd, skippable, weightsWithoutEnd, written, zstdBlock, zstdFrame } from '../support/zstd-frames.ts'

const frames = Object.entries(written).map(([name, [content, frame]]) => ({ name, content, frame: Buffer.from(frame, 'base64') }))
/** What a reader may take for one frame, on a machine that has other work too. */
const patienceMs = 10_000

async function contentOf(pieces: ReturnType<typeof zstdPieces>): Promise<string> {
  const parts: Buffer[] = []
  for await (const piece of pieces) parts.push(piece)
  return Buffer.concat(parts).toString()
}

describe.each(frames)('A frame that zstd wrote ($name)', ({ content, frame }) => {
  it('is read, behind frames to be passed over and other frames too', async () => {
    for (const body of [frame, Buffer.concat([skippable(Buffer.from('0123456789')), frame])]) {
      expect(await contentOf(scriptedPieces(body))).toBe(content)
      expect(await contentOf(zstdPieces(body))).toBe(content)
    }
    expect(await contentOf(scriptedPieces(Buffer.concat([frame, skippable(Buffer.alloc(0)), frame])))).toBe(content + content)
  })

  it('is refused when it is cut off anywhere', () => {
    for (let bytes = 1; bytes < frame.length; bytes++) expect(() => [...scriptedPieces(frame.subarray(0, bytes))]).toThrow()
  })
})

describe('A frame that was changed', () => {
  it('in any bytes is read or refused, in time, whatever it says', { timeout: 120_000 }, async () => {
    const change = fc.tuple(fc.nat(4096), fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255)))
    let slowestMs = 0
    await fc.assert(
      fc.asyncProperty(
        fc.nat(frames.length - 1),
        fc.array(change, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        async (which, changes, isHead) => {
          const changed = Buffer.from(frames[which]!.frame)
          for (const [at, byte] of changes) changed[at % (isHead ? 30 : changed.length)] = byte
          const startedAt = performance.now()
          const { error } = await readFetch(batchAround(changed, 7, { attributes: codecs.zstd }), { keeps: false })
          expect(isForebayError(error, 'FB_EVENT_LOG_UNREADABLE')).toBe(true)
          try {
            for (const piece of scriptedPieces(changed)) expect(piece.length).toBeLessThanOrEqual(128 * 1024)
          } catch (failure) {
            expect(failure).toBeInstanceOf(Error)
          }
          slowestMs = Math.max(slowestMs, performance.now() - startedAt)
        },
      ),
      { numRuns: 400 },
    )
    expect(slowestMs).toBeLessThan(2 * patienceMs)
  })
})

describe('A frame that was forged', () => {
  const last = { isLast: true }
  const bomb = zstdFrame(17, zstdBlock('compressed', copiesWithoutEnd, last))
  const tiny = zstdBlock('repeated', Buffer.from('a'), { size: 1 })
  it.each([
    ['asks for a minute of copying', 'takes too long', bomb],
    ['asks for it again and again', 'takes too long', Buffer.concat(Array.from({ length: 50 }, () => bomb))],
    ['has weights without an end', 'have no end', zstdFrame(17, zstdBlock('compressed', weightsWithoutEnd, last))],
    ['needs a window of gigabytes', 'needs a window of', zstdFrame(31, zstdBlock('repeated', Buffer.from('a'), last))],
    ['needs it behind another one', 'needs a window of', Buffer.concat([frames[0]!.frame, zstdFrame(30, tiny)])],
    ['needs it behind one to be passed over', 'needs a window of', Buffer.concat([skippable(Buffer.alloc(3)), zstdFrame(30, tiny)])],
    [
      'makes its window move for every byte',
      'hold too little',
      zstdFrame(27, ...Array.from({ length: 100_000 }, () => tiny), zstdBlock('stored', Buffer.alloc(0), last)),
    ],
    [
      'has a block of two megabytes',
      'has 2097151 bytes',
      zstdFrame(17, zstdBlock('repeated', Buffer.from('a'), { ...last, size: 2 ** 21 - 1 })),
    ],
  ])('and %s is refused in time', { timeout: 60_000 }, async (_name, sentence, body) => {
    const startedAt = performance.now()
    expect(() => {
      for (const piece of scriptedPieces(body)) void piece
    }).toThrow(expect.objectContaining({ name: 'UnreadableRecords', message: expect.stringContaining(sentence) }))
    expect(performance.now() - startedAt).toBeLessThan(patienceMs)
    // By this Node's own reader too it is an error of the batch or no records.
    const { error, events } = await readFetch(batchAround(body, 7, { attributes: codecs.zstd }))
    expect([isForebayError(error, 'FB_EVENT_LOG_UNREADABLE'), events]).toEqual([true, []])
    expect(performance.now() - startedAt).toBeLessThan(2 * patienceMs)
  })

  it('in full blocks is given piece by piece, however far it inflates', { timeout: 20_000 }, () => {
    const block = zstdBlock('repeated', Buffer.from('a'), { size: 128 * 1024 })
    const before = process.memoryUsage().rss
    let bytes = 0
    for (const piece of scriptedPieces(
      zstdFrame(20, ...Array.from({ length: 1000 }, () => block), zstdBlock('stored', Buffer.alloc(0), last)),
    ))
      bytes += piece.length
    expect(bytes).toBe(1000 * 128 * 1024)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024)
  })
})
