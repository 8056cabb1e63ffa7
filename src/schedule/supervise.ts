/**
 * Keeps a part alive: a life that ends with an error is followed by the next one, after a wait that the error's policy
 * decides. What no waiting mends is thrown.
 */
import { isForebayError } from '../errors.ts'
import type { ForebayError } from '../errors.ts'
import { Backoff } from './backoff.ts'
import type { Clock } from './clock.ts'

const haltedWaitMs = 5000

export interface Supervised {
  readonly clock: Clock
  /** One life, from nothing until `signal` aborts. */
  live(signal: AbortSignal): Promise<void>
  /** Told of each end that is followed by another life. */
  onFailure(error: ForebayError): void
}

/** Throws errors of policy `fatal`, FB_EPOCH_CLOSED and errors that are none of forebay's. */
export async function supervise(part: Supervised, signal: AbortSignal): Promise<void> {
  const backoff = new Backoff()
  while (!signal.aborted) {
    try {
      await part.live(signal)
      return
    } catch (error) {
      if (!isForebayError(error) || error.policy === 'fatal' || error.code === 'FB_EPOCH_CLOSED') throw error
      part.onFailure(error)
      await part.clock.sleep(error.policy === 'halt' ? haltedWaitMs : backoff.next(), signal)
    }
  }
}
