import type { Clock } from '../../src/schedule/clock.ts'
import type { Wire } from './wire.ts'

/** The virtual time of the scheduler, as one node sees it: every sleep is an entry. */
export class SimClock implements Clock {
  readonly #wire: Wire

  constructor(wire: Wire) {
    this.#wire = wire
  }

  now(): number {
    return this.#wire.scheduler.nowMs
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#wire.scheduler.nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    const dueMs = this.now() + Math.max(0, ms)
    // A fault must never strike a sleep: the clock has no fault rates.
    return this.#wire.call('clock', 'sleep', () => undefined, signal === undefined ? { dueMs } : { dueMs, isReady: () => signal.aborted })
  }
}
