/**
 * Takes what earlier epochs of this pipeline left in the grid out of it: their rings would keep their memory for ever.
 *
 * Nothing is at stake (fact 2 of the protocol): the nodes of an earlier epoch are fenced, and what a late one of them writes is made
 * anew and taken out at the next start. One lease after this node's start they have noticed and gone, as a rule.
 */
import { isForebayError, sentenceOf } from '../errors.ts'
import type { JobGrid, UnusedNames } from '../grid/job-grid.ts'
import { fanoutRingName, flagMapName, latestMapName, ringName, scopeName } from '../grid/queue-name.ts'
import type { Scope } from '../grid/queue-name.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'
import { membershipMap } from './membership.ts'

export interface OlderEpochsPorts {
  readonly grid: JobGrid
  readonly clock: Clock
  readonly observer: Observer
  /** The few epochs before `epoch`, their marks, and how many queues a partition had in each. */
  readonly before: (epoch: number) => Promise<readonly { readonly epoch: number; readonly mark: string; readonly queues: number }[]>
}

export interface OlderEpochsOptions {
  /** Of the epoch that runs. */
  readonly scope: Scope
  readonly partitions: number
  /** Of the pipeline as it is now. */
  readonly channels: readonly string[]
  readonly waitMs: number
}

/** Tries once, `waitMs` from now; a failure waits for the next start of a node. */
export async function destroyOlderEpochs(ports: OlderEpochsPorts, options: OlderEpochsOptions, signal: AbortSignal): Promise<void> {
  const { grid, clock, observer, before } = ports
  const { scope, waitMs } = options
  if (scope.epoch === 1) return
  await clock.sleep(waitMs, signal)
  if (signal.aborted) return
  try {
    for (const { queues, ...named } of await before(scope.epoch)) {
      if (signal.aborted) return
      await grid.destroy(namesOf(scopeName({ ...scope, ...named }), queues, options))
    }
  } catch (error) {
    if (!isForebayError(error)) throw error
    observer.log('debug', `what earlier epochs left in the grid stays for now: ${sentenceOf(error)}`)
  }
}

function namesOf(scope: string, queues: number, { partitions, channels }: OlderEpochsOptions): UnusedNames {
  const places = Array.from({ length: partitions * queues }, (_, n) => ({ partition: Math.floor(n / queues), queue: n % queues }))
  return {
    rings: [...places.map((place) => ringName(scope, place)), ...channels.map((channel) => fanoutRingName(scope, channel))],
    maps: [flagMapName(scope), membershipMap(scope), ...channels.map((channel) => latestMapName(scope, channel))],
  }
}
