/**
 * What a column takes, where that is less than its declared type: digits, characters, labels. Pure.
 *
 * Rows that are merged before they are written hide what single jobs hold: a text that is too long is gone once a later one replaces it,
 * and whether the table ever saw it would depend on how events fell into flushes. So merging asks of each field whether it fits,
 * and a batch with one that does not is taken apart; there the database judges. A limit is as of the start of the node.
 */

import { decodeField, escapeText } from './copy-text.ts'

export interface FieldLimit {
  /** A field as it stands in a line, not null. False may be wrong, the database decides; true is not. */
  fits?(field: string): boolean
  /** Digits behind the point; negative: rounded to tens and more. Undefined: any number. */
  readonly scale?: number
  /** Sums beyond it, in either direction, are refused: a whole number at `scale`. */
  readonly unitsMax?: bigint
}

const typmodHeader = 4

/** Precision in the upper half, scale in eleven bits with a sign; undefined: any number of digits. */
export function numericDigits(typmod: number): { readonly precision: number; readonly scale: number } | undefined {
  if (typmod < typmodHeader) return undefined
  const packed = typmod - typmodHeader
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 }
}

/** Characters at most; undefined: any number. */
export function charsMaxOf(typmod: number): number | undefined {
  return typmod < typmodHeader ? undefined : typmod - typmodHeader
}

const canonicalUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
/** In JSON as it stands in a line: U+0000 and halves of pairs, which jsonb refuses. */
const oddEscape = /\\\\u(0000|d[89a-f])/i

/** Undefined: every value of the declared type fits. `type` is the one of the catalogue. */
export function limitOf({
  type,
  typmod,
  labels,
}: {
  type: string
  typmod: number
  labels: readonly string[] | null
}): FieldLimit | undefined {
  if (labels !== null) {
    const fields = new Set(labels.map(escapeText))
    return { fits: (field) => fields.has(field) }
  }
  switch (type) {
    case 'int2':
      return { scale: 0, unitsMax: 2n ** 15n - 1n }
    case 'int4':
      return { scale: 0, unitsMax: 2n ** 31n - 1n }
    case 'int8':
      return { scale: 0, unitsMax: 2n ** 63n - 1n }
    case 'numeric':
      return numericLimit(numericDigits(typmod))
    case 'varchar':
    case 'bpchar': {
      const charsMax = charsMaxOf(typmod)
      return charsMax === undefined ? undefined : { fits: (field) => hasAtMost(field, charsMax) }
    }
    case 'uuid':
      return { fits: (field) => canonicalUuid.test(field) }
    case 'jsonb':
      return { fits: (field) => !oddEscape.test(field) }
    default:
      return undefined
  }
}

/** The limit of an array by that of its elements; undefined: none. */
export function arrayLimit({ fits }: FieldLimit): FieldLimit | undefined {
  return fits === undefined
    ? undefined
    : { fits: (field) => elementsOf(decodeField(field) ?? '').every((element) => fits(escapeText(element))) }
}

const element = /"((?:[^"\\]|\\.)*)"|([^{},]+)/gs

/** The elements, nulls left out, of an array as the encoder writes one: `{"a","b",NULL}`. */
function elementsOf(literal: string): string[] {
  return [...literal.matchAll(element)].flatMap(([, quoted, plain]) =>
    quoted !== undefined ? [quoted.replaceAll(/\\(.)/gs, '$1')] : plain === 'NULL' ? [] : [plain!],
  )
}

function numericLimit(digits: ReturnType<typeof numericDigits>): FieldLimit | undefined {
  if (digits === undefined) return undefined
  const { precision, scale } = digits
  const unitsMax = 10n ** BigInt(precision) - 1n
  // One digit less before the point leaves room for rounding up.
  const wholeDigits = Math.max(0, precision - scale - 1)
  return { fits: (field) => digitsBeforePoint(field) <= wholeDigits || isWithin(field, scale, unitsMax), scale, unitsMax }
}

function digitsBeforePoint(field: string): number {
  const point = field.indexOf('.')
  return (point < 0 ? field.length : point) - (field.startsWith('-') ? 1 : 0)
}

function isWithin(field: string, scale: number, unitsMax: bigint): boolean {
  const { units } = roundTo(parseDecimal(field), scale)
  return (units < 0n ? -units : units) <= unitsMax
}

/** An escape counts as the one character it stands for; what is longer in UTF-16 than in characters is counted. */
function hasAtMost(field: string, charsMax: number): boolean {
  if (field.length <= charsMax) return true
  const text = field.includes('\\') ? field.replaceAll(/\\(x0\d|.)/g, '.') : field
  return text.replaceAll(/[\ud800-\udbff]/g, '').length <= charsMax
}

/** `units` times ten to the minus `scale`. */
export interface Decimal {
  readonly units: bigint
  readonly scale: number
}

export function parseDecimal(field: string): Decimal {
  const point = field.indexOf('.')
  if (point < 0) return { units: BigInt(field), scale: 0 }
  return { units: BigInt(field.slice(0, point) + field.slice(point + 1)), scale: field.length - point - 1 }
}

/** As Postgres rounds on its way into a numeric: half away from zero. The scale may be negative. */
export function roundTo(value: Decimal, scale: number): Decimal {
  if (value.scale <= scale) return { units: unitsAt(value, scale), scale }
  const factor = 10n ** BigInt(value.scale - scale)
  const size = value.units < 0n ? -value.units : value.units
  const rounded = (size + factor / 2n) / factor
  return { units: value.units < 0n ? -rounded : rounded, scale }
}

/** At a scale that is not smaller. */
export function unitsAt(value: Decimal, scale: number): bigint {
  return value.units * 10n ** BigInt(scale - value.scale)
}

export function printDecimal({ units, scale }: Decimal): string {
  if (scale < 0) return String(unitsAt({ units, scale }, 0))
  const sign = units < 0n ? '-' : ''
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0')
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
