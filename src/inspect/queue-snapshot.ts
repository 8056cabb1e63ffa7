/**
 * A copy of a queue as it was at one moment, by sequence numbers: segments are immutable and reading removes nothing, so writer
 * and reader go on undisturbed. What the writer overwrites while the copy is made is told, not guessed. No more than a few
 * segments are held at a time: each is taken for what is wanted of it as it comes.
 */
import type { JobGrid } from '../grid/job-grid.ts'

export interface QueueSnapshot<Slot> {
  readonly tailSequence: bigint
  readonly slots: readonly Slot[]
  /** Slots that were overwritten while the copy was made. */
  readonly overwritten: number
}

const readCountMax = 16
/** A ring has at most 100,000 entries; the reads of a copy are bounded all the same. */
const readsMax = 10_000

/** Goes through `ring` up to the tail it has now; `take` says what to keep of an entry. Throws FB_GRID_UNREACHABLE. */
export async function snapshotQueue<Slot>(
  grid: JobGrid,
  ring: string,
  take: (sequence: bigint, entry: Buffer) => Slot,
): Promise<QueueSnapshot<Slot>> {
  const { sequence: tailSequence } = await grid.tail(ring)
  const slots: Slot[] = []
  let from = 0n
  let overwritten = 0
  for (let reads = 0; reads < readsMax && from <= tailSequence; reads++) {
    const { entries, nextSequence } = await grid.peek(ring, from, readCountMax)
    if (entries.length === 0 && nextSequence <= from) break
    const first = nextSequence - BigInt(entries.length)
    if (slots.length > 0 && first > from) overwritten += Number(first - from)
    entries.forEach((entry, index) => {
      const sequence = first + BigInt(index)
      if (sequence <= tailSequence) slots.push(take(sequence, entry))
    })
    from = nextSequence
  }
  return { tailSequence, slots, overwritten }
}
