import { type Command, InvalidArgumentError } from 'commander'
import { ForebayError } from '../errors.ts'
import { explain } from '../inspect/explain.ts'
import type { Explanation } from '../inspect/explanation.ts'
import { explanationText } from '../inspect/explanation-text.ts'
import { gatherExplain } from '../inspect/gather-explain.ts'
import { inspectTarget } from './inspect-target.ts'
import { paint } from '../text/paint.ts'
import { withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface ExplainOptions extends TargetOptions {
  readonly key?: string
  readonly json?: boolean
}

interface Place {
  readonly topic: string
  readonly partition: number | null
  readonly offset: bigint | null
}

const examples = `
Examples:
  forebay explain trades/2                 what holds the floor of partition 2
  forebay explain trades/2@4711            why offset 4711 of it is not committed
  forebay explain trades/2 --key SPY       the first event of a key that is not committed
  forebay explain                          every partition that is behind
  forebay explain trades/2@4711 -c config/forebay.yaml --json

It asks the database, the event log, the grid and every node, changes nothing, and names what did not answer.
The exit code is 0 when an answer was found, whatever it is.`

/** Adds `forebay explain`. */
export function addExplain(program: Command): void {
  withTarget(program.command('explain'))
    .description('tell why an offset is not committed: the culprit, what happens next, and what to do')
    .argument('[place]', 'topic/partition, or topic/partition@offset; default: every partition', placeOf)
    .option('--key <key>', 'the first event of this key that is not committed')
    .option('--json', 'print JSON: one object a partition')
    .addHelpText('after', examples)
    .action(showExplanations)
}

function placeOf(text: string): Place {
  const match = /^([A-Za-z0-9._-]+)(?:\/(\d{1,6})(?:@(\d{1,19}))?)?$/.exec(text)
  if (match === null) throw new InvalidArgumentError('expected topic/partition or topic/partition@offset, such as trades/2@4711')
  const [, topic, partition, offset] = match
  return {
    topic: topic!,
    partition: partition === undefined ? null : Number(partition),
    offset: offset === undefined ? null : BigInt(offset),
  }
}

async function showExplanations(place: Place | undefined, options: ExplainOptions): Promise<void> {
  await using target = await inspectTarget(options)
  const { topic } = target.of.pipeline.source
  if (place !== undefined && place.topic !== topic)
    throw new ForebayError('FB_USAGE', `pipeline ${target.of.pipeline.name} reads topic ${topic}, not ${place.topic}`)
  const key = options.key ?? null
  const one = place?.partition ?? undefined
  const explanations: Explanation[] = []
  for (const partition of one === undefined ? await target.partitions() : [one])
    explanations.push(explain(await gatherExplain(target.ports, target.of, { partition, offset: place?.offset ?? null, key })))
  const shown = one === undefined ? worthShowing(explanations) : explanations
  if (options.json === true) process.stdout.write(`${jsonText(shown)}\n`)
  else process.stdout.write(shown.map((one) => explanationText(one, (colour, text) => paint(process.stdout, colour, text))).join('\n'))
}

/** Without a place: what is behind; of partitions that are all well, one. */
function worthShowing(explanations: readonly Explanation[]): readonly Explanation[] {
  const behind = explanations.filter(({ isCommitted }) => !isCommitted)
  return behind.length > 0 ? behind : explanations.slice(0, 1)
}
