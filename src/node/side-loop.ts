/**
 * A loop beside the work of a node, such as one that pushes to clients or tells what the log holds: its failure is told and it
 * is run again, since nothing durable hangs on it and the work goes on without it.
 */
import { sentenceOf } from '../errors.ts'
import type { Observer } from '../observer.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import type { TroubleWatch } from '../troubles.ts'

export interface SideLoopPorts {
  readonly clock: Clock
  readonly observer: Pick<Observer, 'log'>
  readonly troubles: Pick<TroubleWatch, 'failed'>
}

/** Runs `run` until it ends by itself or `signal` aborts. `what` begins the sentence of a failure. Never rejects. */
export async function runSideLoop(
  what: string,
  run: (signal: AbortSignal) => Promise<void>,
  { clock, observer, troubles }: SideLoopPorts,
  signal: AbortSignal,
): Promise<void> {
  const backoff = new Backoff()
  let told: string | undefined
  while (!signal.aborted) {
    try {
      await run(signal)
      return
    } catch (error) {
      if (signal.aborted) return
      const sentence = sentenceOf(error)
      observer.log(sentence === told ? 'debug' : 'error', `${what} failed and is tried again: ${sentence}`, { err: error })
      told = sentence
      troubles.failed('side', what, error)
      await clock.sleep(backoff.next(), signal)
    }
  }
}
