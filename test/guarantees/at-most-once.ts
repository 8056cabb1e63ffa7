/** I1: a job is applied at most once. Fed with the id of every job as it is committed. */
import { demand } from './violation.ts'

export class AtMostOnce {
  readonly #seen = new Set<string>()

  get count(): number {
    return this.#seen.size
  }

  apply(id: string): void {
    demand(!this.#seen.has(id), 'I1', () => `${id} was applied twice`)
    this.#seen.add(id)
  }

  has(id: string): boolean {
    return this.#seen.has(id)
  }

  /** The store lost the commit that applied `id`. */
  forget(id: string): void {
    this.#seen.delete(id)
  }
}
