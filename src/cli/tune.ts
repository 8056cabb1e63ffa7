import type { TuneOptions } from './tune-result.ts'
import { type Command, InvalidArgumentError } from 'commander'
import { ForebayError } from '../errors.ts'
import { parseDuration } from '../text/units.ts'
import { stopOnSignal } from './operator.ts'
import { paint } from '../text/paint.ts'
import { openTarget, withTarget } from './target.ts'

const trialMsDefault = 60_000
const trialMsLeast = 2000
const examples = `
Examples:
  forebay tune                                       measure this deployment for about a minute and advise
  forebay tune --quick --svg tune.svg                the same in a quarter of the time, with its charts as a picture
  forebay tune --validate --for 30s                  run what is advised for half a minute; predicted beside measured
  forebay tune -c config/forebay.yaml --write        and put it into the configuration; comments stay
  forebay tune --rate 20000 --json                   for a rate that is not there yet

Measured are this machine's timers, the grid, the database and the topic, as they are now: run it where the nodes run, at a usual hour. Jobs are
those of the newest events. It writes only to a schema forebay_tune_… and to rings of its own, and removes them at the end; the live
pipeline's tables, ledger and offsets are not touched, though its servers have the more to do meanwhile.

Exit codes: 0 advised; 64 nothing to measure by; 69 a server is away; 75 stopped; 78 wrong configuration, or no right to create a schema.`

/** Adds `forebay tune`. */
export function addTune(program: Command): void {
  withTarget(program.command('tune'))
    .description('measure grid, database and topic; advise cadences, batch limits and grid settings; predict latency and headroom')
    .option('--quick', 'measure for about 15 s instead of a minute')
    .option('--rate <events>', 'events a second to plan for (default: what the topic brings)', wholeNumber)
    .option('--validate', 'run a node with the advised settings on scratch tables, and compare')
    .option('--for <duration>', 'how long to run it, such as 30s', duration, trialMsDefault)
    .option('--write', 'put the advice into the configuration file')
    .option('--routing', 'with --write: queue count and segment size too, which then need forebay routing apply')
    .option('--svg <file>', 'write the charts as SVG')
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action(tune)
}

async function tune(options: TuneOptions): Promise<void> {
  if (options.routing === true && options.write !== true)
    throw new ForebayError('FB_USAGE', '--routing says what --write may change; give both')
  const target = await openTarget(options)
  for (const warning of target.config.warnings) process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${warning}\n`)
  using stopping = stopOnSignal()
  // Loaded late: the clients of the servers are of no use to a wrong command line.
  const { runTune } = await import('./tune-actions.ts')
  await runTune(target, options, stopping.signal)
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('expected a whole number above 0')
  return Number(text)
}

function duration(text: string): number {
  const parsed = parseDuration(text)
  if ('problem' in parsed) throw new InvalidArgumentError(parsed.problem)
  if (parsed.value < trialMsLeast || parsed.value > 3_600_000) throw new InvalidArgumentError('expected 2s to 1h')
  return parsed.value
}
