/**
 * Every seed that ever broke an invariant, and what was wrong. A seed draws another world once the simulation changes, so each
 * fault also has its mutant, or its own test; the seeds stay because they cost next to nothing.
 */
export const regressionSeeds: readonly { readonly seed: number; readonly was: string }[] = [
  { seed: 1031, was: 'a ring made anew behind an idle reader, whose owner had no cause for a heartbeat' },
  { seed: 1_446_325_742, was: 'a queue lost and regained had two readers in one flush (mutant two-readers-of-a-queue)' },
]
