/** Opens what the commands that look at a pipeline look at; everything late and with short times to wait. */
import type { InspectedPipeline } from '../inspect/facts.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import { ForebayError, isForebayError } from '../errors.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { hashName } from '../ingest/converter.ts'
import { readLedgerFacts } from '../inspect/ledger-facts.ts'
import type { InspectPorts } from '../inspect/gather-explain.ts'
import { nodePids, openTarget } from './target.ts'
import type { Target, TargetOptions } from './target.ts'
import { isDurable } from '../sinks/traits.ts'

export interface InspectTarget extends AsyncDisposable {
  readonly target: Target
  readonly of: InspectedPipeline
  readonly ports: InspectPorts
  /** All partitions, by the log or else by the ledger. Throws what the log throws when neither tells. */
  partitions(): Promise<number[]>
}

/** Throws what `openTarget` throws; a server that is away shows later, where it is asked. */
export async function inspectTarget(options: TargetOptions): Promise<InspectTarget> {
  const target = await openTarget(options)
  const { settings, pipeline, tasks, urls } = target
  const { openDatabase, openEventLog, openGrid } = await import('../connect/servers.ts')
  const database = openDatabase(settings)
  const log = openEventLog(settings, pipeline)
  const grid = settings.grid.mode === 'local' ? null : openGrid(settings)
  // Whoever needs it awaits it; until then its failure is nobody's.
  grid?.catch(() => undefined)
  const of = { settings, pipeline, tasks, urls, fingerprint: fingerprintOf(target), pids: nodePids(options) }
  return {
    target,
    of,
    ports: { log, database, grid },
    partitions: async () => numbersBelow(await countPartitions({ log, database, grid }, pipeline.name)),
    [Symbol.asyncDispose]: async () => {
      await Promise.allSettled([log[Symbol.asyncDispose](), database[Symbol.asyncDispose](), closeGrid(grid)])
    },
  }
}

async function countPartitions({ log, database }: InspectPorts, pipeline: string): Promise<number> {
  try {
    return (await log.identity()).partitions
  } catch (error) {
    if (!isForebayError(error)) throw error
    const ledger = await readLedgerFacts(database, pipeline).catch(() => undefined)
    if (ledger !== undefined && ledger.partitions.size > 0) return ledger.partitions.size
    throw new ForebayError(error.code, `${error.message}; name a partition to learn what the others know of it`, { cause: error })
  }
}

async function closeGrid(grid: Promise<JobGrid> | null): Promise<void> {
  const opened = await grid?.catch(() => undefined)
  await opened?.[Symbol.asyncDispose]()
}

function numbersBelow(count: number): number[] {
  return Array.from({ length: count }, (_, number) => number)
}

/** What a node of this configuration would tell of itself. */
function fingerprintOf({ settings, pipeline, tasks }: Target): Fingerprint {
  const { grid, eventBytesMax } = settings
  const durable = tasks.filter(isDurable)
  return {
    queues: grid.queues,
    hash: hashName,
    segmentBytesMax: grid.segmentBytesMax,
    eventBytesMax,
    tasks: (durable.length > 0 ? durable : tasks).map(({ name }) => name),
    version: pipeline.version,
  }
}
