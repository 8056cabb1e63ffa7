/** What becomes of any events, against a description that they are made of. The lines of a dead letter are told by their section. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Converter } from '../../src/ingest/converter.ts'
import type { ConvertedEvent, ConvertingTask, DeadLine } from '../../src/ingest/converter.ts'

type Fault = 'convert' | 'latestBy' | 'encode' | undefined

/** What one task makes of an event: nothing, one job, or a list. */
interface Made {
  readonly kind: 'none' | 'one' | 'list'
  readonly jobs: readonly { readonly name: string; readonly isBad: boolean; readonly bytes: number }[]
  readonly fault: Fault
}

interface Described {
  readonly isUndecodable: boolean
  readonly made: readonly Made[]
}

const linesBytesMax = 600
const overheadBytes = 9
const taskNames = ['store', 'push', 'count'] as const
const pushes = 1

const job = fc.record({
  name: fc.constantFrom('x', 'y', 'z'),
  isBad: fc.boolean(),
  bytes: fc.oneof(fc.constant(0), fc.integer({ min: 150, max: 300 })),
})
const soundJob = job.map((of) => ({ ...of, isBad: false }))
const made: fc.Arbitrary<Made> = fc.oneof(
  fc.constant<Made>({ kind: 'none', jobs: [], fault: undefined }),
  fc.record({
    kind: fc.constant('one' as const),
    jobs: soundJob.map((of) => [of]),
    fault: fc.constantFrom<Fault>(undefined, undefined, undefined, 'convert', 'latestBy', 'encode'),
  }),
  fc.record({
    kind: fc.constant('list' as const),
    jobs: fc.array(fc.oneof(soundJob, soundJob, job), { maxLength: 4 }),
    fault: fc.constant<Fault>(undefined),
  }),
)
const events: fc.Arbitrary<Described[]> = fc.array(
  fc.record({ isUndecodable: fc.integer({ min: 0, max: 9 }).map((n) => n === 0), made: fc.tuple(made, made, made) }),
  { minLength: 1, maxLength: 14 },
)

const textOf = (offset: number, task: number, ordinal: number, of: { name: string; bytes: number }) =>
  `${of.name} ${taskNames[task]} ${offset}/${ordinal} ${'x'.repeat(of.bytes)}`

function tasksFor(all: readonly Described[]): ConvertingTask[] {
  return taskNames.map((name, task) => ({
    name,
    isTracked: task !== pushes,
    convert: (_event, { offset }) => {
      const { kind, jobs, fault } = all[Number(offset)]!.made[task]!
      if (fault === 'convert') throw new Error('convert')
      const out = jobs.map((of, ordinal) => ({ ...of, fault, text: textOf(Number(offset), task, ordinal, of) }))
      return kind === 'none' ? undefined : kind === 'one' ? out[0] : out
    },
    encode: (of) => {
      const { isBad, fault, text } = of as { isBad: boolean; fault: Fault; text: string }
      if (isBad || fault === 'encode') throw new Error('encode')
      return text
    },
    ...(task === pushes
      ? {
          latestBy: (of: unknown) => {
            const { name: key, fault } = of as { name: string; fault: Fault }
            if (fault === 'latestBy') throw new Error('latestBy')
            return key
          },
        }
      : {}),
  }))
}

function convert(all: readonly Described[]): ConvertedEvent[] {
  const converter = new Converter({
    source: {
      topic: 'ticks',
      tombstones: 'skip',
      decode: {
        decode: (_value, { offset }) => {
          if (all[Number(offset)]!.isUndecodable) throw new Error('decode')
          return {}
        },
      },
    },
    key: () => 'k',
    tasks: tasksFor(all),
    queues: 8,
    eventBytesMax: 1000,
    linesBytesMax,
  })
  const records = all.map((_, offset) => ({ offset: BigInt(offset), timestampMs: 1, key: null, value: Buffer.from('v') }))
  return converter.convertAll(records, 0)
}

/** What a task fails with; `latestBy` is asked of a single job of the task of latest values only. */
function failureOf({ jobs, fault, kind }: Made, task: number): string | undefined {
  if (fault === 'convert') return 'convert'
  if (fault === 'latestBy') return task === pushes && kind === 'one' ? 'latestBy' : undefined
  return fault === 'encode' || jobs.some(({ isBad }) => isBad) ? 'encode' : undefined
}

/** The lines of each task when nothing may be left out: `dead` stands for its dead letter. */
function wholeLines(of: Described, offset: number): string[][] {
  return of.made.map((task, index) => {
    if (failureOf(task, index) !== undefined) return ['dead']
    return task.jobs.map((one, ordinal) => textOf(offset, index, ordinal, one))
  })
}

/** As `wholeLines`, of what became of an event; undefined when it is a dead letter as a whole. */
function foundLines({ lines }: ConvertedEvent): string[][] | undefined {
  const found: string[][] = taskNames.map(() => [])
  for (const { section, text } of lines) {
    if (section % 2 === 0) found[section / 2]!.push(text)
    else {
      const { task } = JSON.parse(text) as DeadLine
      if (task === null) return undefined
      found[taskNames.indexOf(task as (typeof taskNames)[number])]!.push('dead')
    }
  }
  return found
}

const bytesOf = (lines: readonly { text: string }[]) => lines.reduce((sum, { text }) => sum + Buffer.byteLength(text) + overheadBytes, 0)

describe('Converted events', () => {
  it('hold all that a task makes of an event or its dead letter, whatever the other tasks and events do', () => {
    fc.assert(
      fc.property(events, (all) => {
        const converted = convert(all)
        all.forEach((event, offset) => {
          const found = foundLines(converted[offset]!)
          expect(found === undefined || !event.isUndecodable).toBe(true)
          if (found === undefined) return
          const whole = wholeLines(event, offset)
          for (const [task, lines] of whole.entries()) {
            // What a later value replaces is not even encoded.
            const isReplaceable =
              task === pushes && event.made[task]!.kind === 'one' && [undefined, 'encode'].includes(failureOf(event.made[task]!, task))
            if (!isReplaceable || found[task]!.length > 0) expect(found[task]).toEqual(lines)
          }
        })
      }),
      { numRuns: 400 },
    )
  })

  it('are one dead letter of queue 0 when they would not fit into a segment, and only then', () => {
    fc.assert(
      fc.property(events, (all) => {
        const converted = convert(all)
        all.forEach((event, offset) => {
          const { lines, bytes, queue } = converted[offset]!
          expect(bytes).toBe(bytesOf(lines))
          if (event.isUndecodable) return
          const isDead = foundLines(converted[offset]!) === undefined
          if (isDead) expect([lines.length, queue]).toEqual([1, 0])
          else expect(bytes).toBeLessThanOrEqual(linesBytesMax)
          // Without any task that fails, the size is known from the description; what is left out makes it smaller.
          if (event.made.some((task, index) => failureOf(task, index) !== undefined)) return
          const whole = wholeLines(event, offset).flat()
          if (isDead) expect(bytesOf(whole.map((text) => ({ text })))).toBeGreaterThan(linesBytesMax)
        })
      }),
      { numRuns: 400 },
    )
  })

  it('leave a latest value out only for a later one of its key that is there', () => {
    fc.assert(
      fc.property(events, (all) => {
        const found = convert(all).map(foundLines)
        all.forEach((event, offset) => {
          const { kind, jobs } = event.made[pushes]!
          if (event.isUndecodable || found[offset] === undefined || kind !== 'one' || found[offset][pushes]!.length > 0) return
          const later = found
            .slice(offset + 1)
            .flatMap((lines, i) => (all[offset + 1 + i]!.made[pushes]!.kind === 'one' ? (lines?.[pushes] ?? []) : []))
          expect(later.map((line) => line.split(' ')[0])).toContain(jobs[0]!.name)
        })
      }),
      { numRuns: 400 },
    )
  })

  it('leave earlier values of a key out where nothing is wrong', () => {
    const one = (name: string): Described => ({
      isUndecodable: false,
      made: taskNames.map(() => ({ kind: 'one', jobs: [{ name, isBad: false, bytes: 0 }], fault: undefined })),
    })
    const found = convert(['x', 'y', 'x', 'x', 'y'].map(one)).map((event) => foundLines(event)![pushes]!.length)
    expect(found).toEqual([0, 0, 0, 1, 1])
  })

  it('are the same when they are converted twice (I9)', () => {
    fc.assert(
      fc.property(events, (all) => {
        expect(convert(all)).toEqual(convert(all))
      }),
    )
  })
})
