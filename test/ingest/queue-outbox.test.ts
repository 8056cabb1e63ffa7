import { expect, it } from 'vitest'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import { QueueOutbox } from '../../src/ingest/queue-outbox.ts'
import type { Draft } from '../../src/ingest/queue-outbox.ts'

const secret = 'a secret of the test'
const template = [{ task: 'store', kind: 'job' as const }]
const newOutbox = () => new QueueOutbox(0, -1n, template, { linesBytesMax: 100_000, windowSegmentsMax: 64 })
const event = (offset: bigint) => ({ queue: 0, lines: [{ section: 0, text: `row ${offset}` }], bytes: 20 })

/** Sends every draft, as the owner does: the offsets of each segment, as a reader finds them. */
function sendAll(outbox: QueueOutbox, position: bigint): { lo: bigint; hi: bigint; offsets: bigint[] }[] {
  const sent = []
  for (let draft: Draft | undefined = outbox.takeDraft(position, true); draft !== undefined; draft = outbox.takeDraft(position, true)) {
    const head = { scope: 's', partition: 0, queue: 0, owner: 'n', repair: 0, lo: outbox.sent, hi: draft.hi }
    const segment = decodeSegment(encodeSegment(head, draft.sections, secret), secret)!
    outbox.acknowledge(draft.hi, segment.bytes)
    const offsets = segment.sections.flatMap((section) => Array.from({ length: section.count }, (_, index) => section.offset(index)))
    sent.push({ lo: segment.lo, hi: segment.hi, offsets })
  }
  return sent
}

it('events whose offsets lie further apart than a segment can tell go into segments of their own', () => {
  const outbox = newOutbox()
  const offsets = [5n, 6n, 2n ** 31n, 2n ** 33n, 2n ** 33n + 1n, 2n ** 62n]
  for (const [index, offset] of offsets.entries()) outbox.add(event(offset), offset, 1000, index === 0 ? -1n : offset - 1n)
  const segments = sendAll(outbox, offsets.at(-1)!)
  expect(segments.map(({ offsets: of }) => of)).toEqual([[5n, 6n, 2n ** 31n], [2n ** 33n, 2n ** 33n + 1n], [2n ** 62n]])
  // Without a gap: each begins where the one before it ends.
  expect(segments.map(({ lo }) => lo)).toEqual([-1n, ...segments.slice(0, -1).map(({ hi }) => hi)])
  expect([outbox.sent, outbox.isIdle]).toEqual([2n ** 62n, true])
})

it('a span counts from the first event of its own segment', () => {
  const outbox = newOutbox()
  for (let n = 0n; n < 8n; n++) outbox.add(event(n << 30n), n << 30n, 1000, (n << 30n) - 1n)
  expect(sendAll(outbox, 7n << 30n).map(({ offsets: of }) => of.map((offset) => offset >> 30n))).toEqual([
    [0n, 1n, 2n],
    [3n, 4n, 5n],
    [6n, 7n],
  ])
})
