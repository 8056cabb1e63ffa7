/** Once an hour a node lets old resolved dead letters go, as many at a time as one statement takes. */
import type { EventLog } from '../events/event-log.ts'
import { lettersForgottenMax } from '../dead-letters/resolved-letters.ts'
import type { Clock } from '../schedule/clock.ts'

const firstMs = 60_000
const everyMs = 3_600_000
const restMs = 1000

export interface LetterUpkeepPorts {
  readonly clock: Clock
  readonly log: Pick<EventLog, 'range'>
  /** Deletes some by the first offsets that the log holds, and gives how many. */
  readonly forget: (logStarts: ReadonlyMap<number, bigint>) => Promise<number>
}

/** Ends with `signal`; throws what the log and the database throw. */
export async function keepLetters({ clock, log, forget }: LetterUpkeepPorts, partitions: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(firstMs, signal)
  while (!signal.aborted) {
    const starts = new Map<number, bigint>()
    for (let partition = 0; partition < partitions && !signal.aborted; partition++)
      starts.set(partition, (await log.range(partition)).startOffset)
    if (signal.aborted) return
    const forgotten = await forget(starts)
    await clock.sleep(forgotten < lettersForgottenMax ? everyMs : restMs, signal)
  }
}
