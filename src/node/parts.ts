/** What was opened, closed again in the reverse order, each part even when another one's end failed. */
export class Parts implements AsyncDisposable {
  readonly #parts: AsyncDisposable[] = []

  use<T extends AsyncDisposable>(part: T): T {
    this.#parts.push(part)
    return part
  }

  /** Throws the first failure once all are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = []
    for (const part of this.#parts.toReversed()) {
      try {
        await part[Symbol.asyncDispose]()
      } catch (error) {
        failures.push(error)
      }
    }
    this.#parts.length = 0
    if (failures.length > 0) throw failures[0]
  }
}
