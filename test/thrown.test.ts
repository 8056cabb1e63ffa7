import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ForebayError, isForebayError, sentenceOf } from '../src/errors.ts'
import { Converter } from '../src/ingest/converter.ts'
import type { DeadLine } from '../src/ingest/converter.ts'
import { createLogger } from '../src/status/logger.ts'
import { errorOf, stackOf } from '../src/thrown.ts'
import { rowEncoder } from '../src/sinks/postgres-table/row-encoder.ts'
import { latestLine } from '../src/sinks/web-socket/latest-line.ts'
import { planTable } from '../src/sinks/postgres-table/table-plan.ts'

function fail(): never {
  throw new Error('a trap')
}

function revoked(target: object = {}): object {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

function withGetter(name: string): object {
  return Object.defineProperty(new Error('x'), name, { get: fail })
}

function cyclic(): Error {
  const error = new Error('it turns')
  error.cause = error
  return Object.assign(new AggregateError([error], ''), { errors: [new AggregateError([error], ''), error] })
}

const hostile = (): readonly (readonly [what: string, thrown: unknown])[] => [
  ['nothing', undefined],
  ['null', null],
  ['an empty text', ''],
  ['a symbol', Symbol('s')],
  ['a bigint', 10n ** 400n],
  ['a function', () => fail()],
  ['a null prototype', Object.create(null)],
  ['a throwing toString', { toString: fail }],
  ['a toString that gives an object', { toString: () => ({}) }],
  ['a throwing toPrimitive', { [Symbol.toPrimitive]: fail }],
  ['a throwing message', withGetter('message')],
  ['a throwing stack', withGetter('stack')],
  ['a throwing name', withGetter('name')],
  ['a throwing cause', withGetter('cause')],
  ['a message that is an object', Object.assign(new Error(), { message: { a: 1 } })],
  ['a message that is a number', { message: 7 }],
  ['10 MB', new Error('€'.repeat(10_000_000))],
  ['half a pair at the cut', new Error('😀'.repeat(20_000))],
  ['U+0000', new Error('a\0b')],
  ['a proxy that throws', new Proxy({}, { get: fail, has: fail, getPrototypeOf: fail, ownKeys: fail, getOwnPropertyDescriptor: fail })],
  ['a revoked proxy', revoked()],
  ['a revoked proxy of an error', revoked(new Error('x'))],
  ['a revoked proxy of an array', { errors: revoked([]) }],
  ['a prototype that is a revoked proxy', Object.setPrototypeOf(new Error('x'), revoked())],
  ['a cause that is a revoked proxy', new Error('x', { cause: revoked() })],
  ['a cycle', cyclic()],
  [
    'an endless aggregate',
    Object.defineProperty({}, 'errors', {
      get: function (this: object) {
        return [this]
      },
    }),
  ],
  ['an error of another realm', runInNewContext('new Error("from afar")')],
  ['a forged forebay error', Object.create(ForebayError.prototype)],
  ['a forebay error of no known code', new ForebayError('toString' as 'FB_USAGE', 'x')],
]

/** In a box: the generator itself looks into what it gives. */
const anything = fc.oneof(
  fc
    .oneof(
      fc.anything({
        withNullPrototype: true,
        withBigInt: true,
        withDate: true,
        withMap: true,
        withSparseArray: true,
        withTypedArray: true,
      }),
      fc.record(
        { message: fc.anything(), name: fc.anything(), cause: fc.anything(), errors: fc.anything(), toString: fc.anything() },
        { requiredKeys: [] },
      ),
      fc.anything().map((message) => Object.assign(new Error(), { message })),
    )
    .map((thrown) => ({ thrown })),
  fc.nat(hostile().length - 1).map((index) => ({ thrown: hostile()[index]![1] })),
)

function isSentence(text: unknown, charsMax: number): boolean {
  return typeof text === 'string' && text.length > 0 && text.length <= charsMax && text.isWellFormed() && !text.includes('\0')
}

describe('whatever is thrown', () => {
  it('has a bounded sentence that any text column can hold', () => {
    fc.assert(
      fc.property(anything, fc.integer({ min: 2, max: 2000 }), ({ thrown }, charsMax) => {
        expect(isSentence(sentenceOf(thrown, charsMax), charsMax)).toBe(true)
        expect(isSentence(stackOf(thrown, charsMax), charsMax)).toBe(true)
        expect(isSentence(errorOf(thrown).message, Infinity) || errorOf(thrown) === thrown).toBe(true)
        expect(typeof isForebayError(thrown)).toBe('boolean')
        if (isForebayError(thrown)) expect(['retry', 'halt', 'fatal']).toContain(thrown.policy)
      }),
      { numRuns: 1000 },
    )
  })

  it.each(hostile())('%s has a bounded sentence', (_, thrown) => {
    expect(isSentence(sentenceOf(thrown), 10_000)).toBe(true)
  })

  it('says what it says', () => {
    expect(sentenceOf(new Error('no key'))).toBe('no key')
    expect(sentenceOf('a text')).toBe('a text')
    expect(sentenceOf({ message: 'like an error' })).toBe('like an error')
    expect(sentenceOf(runInNewContext('new Error("from afar")'))).toBe('from afar')
    expect(sentenceOf(new AggregateError([new Error('refused'), new Error('other')], ''))).toBe('refused')
    expect(sentenceOf(new RangeError())).toBe('RangeError')
    expect(sentenceOf(Symbol('s'))).toBe('Symbol(s)')
    expect(sentenceOf({ toString: () => 'told by itself' })).toBe('told by itself')
    expect(sentenceOf({})).toBe('an object without a message was thrown')
    expect(isForebayError(Object.create(ForebayError.prototype))).toBe(false)
  })

  it.each(hostile())('%s is one dead letter, from every function of a pipeline', (_, thrown) => {
    for (const place of ['decode', 'key', 'convert', 'encode'] as const) {
      const at = (here: string) => {
        if (here === place) throw thrown
      }
      const converter = new Converter({
        source: { topic: 't', tombstones: 'skip', decode: { decode: () => (at('decode'), {}) } },
        key: () => (at('key'), 'k'),
        tasks: [{ name: 't', isTracked: true, convert: () => (at('convert'), {}), encode: () => (at('encode'), 'x') }],
        queues: 1,
        eventBytesMax: 100,
        linesBytesMax: 100_000,
      })
      const { lines } = converter.convert({ offset: 5n, timestampMs: 0, key: null, value: Buffer.from('v') }, 0)
      expect(lines).toHaveLength(1)
      const { task, error } = JSON.parse(lines[0]!.text) as DeadLine
      expect(task).toBe(place === 'decode' || place === 'key' ? null : 't')
      expect(isSentence(error, 1000)).toBe(true)
    }
  })

  it.each(hostile())('%s becomes one line of the log', (_, thrown) => {
    const lines: string[] = []
    const logger = createLogger({ node: 'n', destination: { write: (line: string) => void lines.push(line) } })
    logger.error({ err: thrown }, 'a loop failed')
    expect(lines).toHaveLength(1)
    expect(lines[0]!.length).toBeLessThan(50_000)
    expect(JSON.parse(lines[0]!)).toMatchObject({ msg: 'a loop failed' })
  })

  it('as the value of a column it is refused by name', () => {
    const { columns } = planTable({
      table: 't',
      columns: { a: 'int', b: 'bigint', c: 'text', d: 'boolean', e: 'double', f: 'numeric', g: 'timestamptz' },
    } as unknown as Parameters<typeof planTable>[0])
    for (const { name } of columns) {
      const encode = rowEncoder(
        't',
        columns.filter((column) => column.name === name),
      )
      for (const value of [
        revoked(),
        revoked(new Date()),
        new Proxy(new Date(), {}),
        Object.create(null),
        Symbol('s'),
        () => 1,
        Number.NaN,
      ]) {
        expect(() => encode({ [name]: value }), name).toThrow(
          expect.objectContaining({ code: 'FB_BAD_JOB', message: expect.stringContaining(`"${name}"`) }),
        )
      }
      const getter = Object.defineProperty({}, name, { get: fail })
      expect(() => encode(getter)).toThrow(`Column "${name}"`)
      expect(() => encode(revoked())).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB' }))
    }
  })

  it('a class that extends Date cannot write a line of its own', () => {
    class Odd extends Date {
      override toISOString(): string {
        return '2026-01-01\t00:00:00.00Z\n'
      }
    }
    const { columns } = planTable({ table: 't', columns: { g: 'timestamptz' } } as unknown as Parameters<typeof planTable>[0])
    expect(rowEncoder('t', columns)({ g: new Odd(0) })).toBe('1970-01-01T00:00:00.000Z')
  })

  it('as a latest value it is refused, or has a JSON form', () => {
    const encode = (job: unknown) => latestLine({ channel: 'c', latestBy: () => 'k' }, job)
    expect(encode({ n: 5n, f: () => 1, not: Number.NaN })).toBe('["k",{"n":"5","not":null}]')
    for (const job of [
      { toJSON: fail },
      revoked(),
      {
        get x() {
          return fail()
        },
      },
    ]) {
      expect(() => encode(job)).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB' }))
    }
  })
})
