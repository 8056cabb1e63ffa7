/**
 * Whether the grid may have lost something lately: a member gone, a connection made again. What can be lost without a word is
 * looked at often then, and seldom otherwise.
 */
import type { Clock } from '../schedule/clock.ts'
import type { JobGrid } from './job-grid.ts'

const doubtMs = 15_000

export class GridDoubt {
  readonly #clock: Clock
  readonly #unsubscribe: () => void
  #untilMs = -Infinity

  constructor({ grid, clock }: { readonly grid: JobGrid; readonly clock: Clock }) {
    this.#clock = clock
    this.#unsubscribe = grid.onDisturbance(() => (this.#untilMs = clock.now() + doubtMs))
  }

  get isRaised(): boolean {
    return this.#clock.now() < this.#untilMs
  }

  close(): void {
    this.#unsubscribe()
  }
}
