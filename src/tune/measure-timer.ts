import type { Clock } from '../schedule/clock.ts'
import { Quantiles } from './quantiles.ts'
import { goOn } from './tune-step.ts'
import type { StepOptions } from './tune-step.ts'

/** Short cadences, on and off the beat of the system's own timer. */
const waitsMs = [1, 3, 5, 7, 10, 13] as const

/** How late timers fire on this machine as it is now. */
export async function measureTimer(clock: Clock, { budgetMs, onStep, signal }: StepOptions): Promise<Quantiles> {
  const late: number[] = []
  const startedMs = clock.now()
  for (let i = 0; i < waitsMs.length || clock.now() - startedMs < budgetMs; i++) {
    goOn(signal)
    const waitMs = waitsMs[i % waitsMs.length]!
    const fromMs = clock.now()
    await clock.sleep(waitMs, signal)
    late.push(Math.max(0, clock.now() - fromMs - waitMs))
    onStep('timers', Math.min(1, (clock.now() - startedMs) / budgetMs))
  }
  return new Quantiles(late)
}
