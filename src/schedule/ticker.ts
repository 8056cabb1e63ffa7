/**
 * A cadence in milliseconds: ticks stay on the grid of their start, however late one came, and a tick can be had early.
 * A tick that comes more than one interval late is not made up for. Who has nothing to do may rest between two ticks, since
 * waking up for nothing costs a processor more than the work of a quiet hour.
 */
import type { Clock } from './clock.ts'
import { Wake } from './wake.ts'

/** A rest ends after this at the latest; nothing depends on it. */
const restMs = 60_000

export class Ticker {
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #wake: Wake
  readonly #rest: Wake
  #isResting = false
  #dueMs: number

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock
    this.#everyMs = everyMs
    this.#dueMs = clock.now() + everyMs
    this.#wake = new Wake(clock)
    this.#rest = new Wake(clock)
  }

  /** Waits for `stir`, for `wake` or for `signal`; the next tick is then the next on the grid. */
  async rest(signal: AbortSignal): Promise<void> {
    const stop = () => this.#rest.wake()
    signal.addEventListener('abort', stop)
    this.#isResting = true
    if (!signal.aborted) await this.#rest.wait(restMs)
    this.#isResting = false
    signal.removeEventListener('abort', stop)
    const missed = Math.ceil((this.#clock.now() - this.#dueMs) / this.#everyMs)
    if (missed > 0) this.#dueMs += missed * this.#everyMs
  }

  /** Ends a rest: there is something to do at the next tick. */
  stir(): void {
    if (this.#isResting) this.#rest.wake()
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
    this.stir()
    this.#wake.wake()
  }
}
