import { ForebayError } from '../errors.ts'

/** Told while something is measured: what, and how much of it is done (0 to 1). */
export type OnStep = (doing: string, share: number) => void

export interface StepOptions {
  /** About how long it may take. */
  readonly budgetMs: number
  readonly onStep: OnStep
  /** Ends it early with FB_INTERRUPTED. */
  readonly signal: AbortSignal
}

/** Throws FB_INTERRUPTED once `signal` is aborted. */
export function goOn(signal: AbortSignal): void {
  if (signal.aborted)
    throw new ForebayError('FB_INTERRUPTED', 'tune was stopped before its end; nothing was written and what it made is removed')
}
