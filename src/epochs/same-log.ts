/** Is the event log the one that a pipeline's ledger was built on (rule 13)? What every command asks before it takes an event for one of the ledger's. */
import type { EventLog } from '../events/event-log.ts'
import type { Database } from '../database/database.ts'
import { SystemClock } from '../schedule/clock.ts'
import { checkIdentity } from './epochs.ts'
import { floorChecksum } from './postgres-floor-events.ts'
import { known } from './routing-cut.ts'

interface SameLogPorts {
  readonly log: EventLog
  readonly database: Database
  /** Told of what cannot be compared any more. */
  warn(sentence: string): void
}

/**
 * Compares cluster, topic, its id, its partitions, and the events at the floors. Throws FB_DATABASE_WRONG when the pipeline never ran
 * on this database, FB_IDENTITY when the log is another one.
 */
export async function checkSameLog({ log, database, warn }: SameLogPorts, names: { pipeline: string; topic: string }): Promise<void> {
  const { pipeline } = await database.use(`reading the ledger of pipeline "${names.pipeline}"`, (client) => known(client, names.pipeline))
  checkIdentity(pipeline, { ...names, identity: await log.identity() })
  const metrics = {
    count: ignore,
    value: ignore,
    committed: ignore,
    log: (level: string, sentence: string) => (level === 'warn' ? warn(sentence) : undefined),
  }
  await floorChecksum({ log, clock: new SystemClock(), metrics, pool: database }, names).check()
}

function ignore(): void {}
