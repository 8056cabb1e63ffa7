import type { Clock } from './clock.ts'

/** Lets one loop sleep until somebody has work for it. A wake before the wait is remembered. */
export class Wake {
  readonly #clock: Clock
  #isAwake = false
  #sleeper: AbortController | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  wake(): void {
    this.#isAwake = true
    this.#sleeper?.abort()
  }

  /** Resolves at the next wake (at once when one came since the last wait), at the latest after `waitMs`. */
  async wait(waitMs: number): Promise<void> {
    if (!this.#isAwake) {
      this.#sleeper = new AbortController()
      await this.#clock.sleep(waitMs, this.#sleeper.signal)
      this.#sleeper = undefined
    }
    this.#isAwake = false
  }
}
