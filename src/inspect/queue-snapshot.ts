/**
 * A copy of a queue as it was at one moment, by sequence numbers: segments are immutable and reading removes nothing, so writer
 * and reader go on undisturbed. What the writer overwrites while the copy is made is told, not guessed.
 */
import type { JobGrid } from '../grid/job-grid.ts'
import { decodeSegment } from '../grid/segment.ts'
import type { Segment } from '../grid/segment.ts'

export interface RingSlot {
  readonly sequence: bigint
  /** Undefined: damaged, or signed with another secret. */
  readonly segment: Segment | undefined
  readonly bytes: number
}

export interface QueueSnapshot {
  readonly tailSequence: bigint
  readonly slots: readonly RingSlot[]
  /** Slots that were overwritten while the copy was made. */
  readonly overwritten: number
}

const readCountMax = 64
const readWaitMs = 300
/** A ring has at most 100,000 entries; the reads of a copy are bounded all the same. */
const readsMax = 4000

/** Reads `ring` up to the tail it has now. Throws FB_GRID_UNREACHABLE. */
export async function snapshotQueue(grid: JobGrid, ring: string, secret: string): Promise<QueueSnapshot> {
  const { sequence: tailSequence } = await grid.tail(ring)
  const slots: RingSlot[] = []
  let from = 0n
  let overwritten = 0
  for (let reads = 0; reads < readsMax && from <= tailSequence; reads++) {
    const { entries, nextSequence } = await grid.read(ring, from, { countMax: readCountMax, waitMs: readWaitMs })
    if (entries.length === 0 && nextSequence <= from) break
    const first = nextSequence - BigInt(entries.length)
    if (slots.length > 0 && first > from) overwritten += Number(first - from)
    entries.forEach((entry, index) => {
      const sequence = first + BigInt(index)
      if (sequence <= tailSequence) slots.push({ sequence, segment: decodeSegment(entry, secret), bytes: entry.length })
    })
    from = nextSequence
  }
  return { tailSequence, slots, overwritten }
}
