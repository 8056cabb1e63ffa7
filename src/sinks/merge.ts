/**
 * Rows of one key merged in memory, in the order they come, so that a flush touches each row of the table once. Pure.
 *
 * Lines are scanned, not decoded: a key is compared as it stands in the line, a value is read only when its mode needs it.
 * The result must equal what merging the lines one by one in the table would give.
 */
import { ForebayError } from '../errors.ts'
import { decodeField } from './copy-text.ts'
import type { PlannedColumn } from './table-plan.ts'

/** What a column keeps between two lines; null: nothing yet. */
type Kept = string | number | bigint | Decimal | null

interface Decimal {
  readonly units: bigint
  readonly scale: number
}

interface ColumnMerger {
  /** `kept` and the next line's field, `text` from `start` to `end`, merged. */
  merge(kept: Kept, text: string, start: number, end: number): Kept
  /** As a parameter of a statement. */
  result(kept: Kept): string | null
}

const tab = '\t'

export class RowMerger {
  readonly #keyColumns: number
  readonly #mergers: readonly ColumnMerger[]
  readonly #rows = new Map<string, Kept[]>()

  /** `columns` as in a line: the key columns first. */
  constructor(columns: readonly PlannedColumn[]) {
    this.#keyColumns = columns.filter((column) => column.isKey).length
    this.#mergers = columns.slice(this.#keyColumns).map(mergerOf)
  }

  get rowCount(): number {
    return this.#rows.size
  }

  /** Takes lines, each ended by a newline. */
  add(lines: Buffer): void {
    const text = lines.toString('utf8')
    const mergers = this.#mergers
    for (let at = 0; at < text.length;) {
      const lineEnd = text.indexOf('\n', at)
      let keyEnd = at - 1
      for (let i = 0; i < this.#keyColumns; i++) keyEnd = text.indexOf(tab, keyEnd + 1)
      // Without other columns no tab follows the key, and the search ran into the next line or to the end.
      if (mergers.length === 0) keyEnd = lineEnd
      const key = text.slice(at, keyEnd)
      let kept = this.#rows.get(key)
      if (kept === undefined) {
        kept = new Array<Kept>(mergers.length).fill(null)
        this.#rows.set(key, kept)
      }
      let fieldStart = keyEnd + 1
      for (let i = 0; i < mergers.length; i++) {
        const fieldEnd = i === mergers.length - 1 ? lineEnd : text.indexOf(tab, fieldStart)
        kept[i] = mergers[i]!.merge(kept[i]!, text, fieldStart, fieldEnd)
        fieldStart = fieldEnd + 1
      }
      at = lineEnd + 1
    }
  }

  /** The merged rows as one array a column, sorted by key so that two nodes lock rows in one order; at most `rowsMax` rows each time. */
  *batches(rowsMax: number): Generator<(string | null)[][]> {
    const keys = [...this.#rows.keys()].sort()
    for (let from = 0; from < keys.length; from += rowsMax) {
      const some = keys.slice(from, from + rowsMax)
      const fields = some.map((key) => key.split(tab))
      const columns: (string | null)[][] = []
      for (let i = 0; i < this.#keyColumns; i++) columns.push(fields.map((key) => decodeField(key[i]!)))
      this.#mergers.forEach((merger, i) => columns.push(some.map((key) => merger.result(this.#rows.get(key)![i]!))))
      yield columns
    }
  }
}

function mergerOf(column: PlannedColumn): ColumnMerger {
  if (column.merge === 'last') return { merge: (_, text, start, end) => text.slice(start, end), result: textResult }
  if (column.merge === 'first') {
    const merge = (kept: Kept, text: string, start: number, end: number) =>
      kept === null && !isNullAt(text, start, end) ? text.slice(start, end) : kept
    return { merge, result: textResult }
  }
  return numericMergers(column)
}

function textResult(kept: Kept): string | null {
  return kept === null ? null : decodeField(kept as string)
}

function numericMergers({ name, type, merge }: PlannedColumn): ColumnMerger {
  const combine = <T extends Kept>(
    parse: (text: string, start: number, end: number) => T,
    join: (a: T, b: T) => T,
    print: (value: T) => string,
  ): ColumnMerger => ({
    merge(kept, text, start, end) {
      if (isNullAt(text, start, end)) return kept
      const value = parse(text, start, end)
      return kept === null ? value : join(kept as T, value)
    },
    result: (kept) => (kept === null ? null : print(kept as T)),
  })
  const pick = <T>(isLess: (a: T, b: T) => boolean) =>
    merge === 'min' ? (a: T, b: T) => (isLess(b, a) ? b : a) : (a: T, b: T) => (isLess(a, b) ? b : a)
  switch (type) {
    case 'int':
    case 'bigint':
      return combine(parseWhole, merge === 'add' ? addWhole : pick<number | bigint>((a, b) => a < b), String)
    case 'double':
      return combine(
        (text, start, end) => Number(text.slice(start, end)),
        merge === 'add' ? (a, b) => addDouble(a, b, name) : pick<number>((a, b) => a < b),
        String,
      )
    case 'numeric':
      return combine(parseDecimal, merge === 'add' ? addDecimal : pick<Decimal>((a, b) => subtract(a, b) < 0n), printDecimal)
    case 'timestamptz':
      return combine(
        (text, start, end) => text.slice(start, end),
        pick<string>((a, b) => a < b),
        String,
      )
    default:
      return combine(
        (text, start, end) => decodeField(text.slice(start, end))!,
        pick<string>((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0),
        String,
      )
  }
}

/** Exact: a number up to 15 digits, a bigint beyond. */
function parseWhole(text: string, start: number, end: number): number | bigint {
  if (end - start > 15) return BigInt(text.slice(start, end))
  const isNegative = text.charCodeAt(start) === 45
  let value = 0
  for (let i = isNegative ? start + 1 : start; i < end; i++) value = value * 10 + text.charCodeAt(i) - 48
  return isNegative ? -value : value
}

/** The field is `\\N`: of two characters nothing else begins with a backslash and ends so. */
function isNullAt(text: string, start: number, end: number): boolean {
  return end - start === 2 && text.charCodeAt(start) === 92 && text.charCodeAt(start + 1) === 78
}

function addWhole(a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (Number.isSafeInteger(sum)) return sum
  }
  return BigInt(a) + BigInt(b)
}

function addDouble(a: number, b: number, column: string): number {
  const sum = a + b
  if (Number.isFinite(sum)) return sum
  throw new ForebayError('FB_BAD_JOB', `The sum of column "${column}" is beyond the range of a double.`)
}

function parseDecimal(text: string, start: number, end: number): Decimal {
  const field = text.slice(start, end)
  const point = field.indexOf('.')
  if (point < 0) return { units: BigInt(field), scale: 0 }
  return { units: BigInt(field.slice(0, point) + field.slice(point + 1)), scale: field.length - point - 1 }
}

function unitsAt(value: Decimal, scale: number): bigint {
  return value.units * 10n ** BigInt(scale - value.scale)
}

function addDecimal(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale)
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale }
}

function subtract(a: Decimal, b: Decimal): bigint {
  const scale = Math.max(a.scale, b.scale)
  return unitsAt(a, scale) - unitsAt(b, scale)
}

function printDecimal({ units, scale }: Decimal): string {
  const sign = units < 0n ? '-' : ''
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0')
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
