/**
 * Numbers of JSON that a number of JavaScript cannot hold: 9007199254740993, 0.1234567890123456789, 1e400. `JSON.parse` changes them
 * without a word.
 *
 * Boundary: texts without 16 digits in a row and without an exponent of three digits are passed by, which is all that most events cost.
 */
import { parse } from 'lossless-json'
import { ForebayError, sentenceOf } from '../errors.ts'

/** So many digits in a row are no longer held for certain. */
const digitsMin = 16
/** An exponent beyond those that 15 digits are held with; a hexadecimal text may look like one. The digit in front lets most of a text be passed by unread. */
const farExponent = /\d[eE][+-]?\d{3}/
/** The same two as JSON writes them, not inside of a text that begins with them. */
const suspicious = /(?:^|[:,[\s])-?(?:[\d.]{16}|\d[\d.]*[eE][+-]?\d{3})/
/** Longer ones stay text: making a bigint of them takes time that grows with the square. */
const bigintDigitsMax = 1000
const shownCharsMax = 60
const zero = 0x30
const nine = 0x39
const point = 0x2e

/** A literal that is not what JavaScript makes of it. */
class ChangedNumber {
  readonly literal: string

  constructor(literal: string) {
    this.literal = literal
  }
}

/** `parsed`, which `JSON.parse` made of `text` (its bytes: `value`), unless that changed a number. Throws FB_BAD_EVENT with the path of the first one. */
export function refuseChangedNumbers(text: string, parsed: unknown, value: Buffer): unknown {
  if (!mayHoldOne(text, value)) return parsed
  const found = findChanged(parseWith(text, (literal) => (isExact(literal) ? 0 : new ChangedNumber(literal))))
  if (found === undefined) return parsed
  const { path, literal } = found
  throw new ForebayError(
    'FB_BAD_EVENT',
    `the number ${shown(literal)} at ${path === '' ? 'the top' : path} would be changed to ${Number(literal)}; take it as it is with json(schema, { numbers: 'exact' }), or have it sent as text`,
  )
}

/** The same with numbers kept: whole ones that would be changed come as bigint, others (and those of an exponent) as the text they are written as. */
export function keepNumbers(text: string, parsed: unknown, value: Buffer): unknown {
  if (!mayHoldOne(text, value)) return parsed
  return parseWith(text, (literal) => {
    if (isExact(literal)) return Number(literal)
    return /^-?\d+$/.test(literal) && literal.length <= bigintDigitsMax ? BigInt(literal) : literal
  })
}

/** A run of 16 digits covers one of every 16 places, so only those are looked at: a look at every letter would double what an event costs. */
function mayHoldOne(text: string, value: Buffer): boolean {
  for (let i = digitsMin - 1; i < value.length; i += digitsMin) {
    if (isOfNumber(value[i]!) && isLongRun(value, i)) return suspicious.test(text)
  }
  return farExponent.test(text) && suspicious.test(text)
}

function isLongRun(value: Buffer, at: number): boolean {
  let [from, to] = [at, at + 1]
  while (from > 0 && isOfNumber(value[from - 1]!)) from--
  while (to < value.length && isOfNumber(value[to]!)) to++
  return to - from >= digitsMin
}

/** Also in UTF-8: no byte of another letter is one of these. */
function isOfNumber(byte: number): boolean {
  return (byte >= zero && byte <= nine) || byte === point
}

/** As `JSON.parse` does it: of a key that comes twice the last one counts. */
function parseWith(text: string, parseNumber: (literal: string) => unknown): unknown {
  try {
    return parse(text, undefined, { parseNumber, onDuplicateKey: ({ newValue }) => newValue })
  } catch (error) {
    throw new ForebayError('FB_BAD_EVENT', `the numbers of the event cannot be looked at: ${sentenceOf(error)}`, { cause: error })
  }
}

function findChanged(value: unknown, path = ''): { readonly path: string; readonly literal: string } | undefined {
  if (value instanceof ChangedNumber) return { path, literal: value.literal }
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, child] of Object.entries(value)) {
    const found = findChanged(child, Array.isArray(value) ? `${path}[${key}]` : `${path}${path === '' ? '' : '.'}${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

/** Whether the number that JavaScript makes of `literal` is written the same, but for zeros and the form of its exponent. */
function isExact(literal: string): boolean {
  const value = Number(literal)
  return Number.isFinite(value) && decimalOf(literal) === decimalOf(String(value))
}

function decimalOf(literal: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(literal) ?? []
  const all = (whole + fraction).replace(/^0+/, '')
  const digits = all.replace(/0+$/, '')
  return digits === '' ? '0' : `${sign}${digits}e${Number(exponent) - fraction.length + all.length - digits.length}`
}

function shown(literal: string): string {
  return literal.length <= shownCharsMax ? literal : `${literal.slice(0, shownCharsMax)}… (${literal.length} characters)`
}
