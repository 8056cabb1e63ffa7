/**
 * How many jobs one flush takes: as many as the database applies in about two seconds. A database far slower than usual would
 * otherwise cancel each large flush at its time limit, and never finish one. State only; no I/O, no clock.
 */
const targetMs = 2_000
const rowsLeast = 64

export class FlushSize {
  readonly #rowsMax: number
  readonly #rowsMin: number
  #rows: number

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax
    this.#rowsMin = Math.min(rowsLeast, rowsMax)
    this.#rows = rowsMax
  }

  /** Most jobs of the next flush. */
  get rows(): number {
    return this.#rows
  }

  /** The database is slow: flushes take fewer jobs than they may. */
  get isReduced(): boolean {
    return this.#rows < this.#rowsMax
  }

  /** A flush of `rows` jobs ended after `ms`, well or not. */
  took(rows: number, ms: number): void {
    if (rows === 0) return
    if (ms > targetMs) this.#rows = Math.max(this.#rowsMin, Math.min(this.#rows, Math.floor((rows * targetMs) / ms)))
    else if (ms < targetMs / 2 && rows >= this.#rows) this.#rows = Math.min(this.#rowsMax, this.#rows * 2)
  }
}
