/** I4: per key, what is applied has strictly increasing (offset, ordinal). */
import { demand } from './violation.ts'

interface Place {
  readonly offset: number
  readonly ordinal: number
}

export class PerKeyOrder {
  readonly #last = new Map<string, Place>()

  /** What was applied to keys beginning with `prefix` above `offset` is taken back, to be applied again. Returns what puts it back. */
  goBack(prefix: string, offset: number): () => void {
    const gone = [...this.#last].filter(([key, last]) => key.startsWith(prefix) && last.offset > offset)
    for (const [key] of gone) this.#last.delete(key)
    return () => {
      for (const [key, last] of gone) this.#last.set(key, last)
    }
  }

  /** Returns what puts the order back when the store loses the commit. */
  apply(key: string, offset: number, ordinal: number): () => void {
    const last = this.#last.get(key)
    const isLater = last === undefined || offset > last.offset || (offset === last.offset && ordinal > last.ordinal)
    demand(isLater, 'I4', () => `key ${key}: (${offset}, ${ordinal}) was applied after (${last?.offset}, ${last?.ordinal})`)
    this.#last.set(key, { offset, ordinal })
    return () => {
      if (last === undefined) this.#last.delete(key)
      else this.#last.set(key, last)
    }
  }
}
