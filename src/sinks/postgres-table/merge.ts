/**
 * Rows of one key merged in memory, in the order they come, so that a flush touches each row of the table once. Pure.
 *
 * Lines are scanned, not decoded: a key is compared as it stands in the line, a value is read only when its mode needs it.
 * The result must equal what merging the lines one by one in the table would give.
 */
import { ForebayError } from '../../errors.ts'
import { decodeField } from './copy-text.ts'
import { parseDecimal, printDecimal, roundTo, unitsAt } from './field-limit.ts'
import type { Decimal, FieldLimit } from './field-limit.ts'
import type { ScalarType } from './postgres-table-definition.ts'
import type { PlannedColumn } from './table-plan.ts'

/** What a column keeps between two lines; null: nothing yet. */
type Kept = string | number | bigint | Decimal | RunningSum | null

/** A sum and the extremes that it passed through: one by one, these would have stood in the table. */
interface RunningSum {
  sum: number | bigint
  low: number | bigint
  high: number | bigint
}

interface ColumnMerger {
  /** `kept` and the next line's field, `text` from `start` to `end`, merged. */
  merge(kept: Kept, text: string, start: number, end: number): Kept
  /** As a parameter of a statement. */
  result(kept: Kept): string | null
  /** Of a sum that can overflow: the lowest and highest it passed through, where it turned. */
  ends?(kept: Kept): [low: string | null, high: string | null]
}

export interface Misfit {
  readonly column: string
  readonly value: string
}

const tab = '\t'

export class RowMerger {
  readonly #columns: readonly PlannedColumn[]
  readonly #keyColumns: number
  readonly #limits: readonly (FieldLimit | undefined)[]
  readonly #mergers: readonly ColumnMerger[]
  readonly #rows = new Map<string, Kept[]>()
  #misfit: Misfit | undefined

  /** `columns` as in a line: the key columns first. `limits`: what columns of the table take, where it is less than their type. */
  constructor(columns: readonly PlannedColumn[], limits: ReadonlyMap<string, FieldLimit> = new Map()) {
    this.#columns = columns
    this.#keyColumns = columns.filter((column) => column.isKey).length
    this.#limits = columns.map(({ name }) => limits.get(name))
    this.#mergers = columns.slice(this.#keyColumns).map((column) => mergerOf(column, limits.get(column.name)))
  }

  /** The first field that its column may not take: such jobs cannot be judged together, for merging would hide it. */
  get misfit(): Misfit | undefined {
    return this.#misfit
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
        key.split(tab).forEach((field, i) => this.#checkField(i, field))
      }
      let fieldStart = keyEnd + 1
      for (let i = 0; i < mergers.length; i++) {
        const fieldEnd = i === mergers.length - 1 ? lineEnd : text.indexOf(tab, fieldStart)
        if (this.#limits[i + this.#keyColumns]?.fits !== undefined) this.#checkField(i + this.#keyColumns, text.slice(fieldStart, fieldEnd))
        kept[i] = mergers[i]!.merge(kept[i]!, text, fieldStart, fieldEnd)
        fieldStart = fieldEnd + 1
      }
      at = lineEnd + 1
    }
  }

  #checkField(index: number, field: string): void {
    if (this.#misfit !== undefined || field === '\\N' || this.#limits[index]?.fits?.(field) !== false) return
    this.#misfit = { column: this.#columns[index]!.name, value: decodeField(field)! }
  }

  /**
   * The keys of which a sum passed beyond both its end and zero, so that it may fit together and not apart: the key columns, then
   * for each sum that can overflow its lows and its highs, null where they are of no matter. Undefined: there are none.
   */
  swings(): (string | null)[][] | undefined {
    const rows = [...this.#rows].flatMap(([key, kept]) => {
      const ends = this.#mergers.flatMap((merger, i) => (merger.ends === undefined ? [] : merger.ends(kept[i]!)))
      return ends.every((end) => end === null) ? [] : [[...key.split(tab).map(decodeField), ...ends]]
    })
    return rows[0]?.map((_, column) => rows.map((row) => row[column]!))
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

function mergerOf(column: PlannedColumn, limit: FieldLimit | undefined): ColumnMerger {
  if (column.merge === 'last') return { merge: (_, text, start, end) => text.slice(start, end), result: textResult }
  if (column.merge === 'first') {
    const merge = (kept: Kept, text: string, start: number, end: number) =>
      kept === null && !isNullAt(text, start, end) ? text.slice(start, end) : kept
    return { merge, result: textResult }
  }
  if (column.merge === 'add' && limit?.unitsMax !== undefined) return sumMerger(limit.scale ?? 0, column.type)
  return numericMergers(column)
}

/**
 * Sums in units of the column's last digit. Each value is rounded before it is added, as the column would round it if it came alone:
 * the sum is the same however the jobs fall into flushes.
 */
function sumMerger(scale: number, type: ScalarType): ColumnMerger {
  const isWhole = scale === 0 && type !== 'numeric'
  const parse = (text: string, start: number, end: number) =>
    isWhole ? parseWhole(text, start, end) : shorten(roundTo(parseDecimal(text.slice(start, end)), scale).units)
  const print = (units: number | bigint) => printDecimal({ units: BigInt(units), scale })
  return {
    merge(kept, text, start, end) {
      if (isNullAt(text, start, end)) return kept
      const value = parse(text, start, end)
      if (kept === null) return { sum: value, low: value, high: value }
      const running = kept as RunningSum
      running.sum = addWhole(running.sum, value)
      if (running.sum < running.low) running.low = running.sum
      if (running.sum > running.high) running.high = running.sum
      return running
    },
    result: (kept) => (kept === null ? null : print((kept as RunningSum).sum)),
    ends(kept) {
      if (kept === null) return [null, null]
      const { sum, low, high } = kept as RunningSum
      return [low < sum && low < 0 ? print(low) : null, high > sum && high > 0 ? print(high) : null]
    },
  }
}

function shorten(units: bigint): number | bigint {
  const short = Number(units)
  return Number.isSafeInteger(short) ? short : units
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
    case 'int2':
    case 'int':
    case 'bigint':
      return combine(parseWhole, merge === 'add' ? addWhole : pick<number | bigint>((a, b) => a < b), String)
    case 'float4':
    case 'double':
      return combine(
        (text, start, end) => Number(text.slice(start, end)),
        merge === 'add-approximate' ? (a, b) => addDouble(a, b, name) : pick<number>((a, b) => a < b),
        (value) => (Object.is(value, -0) ? '-0' : String(value)),
      )
    case 'numeric':
      return combine(
        (text, start, end) => parseDecimal(text.slice(start, end)),
        merge === 'add' ? addDecimal : pick<Decimal>((a, b) => subtract(a, b) < 0n),
        printDecimal,
      )
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return combine((text, start, end) => text.slice(start, end), pick(isEarlier), String)
    default:
      return combine(
        (text, start, end) => decodeField(text.slice(start, end))!,
        pick<string>((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0),
        String,
      )
  }
}

/** A fraction may go on where the other ends, and with it the `Z`, which is greater than a digit. */
function isEarlier(a: string, b: string): boolean {
  return a.length === b.length ? a < b : a.replace('Z', '') < b.replace('Z', '')
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

function addDecimal(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale)
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale }
}

function subtract(a: Decimal, b: Decimal): bigint {
  const scale = Math.max(a.scale, b.scale)
  return unitsAt(a, scale) - unitsAt(b, scale)
}
