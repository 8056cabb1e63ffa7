import fc from 'fast-check'
import { compareNumber, LosslessNumber, parse } from 'lossless-json'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { json } from '../../src/index.ts'

const refusing = json(z.unknown())
const exact = json(z.unknown(), { numbers: 'exact' })
const of = (text: string) => Buffer.from(text)

const digits = (most: number) => fc.string({ unit: fc.constantFrom(...'0123456789'.split('')), minLength: 1, maxLength: most })
/** Sixteen digits, the fewest that may be changed. */
const shortest = fc.bigInt(9_007_199_254_740_993n, 9_999_999_999_999_999n).map(String)
/** Numbers as JSON writes them, near and beyond what JavaScript holds. */
const literal = fc
  .tuple(
    fc.constantFrom('', '-'),
    fc.oneof(fc.constant('0'), digits(22), shortest),
    fc.option(digits(22), { freq: 2 }),
    fc.option(fc.tuple(fc.constantFrom('e', 'E'), fc.constantFrom('', '-', '+'), digits(4)), { freq: 2 }),
  )
  .map(([sign, whole, fraction, exponent]) => {
    const tail = `${fraction === null ? '' : `.${fraction}`}${exponent === null ? '' : exponent.join('')}`
    return `${sign}${whole.replace(/^0+(?=\d)/, '')}${tail}`
  })
/** Texts of all kinds, those that look like a number among them. */
const noise = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  literal,
  fc.constantFrom('é'.repeat(9), '"1e400', 'deadbeef1234', '\\'),
)

/** A document, with the literals of its numbers as they stand in it. */
const document = fc
  .array(
    fc.tuple(
      noise,
      fc.constantFrom('', ' ', '\n\t '),
      fc.oneof(
        literal,
        noise.map((text) => JSON.stringify(text)),
      ),
    ),
    { maxLength: 8 },
  )
  .map((fields) => `{${fields.map(([key, space, value], i) => `${JSON.stringify(`${i}${key}`)}:${space}${value}${space}`).join(',')}}`)

function literalsOf(value: unknown): string[] {
  if (value instanceof LosslessNumber) return [value.toString()]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(literalsOf) : []
}

function isHeld(text: string): boolean {
  const value = Number(text)
  return Number.isFinite(value) && compareNumber(text, String(value)) === 0
}

describe('Numbers of JSON', () => {
  it(
    'are refused where one of all that lossless-json finds is another number in JavaScript, wherever it stands',
    { timeout: 60_000 },
    () => {
      let refused = 0
      fc.assert(
        fc.property(document, (text) => {
          const isAnyChanged = !literalsOf(parse(text)).every(isHeld)
          if (isAnyChanged) refused++
          let error: unknown
          try {
            expect(refusing.decode(of(text))).toEqual(JSON.parse(text))
          } catch (failure) {
            error = failure
          }
          expect(error === undefined ? false : (error as Error).message.includes('would be changed')).toBe(isAnyChanged)
        }),
        { numRuns: 2000 },
      )
      expect(refused).toBeGreaterThan(200)
    },
  )

  it.each([
    ['9007199254740993', 'the number 9007199254740993 at the top would be changed to 9007199254740992', 9007199254740993n],
    ['-12345678901234567890', 'would be changed to -12345678901234567000', -12345678901234567890n],
    ['0.1234567890123456789', 'would be changed to 0.12345678901234568', '0.1234567890123456789'],
    ['1e400', 'would be changed to Infinity', '1e400'],
    ['1e-400', 'would be changed to 0', '1e-400'],
    ['123456789012345678.5', 'would be changed to 123456789012345680', '123456789012345678.5'],
  ])('that JavaScript would change are refused, or kept: %s', (text, sentence, kept) => {
    expect(() => refusing.decode(of(text))).toThrow(sentence)
    expect(exact.decode(of(text))).toEqual(kept)
  })

  it.each(['9007199254740992', '0.1', '1e5', '1.50E+3', '-0', '1.0000000000000000000', '100000000000000000000', '1e21', '5e-324', '0e999'])(
    'that JavaScript holds are what JSON.parse makes of them: %s',
    (text) => {
      expect(refusing.decode(of(text))).toBe(JSON.parse(text))
      expect(exact.decode(of(text))).toBe(JSON.parse(text))
    },
  )

  it('are named by their path, and with no more than is readable', () => {
    expect(() => refusing.decode(of('{"a":{"b":[1,{"c":9007199254740993}]}}'))).toThrow('at a.b[1].c would')
    expect(() => refusing.decode(of(`[${'9'.repeat(5000)}]`))).toThrow(/9… \(5000 characters\) at \[0\]/)
    expect(exact.decode(of(`[${'9'.repeat(5000)}]`))).toEqual(['9'.repeat(5000)])
  })

  it('in a text are no numbers', () => {
    const text = '{"id":"9007199254740993","note":"1e400 and \\"12345678901234567890\\""}'
    expect(refusing.decode(of(text))).toEqual(JSON.parse(text))
  })

  it('do not let a key reach what every object inherits, and the last of two keys counts', () => {
    const made = exact.decode(of('{"__proto__":{"polluted":1},"a":1,"a":9007199254740993}')) as Record<string, unknown>
    expect(Object.getPrototypeOf(made)).toBe(Object.prototype)
    expect(Object.keys(made)).toEqual(['__proto__', 'a'])
    expect(made['a']).toBe(9007199254740993n)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('of an event that is nested without end are a dead letter, no crash', () => {
    const text = `${'['.repeat(200_000)}9007199254740993${']'.repeat(200_000)}`
    expect(() => refusing.decode(of(text))).toThrow(expect.objectContaining({ code: 'FB_BAD_EVENT' }))
  })

  it('and everything else come out as JSON.parse has them, whatever the event', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(refusing.decode(of(text))).toEqual(JSON.parse(text))
        expect(exact.decode(of(text))).toEqual(JSON.parse(text))
      }),
    )
  })

  it('that are whole are never changed, whatever they are', () => {
    fc.assert(
      fc.property(fc.bigInt(), (value) => {
        expect(
          BigInt(exact.decode(of(`{"n":${value}}`)) instanceof Object ? (exact.decode(of(`{"n":${value}}`)) as { n: bigint }).n : 0n),
        ).toBe(value)
      }),
    )
  })
})
