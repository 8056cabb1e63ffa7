/** Whatever events an owner buffers, the segments that it sends tell a reader the same. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import type { Segment } from '../../src/grid/segment.ts'
import { QueueOutbox } from '../../src/ingest/queue-outbox.ts'

const secret = 'a secret of the test'
const linesBytesMax = 400
const template = [
  { task: 'store', kind: 'job' as const },
  { task: 'store', kind: 'dead' as const },
  { task: 'push', kind: 'job' as const },
]

interface Line {
  readonly section: number
  readonly offset: bigint
  readonly timeMs: number
  readonly ordinal: number
  readonly text: string
}

/** Offsets that follow each other, leave small holes, or lie further apart than 32 bits can tell. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1n, 1n, 2n, 9n) },
  { weight: 2, arbitrary: fc.bigInt({ min: 1n, max: 2n ** 34n }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(2n ** 31n - 1n, 2n ** 31n, 2n ** 31n + 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 32n + 1n, 2n ** 40n),
  },
)
/** Record times are the producers' own: they go back, lie years apart, and at the ends of what a record can say. */
const time = fc.oneof(
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_001_000 }),
  fc.integer({ min: 0, max: 8_640_000_000_000_000 }),
  fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 8_640_000_000_000_000),
)
const lines = fc.array(fc.tuple(fc.nat(template.length - 1), fc.string({ unit: 'grapheme', maxLength: 30 })), { maxLength: 4 })
const events = fc.array(fc.record({ step, time, lines, isSent: fc.boolean() }), { minLength: 1, maxLength: 30 })
const start = fc.oneof(fc.constant(-1n), fc.bigInt({ min: -1n, max: 2n ** 62n }))

/** Takes every draft that there is, sends it as the owner does, and reads it as a reader does. */
function send(outbox: QueueOutbox, position: bigint, withOpen: boolean): Segment[] {
  const sent: Segment[] = []
  for (let draft = outbox.takeDraft(position, withOpen); draft !== undefined; draft = outbox.takeDraft(position, withOpen)) {
    const head = { scope: 's', partition: 0, queue: 0, owner: 'n', repair: 0, lo: outbox.sent, hi: draft.hi }
    const bytes = encodeSegment(head, draft.sections, secret)
    sent.push(decodeSegment(bytes, secret)!)
    outbox.acknowledge(draft.hi, bytes.length)
  }
  return sent
}

function linesOf({ sections }: Segment): Line[] {
  return sections.flatMap((section) => {
    const index = template.findIndex(({ task, kind }) => section.task === task && section.kind === kind)
    return section.lines().map((text, i) => ({
      section: index,
      offset: section.offset(i),
      timeMs: section.timeMs(i),
      ordinal: section.ordinal(i),
      text,
    }))
  })
}

const bySection = (all: readonly Line[]) => template.map((_, index) => all.filter(({ section }) => section === index))
const bytesOf = (of: readonly { text: string }[]) => of.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 9, 0)

it('a reader finds the lines that were buffered, in order, in segments that follow each other', () => {
  fc.assert(
    fc.property(start, events, (from, all) => {
      const outbox = new QueueOutbox(0, from, template, { linesBytesMax, windowSegmentsMax: 64 })
      const buffered: Line[] = []
      const segments: Segment[] = []
      let position = from
      for (const event of all) {
        const offset = position + event.step
        const made = event.lines.map(([section, text]) => ({ section, text: text.replaceAll(/[\n\r]/g, ' ') }))
        const counts = template.map(() => 0)
        for (const line of made) buffered.push({ ...line, offset, timeMs: event.time, ordinal: counts[line.section]!++ })
        outbox.add({ queue: 0, lines: made, bytes: bytesOf(made) }, offset, event.time, position)
        position = offset
        segments.push(...send(outbox, position, event.isSent))
      }
      segments.push(...send(outbox, position, true))
      expect(outbox.isIdle).toBe(true)
      const found = segments.map(linesOf)
      for (const of of found) {
        for (const line of of) {
          const origin = buffered.find(
            (other) => other.offset === line.offset && other.section === line.section && other.ordinal === line.ordinal,
          )!
          expect(line.timeMs).toBe(origin.timeMs)
        }
      }
      const timeless = (of: readonly Line[]) => bySection(of.map((line) => ({ ...line, timeMs: 0 })))
      expect(timeless(found.flat())).toEqual(timeless(buffered))
      expect(segments.map(({ lo }) => lo)).toEqual([from, ...segments.slice(0, -1).map(({ hi }) => hi)].slice(0, segments.length))
      for (const of of found) {
        const isOneEvent = new Set(of.map(({ offset }) => offset)).size <= 1
        expect(isOneEvent || bytesOf(of) <= linesBytesMax).toBe(true)
      }
    }),
    { numRuns: 300 },
  )
})
