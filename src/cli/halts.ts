import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import { dropHalts, readHalts } from '../ledger/halts.ts'
import type { FoundHalt } from '../ledger/halts.ts'
import { openTarget, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

interface ListOptions extends TargetOptions {
  readonly json?: boolean
}

interface ClearOptions extends TargetOptions {
  readonly partition: string
  readonly acceptLoss?: boolean
}

const listExamples = `
Examples:
  forebay halts list
  forebay halts list -c config/forebay.yaml --json

A partition is halted, over the lives of all nodes, when the log lost events that were processed: it ends below the floor, or a leader was
elected uncleanly. It stays so also when the log grows again. Two commands decide:
  forebay reset --partition 2 --to 1200 --allow-duplicates    makes again what the log holds from there on
  forebay halts clear --partition 2 --accept-loss             goes on behind the floor`
const clearExamples = `
Examples:
  forebay halts clear --partition 2 --accept-loss

What the log now holds at or below the floor is never processed then. Right where the log was restored as it was; else use
forebay reset, which goes back to where the log was cut off. Nodes may run: they go on within seconds.`

/** Adds `forebay halts`. */
export function addHalts(program: Command): void {
  const halts = program.command('halts').description('partitions that stand still until an operator decides')
  withTarget(halts.command('list'))
    .description('show them, and what was found')
    .option('--json', 'print JSON')
    .addHelpText('after', listExamples)
    .action(list)
  withTarget(halts.command('clear'))
    .description('let a partition go on behind its floor')
    .requiredOption('--partition <number>', 'which')
    .option('--accept-loss', 'give up what the log now holds at or below the floor')
    .addHelpText('after', clearExamples)
    .action(clear)
}

async function list(options: ListOptions): Promise<void> {
  const { settings, pipeline } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  const halts = await database.use('reading the halts', (client) => readHalts(client, pipeline.name))
  process.stdout.write(options.json === true ? `${jsonText(halts.map(jsonOf))}\n` : printable(textOf(halts)))
}

async function clear({ partition, acceptLoss, ...options }: ClearOptions): Promise<void> {
  if (!/^\d{1,6}$/.test(partition)) throw new ForebayError('FB_USAGE', `--partition takes a whole number, not ${partition}`)
  if (acceptLoss !== true)
    throw new ForebayError(
      'FB_USAGE',
      `what the log now holds at or below the floor of partition ${partition} is given up; say --accept-loss`,
    )
  const { settings, pipeline } = await openTarget(options)
  const { openDatabase } = await import('../connect/servers.ts')
  await using database = openDatabase(settings)
  const dropped = await database.use('clearing a halt', (client) => dropHalts(client, pipeline.name, [Number(partition)]))
  if (dropped.length === 0) throw new ForebayError('FB_USAGE', `partition ${partition} is not halted; forebay halts list shows which are`)
  process.stdout.write(`partition ${partition} goes on behind its floor\n`)
}

function jsonOf({ partition, reason, floor, logEnd, foundAt }: FoundHalt) {
  return { partition, reason, floor: String(floor), logEnd: logEnd === null ? null : String(logEnd), foundAt: foundAt.toISOString() }
}

function textOf(halts: readonly FoundHalt[]): string {
  if (halts.length === 0) return 'no partition is halted\n'
  return halts
    .map(
      ({ partition, reason, floor, logEnd, foundAt }) =>
        `${reason}\n  found ${foundAt.toISOString()}, floor ${floor}${logEnd === null ? '' : `, the log ended at ${logEnd}`}\n` +
        `  forebay reset --partition ${partition} --to OFFSET, or forebay halts clear --partition ${partition} --accept-loss\n`,
    )
    .join('')
}
