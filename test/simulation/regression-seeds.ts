/**
 * Every seed that ever broke an invariant, and what was wrong. A seed draws another world once the simulation changes, so each
 * fault also has its mutant, or its own test; the seeds stay because they cost next to nothing.
 */
export const regressionSeeds: readonly { readonly seed: number; readonly was: string }[] = [
  { seed: 1031, was: 'a ring made anew behind an idle reader, whose owner had no cause for a heartbeat' },
  { seed: 1_446_325_742, was: 'a queue lost and regained had two readers in one flush (mutant two-readers-of-a-queue)' },
  {
    seed: 699,
    was: 'a failover took back a floor that a reader had followed: its owner waited for the reader, and the reader for nothing',
  },
  { seed: 100_389, was: 'of the simulation: time leapt a minute while nodes were ready to run, and their leases ended' },
  { seed: 563_939_372, was: 'a reader that could not ask for the watermarks at a gap had passed what it had read, unjudged' },
  {
    seed: 700_916,
    was: 'a repair read a log of Kafka again that had been cut and had grown, and took what had come in the place of what was read',
  },
  { seed: 1228, was: 'of the simulation: a healthy task waits where a blocked one holds all that its reader may hold (rule 3)' },
  {
    seed: 20_580,
    was: 'of the simulation: a node left an epoch that a failover had opened again and did not come back, and the other one was cut off for good',
  },
]
