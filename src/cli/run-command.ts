import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { errorCodes } from '../errors.ts'
import { addCheckConfig } from './check-config.ts'
import { addDeadLetters } from './dead-letters.ts'
import { addDoctor } from './doctor.ts'
import { addExplain } from './explain.ts'
import { addHalts } from './halts.ts'
import { addLedger } from './ledger.ts'
import { paint } from '../text/paint.ts'
import { report } from './report.ts'
import { addReset } from './reset.ts'
import { addReplay } from './replay.ts'
import { addQueues } from './queues.ts'
import { addRouting } from './routing.ts'
import { addStart } from './start.ts'
import { addStatus } from './status.ts'
import { addTable } from './table.ts'
import { addTasks } from './tasks.ts'
import { addTune } from './tune.ts'
import { addTopics } from './topics.ts'
import { addVersions } from './versions.ts'

/** The command `forebay` with all that belongs to it. */
export function forebayCommand(): Command {
  const program = new Command('forebay')
    .description('Exactly-once periodic processing of fast events: Kafka to a grid of job queues to Postgres and WebSocket.')
    .version(packageVersion(), '-V, --version')
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(paint(process.stderr, 'red', text)) })
    .showHelpAfterError('(forebay --help shows what there is)')
  addStart(program)
  addCheckConfig(program)
  addStatus(program)
  addDeadLetters(program)
  addDoctor(program)
  addExplain(program)
  addQueues(program)
  addTopics(program)
  addRouting(program)
  addTable(program)
  addTasks(program)
  addVersions(program)
  addLedger(program)
  addHalts(program)
  addReplay(program)
  addReset(program)
  addTune(program)
  return program
}

/** Runs the command line `words`; prints its failure and gives the exit code. */
export async function runCommand(words: readonly string[]): Promise<number> {
  try {
    await forebayCommand().parseAsync(words, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : errorCodes.FB_USAGE.exitCode
    return report(error)
  }
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
