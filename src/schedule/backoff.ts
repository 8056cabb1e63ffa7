/** Waiting times that double from `firstMs` to `lastMs`; `reset` after a success. */
export class Backoff {
  readonly #firstMs: number
  readonly #lastMs: number
  #nextMs: number

  constructor(firstMs = 50, lastMs = 2000) {
    this.#firstMs = firstMs
    this.#lastMs = lastMs
    this.#nextMs = firstMs
  }

  next(): number {
    const ms = this.#nextMs
    this.#nextMs = Math.min(ms * 2, this.#lastMs)
    return ms
  }

  reset(): void {
    this.#nextMs = this.#firstMs
  }
}
