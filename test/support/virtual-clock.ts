/** Time that stands still until a test lets it pass: every sleep ends in its turn, and all code that waited for it runs before the next one. */
import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/schedule/clock.ts'

const wallStartMs = 1_700_000_000_000

interface Sleeper {
  readonly dueMs: number
  readonly wake: () => void
}

export class VirtualClock implements Clock {
  #nowMs = 0
  readonly #sleepers = new Set<Sleeper>()

  now(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return wallStartMs + this.#nowMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = () => {
        this.#sleepers.delete(sleeper)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const sleeper = { dueMs: this.#nowMs + Math.max(0, ms), wake }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** Lets `ms` pass, one due sleep after the other. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await turn()
    for (;;) {
      let next: Sleeper | undefined
      for (const sleeper of this.#sleepers) if (next === undefined || sleeper.dueMs < next.dueMs) next = sleeper
      if (next === undefined || next.dueMs > endMs) break
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.wake()
      await turn()
    }
    this.#nowMs = endMs
  }

  /** The process stood still: time went by, and nothing ran. */
  jump(ms: number): void {
    this.#nowMs += ms
  }
}
