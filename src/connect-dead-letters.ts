/** What `forebay dead-letters` connects to: the ledger's database, the event log, and the tables of the tasks. */
import { openDatabase, openEventLog } from './connect.ts'
import type { RedrivePorts } from './dead-letters/redrive.ts'
import { ForebayError } from './errors.ts'
import type { EventLog } from './events/event-log.ts'
import type { Database } from './inspect/database.ts'
import type { NodeSettings } from './node/settings.ts'
import { PostgresDeadLetters } from './offsets/postgres-dead-letters.ts'
import type { PostgresTransaction } from './offsets/postgres-transaction.ts'
import type { Pipeline, TaskDefinition } from './pipeline/pipeline.ts'
import { createPostgresTable } from './sinks/postgres-table.ts'
import type { PostgresTable } from './sinks/postgres-table.ts'

export interface DeadLetterParts extends AsyncDisposable {
  readonly letters: PostgresDeadLetters
  readonly log: EventLog
  /**
   * Checks that the event log is the one the letters are from, and opens the tables. Throws FB_IDENTITY, FB_USAGE when the pipeline
   * never ran on this database, FB_CATALOGUE.
   */
  forRedrive(): Promise<RedrivePorts<PostgresTransaction>>
}

/** Connects to nothing yet. */
export function openDeadLetters(settings: NodeSettings, pipeline: Pipeline): DeadLetterParts {
  const database = openDatabase(settings)
  const log = openEventLog(settings, pipeline)
  const letters = new PostgresDeadLetters(database, pipeline.name)
  return {
    letters,
    log,
    forRedrive: async () => {
      await checkIdentity(database, log, pipeline)
      return { letters, log, sinks: await openTables(database, pipeline.tasks) }
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.allSettled([log[Symbol.asyncDispose](), database[Symbol.asyncDispose]()])
    },
  }
}

async function openTables(database: Database, tasks: readonly TaskDefinition[]): Promise<Map<string, PostgresTable>> {
  const sinks = new Map<string, PostgresTable>()
  for (const { name, sink } of tasks) {
    if (sink.kind !== 'postgres-table') continue
    sinks.set(name, await database.use(`checking table ${sink.table}`, (client) => createPostgresTable(sink, client)))
  }
  return sinks
}

async function checkIdentity(database: Database, log: EventLog, { name, source }: Pipeline): Promise<void> {
  const { rows } = await database.use(`reading the ledger of pipeline "${name}"`, (client) =>
    client.query<{ cluster: string; topic: string; topic_id: string | null }>(
      'select cluster, topic, topic_id from forebay.pipelines where name = $1',
      [name],
    ),
  )
  const [known] = rows
  if (known === undefined)
    throw new ForebayError('FB_USAGE', `pipeline "${name}" has never run on this database: there is nothing to redrive`)
  const { cluster, topicId } = await log.identity()
  const isSameTopic = known.topic_id === null || topicId === null || known.topic_id === topicId
  if (known.cluster === cluster && known.topic === source.topic && isSameTopic) return
  throw new ForebayError(
    'FB_IDENTITY',
    `The dead letters of pipeline "${name}" are from topic ${known.topic} of cluster ${known.cluster} (${known.topic_id ?? 'no id'}), but the event log is topic ${source.topic} of cluster ${cluster} (${topicId ?? 'no id'}); nothing was changed.`,
  )
}
