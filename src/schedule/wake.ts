import type { Clock } from './clock.ts'

/** Without a reason an abort makes an exception with a stack each time. */
const woken = 'woken'

/** Lets one loop sleep until somebody has work for it. A wake before the wait is remembered. */
export class Wake {
  readonly #clock: Clock
  #isAwake = false
  /** Kept from wait to wait until a wake uses it up. */
  #sleeper = new AbortController()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  wake(): void {
    this.#isAwake = true
    this.#sleeper.abort(woken)
  }

  /** Resolves at the next wake (at once when one came since the last wait), at the latest after `waitMs`. */
  async wait(waitMs: number): Promise<void> {
    if (!this.#isAwake) {
      await this.#clock.sleep(waitMs, this.#sleeper.signal)
    }
    if (this.#sleeper.signal.aborted) this.#sleeper = new AbortController()
    this.#isAwake = false
  }
}
