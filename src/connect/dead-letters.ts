/** What `forebay dead-letters` connects to: the ledger's database, the event log, and the tables of the tasks. */
import { openDatabase, openEventLog } from './servers.ts'
import type { RedrivePorts } from '../dead-letters/redrive.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Database } from '../database/database.ts'
import { ForebayError } from '../errors.ts'
import { chosenTasks, trackedTasks } from '../config/fingerprint-of.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { EpochRow } from '../epochs/epoch-store.ts'
import { PostgresDeadLetters } from '../dead-letters/postgres-dead-letters.ts'
import type { PostgresTransaction } from '../ledger/postgres-transaction.ts'
import { known } from '../epochs/routing-cut.ts'
import { checkSameLog } from '../epochs/same-log.ts'
import { namesOf, taskDifferences } from '../epochs/task-set.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import { createPostgresTable } from '../sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../sinks/postgres-table/postgres-table.ts'

export interface DeadLetterParts extends AsyncDisposable {
  readonly letters: PostgresDeadLetters
  readonly log: EventLog
  /** Checks that the event log is the one the letters are from. Throws FB_IDENTITY. */
  checkLog(): Promise<void>
  /** Checks the log, and opens the tables of the tasks this configuration runs. Throws FB_IDENTITY, FB_CATALOGUE. */
  forRedrive(): Promise<RedrivePorts<PostgresTransaction>>
}

/** Throws FB_DATABASE_WRONG when the pipeline never ran on this database. */
export async function openDeadLetters(
  settings: NodeSettings,
  pipeline: Pipeline,
  warn: (sentence: string) => void,
): Promise<DeadLetterParts> {
  const { name, source } = pipeline
  const database = openDatabase(settings)
  const log = openEventLog(settings, pipeline)
  const close = async () => {
    await Promise.allSettled([log[Symbol.asyncDispose](), database[Symbol.asyncDispose]()])
  }
  const checkLog = () => checkSameLog({ log, database, warn }, { pipeline: name, topic: source.topic })
  let active: EpochRow
  try {
    active = (await database.use(`looking for the ledger of pipeline "${name}"`, (client) => known(client, name))).active
  } catch (error) {
    await close()
    throw error
  }
  const letters = new PostgresDeadLetters(database, name, active)
  return {
    letters,
    log,
    checkLog,
    forRedrive: async () => {
      checkTasks(active, name, trackedTasks(chosenTasks(settings, pipeline)))
      await checkLog()
      return { letters, log, sinks: await openTables(database, chosenTasks(settings, pipeline)) }
    },
    [Symbol.asyncDispose]: close,
  }
}

/** Throws FB_TASKS: the letter of a whole event is written for all tasks, and with others some rows would come twice or never. */
function checkTasks({ epoch, fingerprint }: EpochRow, pipeline: string, tasks: readonly string[]): void {
  const difference = taskDifferences({ tasks: fingerprint.tasks }, { tasks })
  if (difference === '') return
  throw new ForebayError(
    'FB_TASKS',
    `Epoch ${epoch} of pipeline "${pipeline}" runs ${namesOf(fingerprint.tasks)}; this configuration ${difference}. Redrive with the tasks of the epoch.`,
  )
}

async function openTables(database: Database, tasks: readonly TaskDefinition[]): Promise<Map<string, PostgresTable>> {
  const sinks = new Map<string, PostgresTable>()
  for (const { name, sink } of tasks) {
    if (sink.kind !== 'postgres-table') continue
    sinks.set(name, await database.use(`checking table ${sink.table}`, (client) => createPostgresTable(sink, client)))
  }
  return sinks
}
