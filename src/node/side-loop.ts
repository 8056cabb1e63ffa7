/**
 * A loop beside the work of a node, such as one that pushes to clients or tells what the log holds: its failure is told and it
 * is run again, since nothing durable hangs on it and the work goes on without it.
 */
import { sentenceOf } from '../errors.ts'
import type { Observer } from '../observer.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'

export interface SideLoopPorts {
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log'>
}

/** Runs `run` until it ends by itself or `signal` aborts. `what` begins the sentence of a failure. Never rejects. */
export async function runSideLoop(
  what: string,
  run: (signal: AbortSignal) => Promise<void>,
  { clock, observer }: SideLoopPorts,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff()
  while (!signal.aborted) {
    try {
      await run(signal)
      return
    } catch (error) {
      if (signal.aborted) return
      observer.log('error', `${what} failed and is tried again: ${sentenceOf(error)}`, { err: error })
      await clock.sleep(backoff.next(), signal)
    }
  }
}
