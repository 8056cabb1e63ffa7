/**
 * Rows in the text format of COPY: fields divided by tabs, `\N` for null, a backslash before what would be taken for more.
 * A line holds no newline and no character below U+0009. Encoding runs once for every job, so each column gets its own closure.
 */
import { types } from 'node:util'
import { ForebayError, sentenceOf } from '../../errors.ts'
import { own } from '../../own.ts'
import type { BaseColumnType } from './postgres-table-definition.ts'
import type { PlannedColumn } from './table-plan.ts'

const nullField = '\\N'
const int8Min = -(2n ** 63n)
const int8Max = 2n ** 63n - 1n
/** Up to this length a loop over the characters beats a regular expression. */
const shortTextMax = 48
const special = /[\0-\x1f\\\ud800-\udfff]/
const halfPair = /\p{Surrogate}/u
const valueCharsMax = 60

/** The methods themselves: those of a class that extends Date may give what no line can hold. */
const dateTime = (date: Date): number => Date.prototype.getTime.call(date)
const dateText = (date: Date): string => Date.prototype.toISOString.call(date)

type FieldEncoder = (value: unknown) => string

/** Thrown by an encoder; the row encoder says of which column. */
class Refusal extends Error {}

/** Encodes a job, an object with a value for each column, as a line without its newline. Throws FB_BAD_JOB naming column and value. */
export function rowEncoder(table: string, columns: readonly PlannedColumn[]): (job: unknown) => string {
  const names = columns.map((column) => column.name)
  const encoders = columns.map((column) => (column.isNullable ? nullable(fieldEncoders[column.type]) : fieldEncoders[column.type]))
  const count = columns.length
  // What every object inherits under the name of a column is no value of it.
  const isInherited = names.map((name) => name in Object.prototype)
  return (job) => {
    if (typeof job !== 'object' || job === null) {
      throw new ForebayError('FB_BAD_JOB', `A row for table ${table} is ${show(job)}; convert is to return an object with its columns.`)
    }
    const row = job as Record<string, unknown>
    const fields = new Array<string>(count)
    for (let i = 0; i < count; i++) {
      let value: unknown
      try {
        value = isInherited[i] === true ? own(row, names[i]!) : row[names[i]!]
        fields[i] = encoders[i]!(value)
      } catch (error) {
        throw refused(error, table, columns[i]!, value)
      }
    }
    return fields.join('\t')
  }
}

function refused(error: unknown, table: string, column: PlannedColumn, value: unknown): ForebayError {
  const type = column.isNullable ? `${column.type}?` : column.type
  return new ForebayError(
    'FB_BAD_JOB',
    `Column "${column.name}" (${type}) of table ${table} cannot take ${show(value)}: ${sentenceOf(error, 500)}.`,
  )
}

function show(value: unknown): string {
  if (typeof value === 'string')
    return value.length > valueCharsMax ? `${JSON.stringify(value.slice(0, valueCharsMax))}…` : JSON.stringify(value)
  if (typeof value === 'function') return 'a function'
  // A proxy is not looked into: it may throw at every look.
  if (types.isProxy(value)) return 'a proxy'
  if (types.isDate(value)) return Number.isNaN(dateTime(value)) ? 'an invalid Date' : 'a Date'
  return typeof value === 'object' && value !== null ? (Array.isArray(value) ? 'an array' : 'an object') : String(value)
}

function nullable(encode: FieldEncoder): FieldEncoder {
  return (value) => (value === null || value === undefined ? nullField : encode(value))
}

const fieldEncoders: Readonly<Record<BaseColumnType, FieldEncoder>> = {
  int(value) {
    if (typeof value === 'number' && (value | 0) === value) return `${value}`
    throw new Refusal('it takes whole numbers from -2147483648 to 2147483647')
  },
  bigint(value) {
    if (typeof value === 'number' && Number.isSafeInteger(value)) return `${value}`
    if (typeof value === 'bigint' && value >= int8Min && value <= int8Max) return `${value}`
    throw new Refusal('it takes whole numbers: safe integers, or bigints of 64 bits')
  },
  text(value) {
    if (typeof value !== 'string') throw new Refusal('it takes strings')
    return escapeText(value)
  },
  boolean(value) {
    if (value === true) return 't'
    if (value === false) return 'f'
    throw new Refusal('it takes true and false')
  },
  double(value) {
    if (typeof value === 'number' && Number.isFinite(value)) return `${value}`
    throw new Refusal('it takes finite numbers')
  },
  numeric(value) {
    if (typeof value === 'bigint') return `${value}`
    if (typeof value === 'number' && Number.isFinite(value)) return plainDecimal(value)
    if (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value)) return value
    throw new Refusal('it takes finite numbers, bigints, and strings such as "-12.50"')
  },
  timestamptz(value) {
    if (!(value instanceof Date) || Number.isNaN(dateTime(value))) throw new Refusal('it takes valid Dates')
    const text = dateText(value)
    // Beyond four digits, and in the year 0, the notations of JavaScript and Postgres differ.
    if (text.length !== 24 || text.startsWith('0000')) throw new Refusal('it takes Dates of the years 1 to 9999')
    return text
  },
  json(value) {
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) throw new Refusal('it takes what JSON can say')
    return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text
  },
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

/** Throws when `text` holds what no Postgres text can: U+0000 or half a surrogate pair. */
function escapeText(text: string): string {
  if (text.length > shortTextMax) return special.test(text) ? escapeSpecial(text) : text
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 32 || unit === 92 || (unit >= 0xd800 && unit <= 0xdfff)) return escapeSpecial(text)
  }
  return text
}

function escapeSpecial(text: string): string {
  if (halfPair.test(text)) throw new Refusal('it holds half a surrogate pair')
  let escaped = ''
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit === 0) throw new Refusal('Postgres cannot store U+0000')
    if (unit === 92) escaped += '\\\\'
    else if (unit === 9) escaped += '\\t'
    else if (unit === 10) escaped += '\\n'
    else if (unit === 13) escaped += '\\r'
    else if (unit < 9) escaped += `\\x0${unit}`
    else escaped += text[i]
  }
  return escaped
}

/** The value of one field of a line, null for `\N`. */
export function decodeField(field: string): string | null {
  if (!field.includes('\\')) return field
  if (field === nullField) return null
  return field.replace(/\\(x0\d|.)/g, (_, code: string) => {
    if (code === 't') return '\t'
    if (code === 'n') return '\n'
    if (code === 'r') return '\r'
    return code.length === 3 ? String.fromCharCode(Number(code.slice(2))) : code
  })
}
