import { isForebayError } from '../errors.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'

const patienceMs = 60_000
/** An attempt that lasted so long got somewhere: what failed it is a new failure. */
const longAttemptMs = 5_000

/** Tries `attempt` again while a server is away, for a minute at most; throws its last failure. */
export async function patiently<T>(clock: Clock, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  const backoff = new Backoff()
  let deadline = clock.now() + patienceMs
  while (true) {
    const startedMs = clock.now()
    try {
      return await attempt()
    } catch (error) {
      const isPassing = isForebayError(error) && error.policy === 'retry' && error.code !== 'FB_FENCED'
      if (clock.now() - startedMs > longAttemptMs) {
        deadline = clock.now() + patienceMs
        backoff.reset()
      }
      if (!isPassing || signal.aborted || clock.now() > deadline) throw error
      await clock.sleep(backoff.next(), signal)
    }
  }
}
