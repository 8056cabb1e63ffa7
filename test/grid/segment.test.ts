import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeSegment, encodeSegment, readSegmentHead } from '../../src/grid/segment.ts'
import type { JobLines, SectionDraft, SegmentHead } from '../../src/grid/segment.ts'
import { signatureOf } from '../../src/grid/signature.ts'
import { newestOf } from '../../src/sinks/web-socket/latest-wire.ts'
import { TaskInbox } from '../../src/work/task-inbox.ts'

interface Line {
  readonly offset: bigint
  readonly timeMs: number
  readonly text: string
}

const secret = 'a secret'
const timeBase = 1_700_000_000_000
const text = fc.string({ unit: 'grapheme', maxLength: 12 }).map((line) => line.replaceAll(/[\n\r]/g, ' '))

/** Beside `timeBase`: close to it as a rule, and now and then as far as a record's time may be. */
const times = fc.oneof(
  { weight: 30, arbitrary: fc.integer({ min: 0, max: 1_000_000 }) },
  fc.integer({ min: -timeBase, max: 253_402_300_799_999 - timeBase }),
)

/** Lines as (step from the last offset, text, time): several lines of one event follow a step of 0. */
const lines = fc
  .array(fc.tuple(fc.constantFrom(0, 0, 1, 1, 7, 100_000), text, times), { maxLength: 25 })
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

/** Bytes with a valid HMAC over anything. */
function signed(header: string | Buffer, body: Buffer, headerBytes?: number): Buffer {
  const text = Buffer.from(header)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(headerBytes ?? text.length)
  const rest = Buffer.concat([length, text, body])
  return Buffer.concat([Buffer.from('FBS1'), signatureOf(secret, rest), rest])
}

const oddText = fc.constantFrom('0', '-1', '99', '9223372036854775807', '9223372036854775808', '1e3', '', 'x', '-9999999999999999999')
const oddNumber = fc.oneof(fc.nat(40), fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e300, Number.MAX_VALUE))
const oddValue = fc.oneof(oddText, oddNumber, fc.constantFrom(null, true, [], {}, { length: 3 }))
const oddSection = fc.record(
  {
    task: fc.oneof(fc.constantFrom('t', '__proto__', 'constructor'), oddValue),
    kind: fc.oneof(fc.constantFrom('job', 'dead'), oddValue),
    count: fc.oneof(fc.nat(3), oddValue),
    bytes: fc.oneof(fc.nat(9), oddValue),
  },
  { requiredKeys: ['task'] },
)
const oddHead = fc.record(
  {
    scope: fc.oneof(fc.constant('s'), oddValue),
    owner: fc.oneof(fc.constant('o'), oddValue),
    partition: fc.oneof(fc.constant(1), oddValue),
    queue: fc.oneof(fc.constant(2), oddValue),
    repair: fc.oneof(fc.constant(0), oddValue),
    lo: fc.oneof(fc.constant('9'), oddValue),
    hi: fc.oneof(fc.constant('99'), oddValue),
    base: fc.oneof(fc.constant('10'), oddValue),
    baseMs: fc.oneof(fc.constant(0), oddValue),
    sections: fc.oneof(fc.array(oddSection, { maxLength: 3 }), oddValue),
  },
  { requiredKeys: ['scope', 'lo', 'hi'] },
)
const body = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
const wrongBy = fc.constantFrom(0, 0, 0, 1, -1, 1000, 2 ** 32)
/** Sections with any bytes in them, whose lengths fit or not. */
const fitting = fc.tuple(fc.array(fc.tuple(fc.nat(4), body), { maxLength: 3 }), wrongBy, wrongBy).map(([made, countBy, bytesBy]) => {
  const sections = made.map(([count, text]) => ({ task: 't', kind: 'job', count: count + countBy, bytes: text.length + bytesBy }))
  const bytes = made.map(([count, text]) => Buffer.concat([Buffer.alloc(count * 8), text]))
  const wire = { scope: 's', owner: 'o', partition: 1, queue: 2, repair: 0, lo: '9', hi: '99', base: '10', baseMs: 0, sections }
  return signed(JSON.stringify(wire), Buffer.concat(bytes))
})
const forgeries = fc.oneof(
  fitting,
  fc.tuple(oddHead, body).map(([wire, bytes]) => signed(JSON.stringify(wire), bytes)),
  fc.tuple(fc.json(), body).map(([wire, bytes]) => signed(wire, bytes)),
  fc
    .tuple(oddHead, body, fc.constantFrom(0, 1, 0xffff, 0x7fffffff, 0xffffffff))
    .map(([wire, bytes, n]) => signed(JSON.stringify(wire), bytes, n)),
  fc.tuple(body, body).map(([wire, bytes]) => signed(wire, bytes)),
  body,
)

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

  it('never throws and promises nothing that is not there, whatever somebody with the secret wrote', () => {
    fc.assert(
      fc.property(forgeries, (bytes) => {
        readSegmentHead(bytes)
        const found = decodeSegment(bytes, secret)
        if (found === undefined) return
        expect(found.hi).toBeGreaterThanOrEqual(found.lo)
        for (const section of found.sections) {
          const offsets = Array.from({ length: section.count }, (_, index) => section.offset(index))
          expect(offsets.every((offset) => typeof offset === 'bigint' && offset > found.lo)).toBe(true)
          for (let index = 0; index < section.count; index++)
            expect(Number.isFinite(section.timeMs(index) + section.ordinal(index))).toBe(true)
          section.after(found.lo + 1n).lines()
          newestOf([section])
        }
        const inbox = new TaskInbox('__proto__', found.lo)
        inbox.push(found, found.lo)
        inbox.take(10)
      }),
      { numRuns: 2000 },
    )
  })

  it('takes tasks by any name', () => {
    for (const task of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const found = decodeSegment(encodeSegment(head, [draftOf({ task, kind: 'job', lines: example })], secret), secret)!
      expect(found.sections.map((section) => section.task)).toEqual([task])
      const inbox = new TaskInbox(task, head.lo)
      inbox.push(found, head.lo)
      expect(inbox.rows).toBe(example.length)
    }
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
