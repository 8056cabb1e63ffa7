import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { openCronSchedule, openEventLog } from './servers.ts'
import { createSandbox } from './careful.ts'
import type { PipelineFile } from './careful.ts'
import { startGrid, type MemberEnd } from './grid.ts'
import type { CronSchedule } from '../cron/cron-schedule.ts'
import type { EventLog, LogIdentity } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { Sandbox } from '../ingest/sandbox.ts'
import { chosenTasks } from '../config/fingerprint-of.ts'
import { createLogger } from '../status/logger.ts'
import { sinkBytesOf, checkMemory } from '../node/memory-bound.ts'
import { NodeMetrics } from '../status/metrics.ts'
import { Parts } from '../node/parts.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { SideLoopPorts } from '../node/side-loop.ts'
import { WatchedEventLog } from '../node/watched-event-log.ts'
import { PostgresPool } from '../database/postgres-pool.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import { SystemClock } from '../schedule/clock.ts'
import type { Clock } from '../schedule/clock.ts'
import { Troubles } from '../troubles.ts'

/** Everything a node stands on: log, grid, database, and what tells of it. */
export interface Base {
  /** Unique for this life of the process. */
  readonly id: string
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: NodeMetrics
  readonly troubles: Troubles
  readonly pool: PostgresPool
  readonly log: EventLog
  /** How often a `Node` was built. */
  lives: number
  /** As of the last opening of an epoch. */
  identity: LogIdentity
  readonly grid: JobGrid
  readonly cron: CronSchedule
  readonly stopMember: MemberEnd['stopMember']
  readonly dropMember: MemberEnd['dropMember']
  /** What loops beside the work are told with. */
  readonly side: SideLoopPorts
  readonly sandbox: Sandbox | undefined
}

/** Throws what the configuration, the event log, the grid or the database say against it. */
export async function openBase(settings: NodeSettings, pipeline: Pipeline, file: PipelineFile | undefined, parts: Parts): Promise<Base> {
  const { node, grid: gridSettings, database, logLevel } = settings
  const clock = new SystemClock()
  const secrets = gridSettings.secret === undefined ? [] : [gridSettings.secret]
  const logger = createLogger({ node: node.name, level: logLevel, secrets })
  const metrics = parts.use(new NodeMetrics({ logger, clock }))
  const pool = parts.use(
    new PostgresPool({
      url: database.url,
      applicationName: `forebay ${node.name}`,
      connectionsMax: database.poolMax,
      connectTimeoutMs: 5000,
      statementTimeoutMs: database.statementTimeoutMs,
      lockTimeoutMs: database.lockTimeoutMs,
      idleInTransactionTimeoutMs: database.statementTimeoutMs,
    }),
  )
  const troubles = new Troubles(clock)
  const log = parts.use(new WatchedEventLog(openEventLog(settings, pipeline), troubles))
  const identity = await log.identity()
  checkMemory(settings, identity.partitions, { sinkBytes: sinkBytesOf(chosenTasks(settings, pipeline)) })
  const { grid, stopMember, dropMember } = await startGrid(gridSettings, { clock, observer: metrics }, parts)
  const id = `${node.name}.${randomBytes(3).toString('hex')}`
  const cron = openCronSchedule(settings, pipeline, { id, clock, observer: metrics, tally: metrics.cron, troubles }, parts)
  const side = { clock, observer: metrics, troubles }
  const sandbox = createSandbox(settings, pipeline, file, parts)
  return { id, clock, lives: 0, logger, metrics, troubles, pool, log, identity, grid, cron, stopMember, dropMember, side, sandbox }
}
