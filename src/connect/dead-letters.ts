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
import { LocalJobGrid } from '../grid/local-job-grid.ts'
import { silent } from '../observer.ts'
import { SystemClock } from '../schedule/clock.ts'
import { isDurable } from '../sinks/traits.ts'
import { closeSinks, openSinks } from './sinks.ts'
import type { TaskSink } from './sinks.ts'

export interface DeadLetterParts extends AsyncDisposable {
  readonly letters: PostgresDeadLetters
  readonly log: EventLog
  /** Checks that the event log is the one the letters are from. Throws FB_IDENTITY. */
  checkLog(): Promise<void>
  /** Checks the log, and opens the sinks of the durable tasks this configuration runs. Throws FB_IDENTITY, FB_CATALOGUE. */
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
  let opened: readonly TaskSink[] = []
  const close = async () => {
    await closeSinks(opened)
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
      opened = await openDurable(database, name, chosenTasks(settings, pipeline))
      return { letters, log, sinks: new Map(opened.map(({ task, running }) => [task, running])) }
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

/** The sinks of tasks that keep what they are given. Nothing of what they need of a grid leaves this process. */
async function openDurable(database: Database, pipeline: string, tasks: readonly TaskDefinition[]): Promise<TaskSink[]> {
  const clock = new SystemClock()
  const grid = new LocalJobGrid({ capacity: 1 })
  const context = { pipeline, node: 'redrive', database, clock, observer: silent, grid, scope: 'redrive', secret: '' }
  return openSinks(tasks.filter(isDurable), context)
}
