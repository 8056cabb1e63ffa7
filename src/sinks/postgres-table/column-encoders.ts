/**
 * Values of columns as text, by the declared type: what Postgres would change without a word is refused, and equal values of a
 * type that may be a key are the same text. Encoding runs for every job, so each column gets a closure of its own. Pure.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { types } from 'node:util'
import type { ColumnShape, ScalarShape } from './column-types.ts'
import { escapeText, nullField, Refusal } from './copy-text.ts'
import type { ScalarType } from './postgres-table-definition.ts'
import { dayText, hasDigits, timestampText, timestamptzText, timeText } from './time-values.ts'

type TextOf = (value: unknown) => string

const int8Min = -(2n ** 63n)
const int8Max = 2n ** 63n - 1n
const microDigits = 6
const wholeDigitsMax = 131_072
const fractionDigitsMax = 16_383
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
/** In JSON: U+0000 and halves of pairs, which jsonb refuses. */
const oddEscape = /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/i

/** The methods themselves: those of a class that extends Date may give what no line can hold. */
export const dateTime = (date: Date): number => Date.prototype.getTime.call(date)
const dateText = (date: Date): string => Date.prototype.toISOString.call(date)

/** The value of one column as a field of a line. Throws a Refusal, or what a getter of the value throws. */
export function fieldEncoder(shape: ColumnShape): TextOf {
  const encode = shape.dimensions > 0 ? arrayEncoder(shape) : scalarEncoder(shape)
  return shape.isNullable ? (value) => (value === null || value === undefined ? nullField : encode(value)) : encode
}

function scalarEncoder(shape: ScalarShape): TextOf {
  const { type } = shape
  const textOf = textMakers[type](shape)
  if (!escaped.has(type)) return textOf
  // What JSON writes has nothing else to be escaped.
  if (type === 'json' || type === 'jsonb') {
    return (value) => {
      const text = textOf(value)
      return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text
    }
  }
  return (value) => escapeText(textOf(value))
}

/** Types whose text may hold what a line, or an array, takes for more. */
const escaped: ReadonlySet<ScalarType> = new Set(['text', 'varchar', 'enum', 'json', 'jsonb', 'bytea'])

/** `{1,NULL,2}`, rectangular; in quotes where an element could be taken for more. */
function arrayEncoder(shape: ColumnShape): TextOf {
  const { type, dimensions } = shape
  const textOf = textMakers[type](shape)
  const element = (value: unknown, at: string): string => {
    if (value === null) return 'NULL'
    try {
      const text = textOf(value)
      return escaped.has(type) ? `"${text.replaceAll(/["\\]/g, '\\$&')}"` : text
    } catch (error) {
      throw error instanceof Refusal ? new Refusal(`at ${at} ${error.message}`) : error
    }
  }
  const literal = (value: unknown, left: number, at: string): string => {
    if (!Array.isArray(value)) throw new Refusal(at === '' ? 'it takes arrays' : `at ${at} it takes an array`)
    const parts = Array.from(value, (part, i) => (left > 1 ? literal(part, left - 1, `${at}[${i}]`) : element(part, `${at}[${i}]`)))
    return `{${parts.join(',')}}`
  }
  return (value) => {
    const text = literal(value, dimensions, '')
    if (dimensions > 1) checkRectangle(value as readonly (readonly unknown[])[])
    return escapeText(text)
  }
}

/** Postgres has no array of arrays, but one of rows and columns: unequal rows are refused there, and empty ones are lost. */
function checkRectangle(rows: readonly (readonly unknown[])[]): void {
  const [first] = rows
  if (first !== undefined && (first.length === 0 || rows.some(({ length }) => length !== first.length)))
    throw new Refusal('it takes arrays whose inner arrays are of one length, and not empty')
}

function wholeNumbers(least: number, most: number): TextOf {
  return (value) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return `${value}`
    throw new Refusal(`it takes whole numbers from ${least} to ${most}`)
  }
}

function texts(value: unknown): string {
  if (typeof value !== 'string') throw new Refusal('it takes strings')
  return value
}

/** `JSON.stringify` makes null of NaN and of the infinities, wherever they are. */
function jsonText(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) throw new Refusal('it takes what JSON can say')
  if (text.includes('null')) JSON.stringify(value, refuseNonFinite)
  return text
}

function refuseNonFinite(_: string, part: unknown): unknown {
  if (typeof part === 'number' && !Number.isFinite(part)) throw new Refusal(`JSON cannot say ${part}`)
  return part
}

const textMakers: Readonly<Record<ScalarType, (shape: ScalarShape) => TextOf>> = {
  int2: () => wholeNumbers(-(2 ** 15), 2 ** 15 - 1),
  int: () => (value) => {
    if (typeof value === 'number' && (value | 0) === value) return `${value}`
    throw new Refusal('it takes whole numbers from -2147483648 to 2147483647')
  },
  bigint: () => (value) => {
    if (typeof value === 'number' && Number.isSafeInteger(value)) return `${value}`
    const number = typeof value === 'string' && /^-?\d{1,19}$/.test(value) ? BigInt(value) : value
    if (typeof number === 'bigint' && number >= int8Min && number <= int8Max) return `${number}`
    throw new Refusal('it takes whole numbers: safe integers, bigints of 64 bits, and strings of such digits')
  },
  float4: () => (value) => {
    if (typeof value === 'number' && Number.isFinite(value) && isFloat4(value)) return doubleText(value)
    throw new Refusal(
      'it takes finite numbers that a float4 gives back as they are; declare it double, and alter the column to float8, for more digits',
    )
  },
  double: () => (value) => {
    if (typeof value === 'number' && Number.isFinite(value)) return doubleText(value)
    throw new Refusal('it takes finite numbers')
  },
  numeric: ({ sizes }) => numericText(sizes),
  boolean: () => (value) => {
    if (value === true) return 't'
    if (value === false) return 'f'
    throw new Refusal('it takes true and false')
  },
  text: () => texts,
  varchar:
    ({ sizes: [max = 0] }) =>
    (value) => {
      const text = texts(value)
      if (text.length <= max || text.replaceAll(/[\ud800-\udbff]/g, '').length <= max) return text
      throw new Refusal(`it takes at most ${max} characters`)
    },
  enum:
    ({ labels }) =>
    (value) => {
      if (typeof value === 'string' && labels.includes(value)) return value
      throw new Refusal(`it takes one of ${labels.map((label) => JSON.stringify(label)).join(', ')}`)
    },
  uuid: () => (value) => {
    if (typeof value === 'string' && uuid.test(value)) return value.toLowerCase()
    throw new Refusal('it takes strings such as "6ecd8c99-4036-403d-bf84-cf8400f67836"')
  },
  date: () => (value) => {
    const text = typeof value === 'string' ? dayText(value) : undefined
    if (text !== undefined) return text
    throw new Refusal('it takes strings such as "2026-11-28", of days that exist in the years 1 to 9999')
  },
  time:
    ({ sizes: [digits = microDigits] }) =>
    (value) => {
      const text = typeof value === 'string' ? timeText(value, digits) : undefined
      if (text !== undefined) return text
      throw new Refusal(`it takes strings such as "09:30:00", without a zone and with at most ${digits} digits behind the second`)
    },
  timestamp:
    ({ sizes: [digits = microDigits] }) =>
    (value) => {
      if (value instanceof Date) return momentText(value, digits).slice(0, -1)
      const text = typeof value === 'string' ? timestampText(value, digits) : undefined
      if (text !== undefined) return text
      throw new Refusal(
        `it takes valid Dates, and strings such as "2026-11-28T09:30:00" without a zone and with at most ${digits} digits behind the second, of the years 1 to 9999`,
      )
    },
  timestamptz:
    ({ sizes: [digits = microDigits] }) =>
    (value) => {
      if (value instanceof Date) return momentText(value, digits)
      const text = typeof value === 'string' ? timestamptzText(value, digits) : undefined
      if (text !== undefined) return text
      throw new Refusal(
        `it takes valid Dates, and strings such as "2026-11-28T09:30:00Z" with a zone and at most ${digits} digits behind the second, of the years 1 to 9999`,
      )
    },
  json: () => jsonText,
  jsonb: () => (value) => {
    const text = jsonText(value)
    if (!text.includes('\\u') || !oddEscape.test(text)) return text
    throw new Refusal('jsonb cannot store U+0000, nor half a surrogate pair')
  },
  bytea: () => (value) => {
    if (types.isUint8Array(value)) return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`
    throw new Refusal('it takes Uint8Arrays, such as Buffers')
  },
  inet: () => (value) => {
    const text = typeof value === 'string' ? addressText(value) : undefined
    if (text !== undefined) return text
    throw new Refusal('it takes strings such as "10.0.0.1", "10.0.0.0/8" or "fe80::1"')
  },
}

/** -0 as Postgres keeps it, too. */
function doubleText(value: number): string {
  return value === 0 && 1 / value < 0 ? '-0' : `${value}`
}

/** A float4 is that number itself, or the shortest decimal that names it: what it is printed as, and read back as. */
function isFloat4(value: number): boolean {
  const nearest = Math.fround(value)
  if (nearest === value) return true
  if (!Number.isFinite(nearest)) return false
  for (let digits = 1; digits <= 9; digits++) {
    const decimal = Number(nearest.toPrecision(digits))
    if (Math.fround(decimal) === nearest) return decimal === value
  }
  return false
}

function numericText([precision, scale = 0]: readonly number[]): TextOf {
  const [wholeMax, fractionMax] = precision === undefined ? [wholeDigitsMax, fractionDigitsMax] : [precision - scale, scale]
  return (value) => {
    const text = decimalText(value)
    // Most are far from both.
    if (text.length <= wholeMax && text.length <= fractionMax) return text
    const [whole = '', fraction = ''] = text.replace('-', '').split('.')
    if (whole.replace(/^0+/, '').length <= wholeMax && fraction.replace(/0+$/, '').length <= fractionMax) return text
    throw new Refusal(`it takes at most ${wholeMax} digits before the point and ${fractionMax} behind it`)
  }
}

function decimalText(value: unknown): string {
  if (typeof value === 'bigint') return `${value}`
  if (typeof value === 'number' && Number.isFinite(value)) return plainDecimal(value)
  if (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value)) return value
  throw new Refusal('it takes finite numbers, bigints, and strings such as "-12.50"')
}

/** A number without an exponent, digit for digit as JavaScript prints it. */
function plainDecimal(value: number): string {
  const text = `${value}`
  const [mantissa = '', exponentText] = text.split('e')
  if (exponentText === undefined) return text
  const exponent = Number(exponentText)
  const sign = mantissa.startsWith('-') ? '-' : ''
  const [whole = '', fraction = ''] = mantissa.slice(sign.length).split('.')
  if (exponent > 0) return sign + whole + fraction.padEnd(exponent, '0')
  return `${sign}0.${'0'.repeat(-exponent - 1)}${whole}${fraction}`
}

function momentText(date: Date, digits: number): string {
  if (Number.isNaN(dateTime(date))) throw new Refusal('it takes valid Dates')
  const text = dateText(date)
  // Beyond four digits, and in the year 0, the notations of JavaScript and Postgres differ.
  if (text.length !== 24 || text.startsWith('0000')) throw new Refusal('it takes Dates of the years 1 to 9999')
  if (!hasDigits(text, digits)) throw new Refusal(`it takes at most ${digits} digits behind the second`)
  return text
}

/** One text for each address: that of IPv6 as URLs write it, and no network that is the whole address. */
function addressText(text: string): string | undefined {
  const [, address = '', bitsText] = /^([^/%]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? []
  const [bitsMax, canonical] = isIPv4(address)
    ? [32, address]
    : isIPv6(address)
      ? [128, new URL(`http://[${address}]`).hostname.slice(1, -1)]
      : [-1, '']
  const bits = bitsText === undefined ? bitsMax : Number(bitsText)
  if (bitsMax < 0 || bits > bitsMax) return undefined
  return bits === bitsMax ? canonical : `${canonical}/${bits}`
}
