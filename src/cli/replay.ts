import { constants, setPriority } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import { ForebayError } from '../errors.ts'
import { stopOnSignal } from './operator.ts'
import { paint } from '../text/paint.ts'
import { replayRequest } from './replay-request.ts'
import type { ReplayOptions } from './replay-request.ts'
import { recordJson, recordText } from './replay-text.ts'
import { openTarget, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

export type ReplayCommandOptions = ReplayOptions & TargetOptions

const showDefault = 1000
const examples = `
Examples:
  forebay replay --from 2026-01-31T14:30:00Z --to 2026-01-31T15:00:00Z --task storeTrade --into trades_again
  forebay replay --from 4711 --to 5000 --partition 0 --task storeTrade --into trades_again --speed 2
  forebay replay --resume 3
  forebay replay --from earliest --verify
  forebay replay --from 2026-01-31T14:30:00Z --task storeTrade --repair
  forebay replay --from earliest --dry-run --json

The range begins at --from and ends before --to, at the latest at the floor: what lies above it may still be on its way. Offsets and
times are those of the event log. A replay has a cursor, a connection and progress of its own and yields to the live pipeline
(low priority, small batches, a rest after each). WebSocket tasks are not replayed.

Exit codes: 0 done, or nothing differs, or everything that was missing is written; 1 the table differs; 64 wrong command line; 69 a
server is away; 74 the log no longer holds the range; 75 stopped (resume it), or another one is under way.`
const listExamples = `
Examples:
  forebay replay list
  forebay replay list -c config/forebay.yaml --json`

/** Adds `forebay replay` and `forebay replay list`. */
export function addReplay(program: Command): void {
  const replay = withTarget(program.command('replay'))
    .description('write events of the log again into another table, or compare a table with its events and mend it')
    .option('--from <point>', 'earliest, committed, an offset, or a time with its zone')
    .option('--to <point>', 'the same, exclusive (default: the floor)')
    .option('--partition <number>', 'only this partition; needed with offsets', wholeNumber)
    .option('--key <key>', 'only events of this key')
    .option('--task <name>', 'only this task')
    .option('--into <table>', 'write into this table, made like the live one')
    .option('--speed <factor>', 'times the own pace of the events (default: as fast as leaves the live pipeline alone)', factor)
    .option('--dry-run', 'count events, jobs and bytes, and measure how long it would take')
    .option('--verify', 'compare the table with what its events call for; exit code 1 when it differs')
    .option('--repair', 'compare, and write the rows that are missing, exactly once')
    .option('--resume <id>', 'go on with a replay that was stopped or killed', wholeNumber)
    .option('--show <count>', 'differences to list at most', wholeNumber, showDefault)
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action((options: ReplayCommandOptions) => runReplayCommand(options))
  withTarget(replay.command('list'))
    .description('show the replays of the pipeline and how far they came')
    .option('--json', 'print JSON')
    .addHelpText('after', listExamples)
    .action((_options: unknown, command: Command) => list(command.optsWithGlobals()))
}

async function runReplayCommand(options: ReplayCommandOptions): Promise<void> {
  const { config, runFile, resume, json: _json, show: _show, ...others } = options
  const given = Object.keys(others)
  if (resume !== undefined && given.length > 0)
    throw new ForebayError(
      'FB_USAGE',
      `--resume goes on as the replay was asked for; leave out ${given.map((name) => `--${name === 'dryRun' ? 'dry-run' : name}`).join(', ')}`,
    )
  // The live pipeline comes first wherever both want the processor, while the pipeline's module is compiled too.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  const target = await openTarget({ ...(config === undefined ? {} : { config }), ...(runFile === undefined ? {} : { runFile }) })
  const request = resume === undefined ? replayRequest(options, target.pipeline, target.tasks) : undefined
  for (const warning of target.config.warnings) process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${warning}\n`)
  using stopping = stopOnSignal()
  // Loaded late: the clients of the servers are of no use to a wrong command line.
  const { replayInto, resumeReplay, dryRunReplay, verifyTables } = await import('./replay-actions.ts')
  const context = { target, isJson: options.json === true, showMax: options.show, signal: stopping.signal }
  if (request === undefined) return resumeReplay(context, resume!)
  if (request.mode === 'into') return replayInto(context, request)
  if (request.mode === 'dry-run') return dryRunReplay(context, request)
  return verifyTables(context, request)
}

async function list(options: TargetOptions & { json?: boolean }): Promise<void> {
  const { settings, pipeline } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  const { listReplays } = await import('../connect/replay.ts')
  await using database = openDatabase(settings)
  const records = await listReplays(database, pipeline.name)
  if (options.json === true) process.stdout.write(`${jsonText(records.map(recordJson))}\n`)
  else
    process.stdout.write(records.length === 0 ? `pipeline ${pipeline.name} has no replays\n` : printable(records.map(recordText).join('')))
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number')
  return Number(text)
}

function factor(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0
  if (value <= 0) throw new InvalidArgumentError('expected a number above 0, such as 2 or 0.5')
  return value
}
