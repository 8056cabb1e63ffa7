import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import type { JobLines, SectionDraft, SegmentHead } from '../../src/grid/segment.ts'

interface Line {
  readonly offset: bigint
  readonly timeMs: number
  readonly text: string
}

const secret = 'a secret'
const timeBase = 1_700_000_000_000
const text = fc.string({ unit: 'grapheme', maxLength: 12 }).map((line) => line.replaceAll(/[\n\r]/g, ' '))

/** Lines as (step from the last offset, text, time): several lines of one event follow a step of 0. */
const lines = fc
  .array(fc.tuple(fc.constantFrom(0, 0, 1, 1, 7, 100_000), text, fc.integer({ min: 0, max: 1_000_000 })), { maxLength: 25 })
  .map((steps) => (base: bigint): Line[] => {
    let offset = base
    return steps.map(([step, line, timeMs], index) => {
      offset += BigInt(index === 0 ? step + 1 : step)
      return { offset, timeMs: timeBase + timeMs, text: line }
    })
  })

const sections = fc.uniqueArray(
  fc.record({ task: fc.constantFrom('storeTrade', 'pushPrice', 'ü'), kind: fc.constantFrom('job' as const, 'dead' as const), lines }),
  {
    selector: ({ task, kind }) => `${task}/${kind}`,
  },
)

const segments = fc
  .record({
    scope: fc.string({ maxLength: 10 }),
    owner: fc.string({ maxLength: 10 }),
    repair: fc.nat(1000),
    partition: fc.nat(100),
    queue: fc.nat(100),
    lo: fc.bigInt({ min: -1n, max: 2n ** 62n }),
    beyond: fc.nat(1000),
    sections,
  })
  .map(({ lo, beyond, sections: made, ...stamp }) => {
    const filled = made.map(({ task, kind, lines: from }) => ({ task, kind, lines: from(lo) }))
    const last = filled.flatMap((section) => section.lines.map(({ offset }) => offset)).reduce((a, b) => (b > a ? b : a), lo)
    return { head: { ...stamp, lo, hi: last + BigInt(beyond) } satisfies SegmentHead, sections: filled }
  })

function draftOf({ task, kind, lines: of }: { task: string; kind: 'job' | 'dead'; lines: Line[] }): SectionDraft {
  return {
    task,
    kind,
    offsets: of.map(({ offset }) => offset),
    timesMs: of.map(({ timeMs }) => timeMs),
    text: of.map((line) => `${line.text}\n`).join(''),
  }
}

function linesOf(section: JobLines): Line[] {
  return section.lines().map((line, index) => ({ offset: section.offset(index), timeMs: section.timeMs(index), text: line }))
}

const head: SegmentHead = { scope: 's', owner: 'o', repair: 3, partition: 1, queue: 2, lo: 99n, hi: 110n }
const example: Line[] = [
  { offset: 100n, timeMs: timeBase, text: 'a' },
  { offset: 100n, timeMs: timeBase, text: 'b' },
  { offset: 103n, timeMs: timeBase + 5, text: '' },
  { offset: 107n, timeMs: timeBase + 9, text: 'ç' },
  { offset: 107n, timeMs: timeBase + 9, text: 'd' },
  { offset: 107n, timeMs: timeBase + 9, text: 'e' },
]

function exampleSection(): JobLines {
  const decoded = decodeSegment(encodeSegment(head, [draftOf({ task: 't', kind: 'job', lines: example })], secret), secret)
  return decoded!.sections[0]!
}

describe('segment', () => {
  it('gives back what was encoded (I6)', () => {
    fc.assert(
      fc.property(segments, ({ head: made, sections: of }) => {
        const bytes = encodeSegment(made, of.map(draftOf), secret)
        const { sections: found, bytes: size, ...decoded } = decodeSegment(bytes, secret)!
        expect(decoded).toEqual(made)
        expect(size).toBe(bytes.length)
        const filled = of.filter((section) => section.lines.length > 0)
        expect(found.map((section) => ({ task: section.task, kind: section.kind, lines: linesOf(section) }))).toEqual(filled)
        for (const section of found) {
          expect([section.partition, section.queue, section.count]).toEqual([made.partition, made.queue, section.lines().length])
        }
      }),
    )
  })

  it('is encoded to the same bytes twice (I9)', () => {
    fc.assert(
      fc.property(segments, ({ head: made, sections: of }) =>
        encodeSegment(made, of.map(draftOf), secret).equals(encodeSegment(made, of.map(draftOf), secret)),
      ),
    )
  })

  it('is dropped when any one byte was changed', () => {
    const bytes = encodeSegment(head, [draftOf({ task: 't', kind: 'job', lines: example })], secret)
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [1, 0x80, 0xff]) {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= flip
        expect(decodeSegment(damaged, secret), `byte ${at} xor ${flip}`).toBeUndefined()
      }
    }
  })

  it('is dropped when it was cut, lengthened or made with another secret', () => {
    const bytes = encodeSegment(head, [draftOf({ task: 't', kind: 'job', lines: example })], secret)
    for (let length = 0; length < bytes.length; length++) expect(decodeSegment(bytes.subarray(0, length), secret)).toBeUndefined()
    expect(decodeSegment(Buffer.concat([bytes, Buffer.from('x')]), secret)).toBeUndefined()
    expect(decodeSegment(bytes, 'another secret')).toBeUndefined()
    expect(decodeSegment(bytes, secret)).toBeDefined()
  })

  it('is not mistaken for foreign bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeSegment(Buffer.from(bytes), secret) === undefined))
  })

  it('refuses offsets outside (lo, hi] and an end before its beginning', () => {
    const at = (offset: bigint) => [draftOf({ task: 't', kind: 'job', lines: [{ offset, timeMs: timeBase, text: 'a' }] })]
    expect(() => encodeSegment(head, at(99n), secret)).toThrow('I6')
    expect(() => encodeSegment(head, at(111n), secret)).toThrow('I6')
    expect(() => encodeSegment({ ...head, hi: 98n }, [], secret)).toThrow('I6')
    expect(decodeSegment(encodeSegment(head, [...at(100n)], secret), secret)?.sections).toHaveLength(1)
    expect(decodeSegment(encodeSegment({ ...head, hi: 99n }, [], secret), secret)?.sections).toEqual([])
  })
})

describe('the lines of a section', () => {
  it('keeps only whole events above an offset', () => {
    fc.assert(
      fc.property(segments, fc.nat(200_000), ({ head: made, sections: of }, step) => {
        const limit = made.lo + BigInt(step)
        const { sections: found } = decodeSegment(encodeSegment(made, of.map(draftOf), secret), secret)!
        for (const section of found) {
          const kept = section.after(limit)
          expect(linesOf(kept)).toEqual(linesOf(section).filter(({ offset }) => offset > limit))
        }
      }),
    )
  })

  it('is itself when nothing lies at or below the offset', () => {
    const section = exampleSection()
    expect(section.after(99n)).toBe(section)
    expect(section.after(107n).count).toBe(0)
  })

  it('slices at any lines, in slices too, with times, ordinals and bytes that belong together', () => {
    const section = exampleSection()
    const ordinals = [0, 1, 0, 0, 1, 2]
    for (let from = 0; from <= example.length; from++) {
      for (let to = from; to <= example.length; to++) {
        const slice = section.slice(from, to)
        expect(linesOf(slice)).toEqual(example.slice(from, to))
        expect(
          example.slice(from, to).map((_, index) => slice.ordinal(index)),
          `ordinals of ${from} to ${to}`,
        ).toEqual(ordinals.slice(from, to))
        for (let at = 0; at <= to - from; at++) {
          const inner = slice.slice(at, to - from)
          expect(linesOf(inner)).toEqual(example.slice(from + at, to))
          expect(
            Array.from({ length: inner.count }, (_, index) => inner.ordinal(index)),
            `ordinals of ${from + at} to ${to}`,
          ).toEqual(ordinals.slice(from + at, to))
        }
      }
    }
  })
})
