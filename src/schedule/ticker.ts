/**
 * A cadence in milliseconds: ticks stay on the grid of their start, however late one came, and a tick can be had early.
 * A tick that comes more than one interval late is not made up for.
 */
import type { Clock } from './clock.ts'
import { Wake } from './wake.ts'

export class Ticker {
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #wake: Wake
  #dueMs: number

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock
    this.#everyMs = everyMs
    this.#dueMs = clock.now() + everyMs
    this.#wake = new Wake(clock)
  }

  /** Waits for the next tick, for `wake` or for `signal`; resolves to how late the tick came in ms, or undefined when it came early. */
  async next(signal: AbortSignal): Promise<number | undefined> {
    const stop = () => this.#wake.wake()
    signal.addEventListener('abort', stop)
    if (!signal.aborted) await this.#wake.wait(Math.max(0, this.#dueMs - this.#clock.now()))
    signal.removeEventListener('abort', stop)
    const now = this.#clock.now()
    const lateMs = now - this.#dueMs
    if (lateMs < 0) return undefined
    this.#dueMs = Math.max(this.#dueMs + this.#everyMs, now)
    return lateMs
  }

  /** Makes the present or next wait end at once. */
  wake(): void {
    this.#wake.wake()
  }
}
