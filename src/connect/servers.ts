/**
 * What commands connect to: the servers of a pipeline by its settings, with short times to wait, since a person waits.
 */
import { WatchedCronRuns } from '../cron/watched-cron-runs.ts'
import type { TroubleWatch } from '../troubles.ts'
import type { CronRunnerPorts } from '../cron/cron-runner.ts'
import { CronSchedule } from '../cron/cron-schedule.ts'
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { KafkaAddress } from '../events/kafka-cluster.ts'
import { KafkaEventLog } from '../events/kafka-event-log.ts'
import { KafkaTopicAdmin } from '../events/kafka-topic-admin.ts'
import { PostgresEventLog } from '../events/postgres-event-log.ts'
import { PostgresTopicAdmin } from '../events/postgres-topic-admin.ts'
import type { TopicAdmin } from '../events/topic-settings.ts'
import { HazelcastJobGrid } from '../grid/hazelcast-job-grid.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import type { Database } from '../database/database.ts'
import type { EventSettings, NodeSettings } from '../config/settings.ts'
import type { Parts } from '../node/parts.ts'
import { PostgresCronRuns } from '../cron/postgres-cron-runs.ts'
import { PostgresPool } from '../database/postgres-pool.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'

const databaseConnectMs = 3000
const statementMs = 10_000
const gridConnectMs = 4000
const gridCallMs = 2000

/** The event log of `pipeline`; connects to nothing yet. */
export function openEventLog(
  { events, database, eventBytesMax }: Pick<NodeSettings, 'events' | 'database' | 'eventBytesMax'>,
  pipeline: Pipeline,
): EventLog {
  const { topic } = pipeline.source
  if (events.kind === 'postgres') {
    return new PostgresEventLog({ url: database.url, topic, pipelineGroup: pipeline.name, fetchBytesMax: events.fetchBytesMax })
  }
  const { group, fetchBytesMax, inflatedBytesMax } = events
  const limits = { fetchBytesMax, inflatedBytesMax, eventBytesMax }
  return new KafkaEventLog({ ...kafkaAddress(events), topic, pipelineGroup: group ?? pipeline.name, ...limits })
}

/** The topic of `pipeline`, to compare and to change; connects to nothing yet. */
export function openTopicAdmin({ events, database }: Pick<NodeSettings, 'events' | 'database'>, pipeline: Pipeline): TopicAdmin {
  const { topic } = pipeline.source
  return events.kind === 'postgres'
    ? new PostgresTopicAdmin({ url: database.url }, topic)
    : new KafkaTopicAdmin(kafkaAddress(events), topic)
}

/** The database of the ledger, for a few statements of one command, the longest of `statementMsMax`; connects to nothing yet. */
export function openDatabase({ database }: Pick<NodeSettings, 'database'>, statementMsMax: number = statementMs): Database {
  return new PostgresPool({
    url: database.url,
    applicationName: 'forebay command',
    connectionsMax: 2,
    connectTimeoutMs: databaseConnectMs,
    statementTimeoutMs: statementMsMax,
    lockTimeoutMs: statementMs,
    idleInTransactionTimeoutMs: statementMs,
  })
}

/** The grid as a client of its members. Throws FB_GRID_UNREACHABLE, and FB_USAGE in mode `local`: that grid is inside a node. */
export function openGrid({ grid }: Pick<NodeSettings, 'grid'>): Promise<JobGrid> {
  const { mode, clusterName, members, tls } = grid
  if (mode === 'local')
    throw new ForebayError('FB_USAGE', 'the grid is inside the node (grid.mode local): only the node itself can tell of it')
  return HazelcastJobGrid.connect({ clusterName, members, tls, connectTimeoutMs: gridConnectMs, callTimeoutMs: gridCallMs })
}

/** The cron tasks of `pipeline` on the node `id`, with connections of their own: a long run takes none from the flushes. Not started yet. */
export function openCronSchedule(
  { database }: Pick<NodeSettings, 'database'>,
  { name: pipeline, cron }: Pipeline,
  { id, troubles, ...ports }: { readonly id: string; readonly troubles: TroubleWatch } & Omit<CronRunnerPorts, 'runs'>,
  parts: Parts,
): CronSchedule {
  const pool = parts.use(
    new PostgresPool({
      url: database.url,
      applicationName: `forebay cron ${id}`,
      // Each task needs one at a time, and the history one now and then.
      connectionsMax: cron.length + 1,
      connectTimeoutMs: databaseConnectMs,
      statementTimeoutMs: database.statementTimeoutMs,
      lockTimeoutMs: database.lockTimeoutMs,
      idleInTransactionTimeoutMs: database.statementTimeoutMs,
    }),
  )
  const runs = new WatchedCronRuns(new PostgresCronRuns({ pool, pipeline, node: id }), troubles)
  return parts.use(new CronSchedule({ runs, ...ports }, cron))
}

function kafkaAddress({ brokers, clientId, tls, login }: Extract<EventSettings, { kind: 'kafka' }>): KafkaAddress {
  return { brokers, clientId, tls, login }
}
