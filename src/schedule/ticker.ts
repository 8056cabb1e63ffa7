/**
 * A cadence in milliseconds: ticks stay on the grid of their start, however late one came, and a tick can be had early.
 * A tick that comes more than one interval late is not made up for.
 */
import type { Clock } from './clock.ts'

export class Ticker {
  readonly #clock: Clock
  readonly #everyMs: number
  #dueMs: number
  #isWoken = false
  #waiting: AbortController | undefined

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock
    this.#everyMs = everyMs
    this.#dueMs = clock.now() + everyMs
  }

  /** Waits for the next tick, for `wake` or for `signal`; resolves to how late the tick came in ms, or undefined when it came early. */
  async next(signal: AbortSignal): Promise<number | undefined> {
    if (!this.#isWoken && this.#dueMs > this.#clock.now()) await this.#wait(signal)
    this.#isWoken = false
    const now = this.#clock.now()
    const lateMs = now - this.#dueMs
    if (lateMs < 0) return undefined
    this.#dueMs = Math.max(this.#dueMs + this.#everyMs, now)
    return lateMs
  }

  /** Makes the present or next wait end at once. */
  wake(): void {
    this.#isWoken = true
    this.#waiting?.abort()
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const waiting = new AbortController()
    this.#waiting = waiting
    const stop = () => waiting.abort()
    signal.addEventListener('abort', stop)
    if (!signal.aborted) await this.#clock.sleep(this.#dueMs - this.#clock.now(), waiting.signal)
    signal.removeEventListener('abort', stop)
    this.#waiting = undefined
  }
}
