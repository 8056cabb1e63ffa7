/**
 * How fast a replay goes. Pure.
 *
 * Without a speed: as fast as leaves the live pipeline alone, which is a quarter of the time. After each batch it rests three times as long as the
 * batch took, so that it never takes more than a quarter of a processor, of a connection, and of the database's attention; batches
 * are small, so that nobody waits behind one. With a speed: N times the pace of the record times, and never faster than that.
 */

/** Rest after a batch, as a share of the time the batch took. */
export const restShare = 3
const restMsMax = 3000
export const batchEventsMax = 1000
export const batchBytesMax = 256 * 1024
/** Events of a paced batch: small, so that they come evenly. */
export const pacedEventsMax = 250

export function restMs(tookMs: number): number {
  return Math.min(tookMs * restShare, restMsMax)
}

/** The record time up to which events are due. */
export class Pace {
  readonly #speed: number
  readonly #firstTimeMs: number
  readonly #startedMs: number

  /** From `startedMs` of the clock on, record times run from `firstTimeMs` at `speed` times their own pace. */
  constructor(options: { speed: number; firstTimeMs: number; startedMs: number }) {
    this.#speed = options.speed
    this.#firstTimeMs = options.firstTimeMs
    this.#startedMs = options.startedMs
  }

  timeMsAt(nowMs: number): number {
    return this.#firstTimeMs + (nowMs - this.#startedMs) * this.#speed
  }

  /** How long until an event of `timeMs` is due. */
  waitMs(timeMs: number, nowMs: number): number {
    return Math.max(0, (timeMs - this.timeMsAt(nowMs)) / this.#speed)
  }
}
