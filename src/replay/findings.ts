/**
 * What a comparison of a table with its events found. Pure.
 */

/** A row as text, column by column. */
export type RowText = Readonly<Record<string, string | null>>

/** One identity of which the rows are not what they should be. */
export interface Difference {
  readonly partition: number | null
  /** Of the event, or of the row; null when neither says. */
  readonly offset: bigint | null
  readonly identity: RowText
  /** Rows that should be there and are not. */
  readonly missing: number
  /** Rows that are there and should not be. With `missing`: they differ. */
  readonly extra: number
  readonly expected: RowText | null
  readonly found: RowText | null
  /** Why a missing row cannot be written. */
  readonly error: string | null
}

export interface Comparison {
  readonly missing: number
  readonly extra: number
  readonly different: number
  /** The first of them. */
  readonly differences: readonly Difference[]
}

export type DifferenceKind = 'missing' | 'extra' | 'different'

export function kindOf({ missing, extra }: Pick<Difference, 'missing' | 'extra'>): DifferenceKind {
  return missing === 0 ? 'extra' : extra === 0 ? 'missing' : 'different'
}

/** Columns whose values differ. */
export function changedColumns({ expected, found }: Difference): string[] {
  return expected === null || found === null ? [] : Object.keys(expected).filter((name) => expected[name] !== found[name])
}

const notesMax = 100

/** Sums up what was found of one task. */
export class Findings {
  readonly task: string
  readonly table: string
  readonly #listMax: number
  readonly #differences: Difference[] = []
  /** Events read; rows (of a merged table: keys) compared. */
  events = 0
  compared = 0
  missing = 0
  extra = 0
  different = 0
  mended = 0
  /** Keys that differ, but may have begun before the log does. */
  incomparable = 0
  readonly #notes: string[] = []

  constructor(task: string, table: string, listMax: number) {
    this.task = task
    this.table = table
    this.#listMax = listMax
  }

  get differences(): readonly Difference[] {
    return this.#differences
  }

  /** Sentences on what the comparison cannot see or mend; the first of them. */
  get notes(): readonly string[] {
    return this.#notes
  }

  note(sentence: string): void {
    if (this.#notes.length < notesMax) this.#notes.push(sentence)
  }

  /** How many more may be listed. */
  get listRoom(): number {
    return this.#listMax - this.#differences.length
  }

  /** Nothing is left that differs. */
  get isRight(): boolean {
    return this.missing === this.mended && this.extra === 0 && this.different === 0
  }

  add({ missing, extra, different, differences }: Comparison): void {
    this.missing += missing
    this.extra += extra
    this.different += different
    this.#differences.push(...differences.slice(0, this.listRoom))
  }
}
