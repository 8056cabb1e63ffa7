import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { ForebayError, sentenceOf } from '../errors.ts'
import { look } from '../inspect/gather-explain.ts'
import { gatherNodes } from '../inspect/gather-nodes.ts'
import { foundOf } from '../inspect/facts.ts'
import { segmentSecret } from '../inspect/grid-facts.ts'
import { readLedgerFacts } from '../inspect/ledger-facts.ts'
import { askPage } from '../inspect/node-client.ts'
import type { NodeReply } from '../inspect/node-client.ts'
import { askNodes } from '../inspect/node-facts.ts'
import { copyQueue, queueText } from '../inspect/queue-view.ts'
import type { QueueCopy } from '../inspect/queue-view.ts'
import { inspectTarget } from './inspect-target.ts'
import type { InspectTarget } from './inspect-target.ts'
import { withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface ShowOptions extends TargetOptions {
  readonly jobs: number
  readonly json?: boolean
}

interface QueueName {
  readonly partition: number
  readonly queue: number
}

const jobsMax = 1000
const answerMs = 10_000
const busyWaitMs = 300
const examples = `
Examples:
  forebay queues show 2/0                 queue 0 of partition 2, as status prints it
  forebay queues show trades/2/0 --jobs 20
  forebay queues show 2/0 -c config/forebay.yaml --json

The copy is consistent: every segment the queue held at one moment, by sequence number. Nothing is taken out and nobody waits.
Damage within the jobs of a segment shows only with --jobs: without it the headers are enough.`

/** Adds `forebay queues`. */
export function addQueues(program: Command): void {
  const queues = program.command('queues').description('look into the queues of the grid')
  withTarget(queues.command('show'))
    .description('show a copy of a queue: its segments with offsets, owner, bytes, age and jobs by task')
    .argument('<name>', 'partition/queue, or topic/partition/queue', nameOf)
    .option('--jobs <count>', 'print up to this many jobs as they will be written', countOf, 0)
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action(showQueue)
}

function nameOf(text: string): QueueName {
  const match = /^(?:[A-Za-z0-9._-]+\/)?(\d{1,6})\/(\d{1,3})$/.exec(text)
  if (match === null) throw new InvalidArgumentError('expected partition/queue as status prints it, such as 2/0')
  return { partition: Number(match[1]), queue: Number(match[2]) }
}

function countOf(text: string): number {
  if (!/^\d{1,4}$/.test(text) || Number(text) > jobsMax) throw new InvalidArgumentError(`expected a whole number from 0 to ${jobsMax}`)
  return Number(text)
}

async function showQueue(name: QueueName, { jobs, json, ...options }: ShowOptions): Promise<void> {
  await using target = await inspectTarget(options)
  const copy = target.ports.grid === null ? await askNode(target, name, jobs) : await copyFromGrid(target, name, jobs)
  process.stdout.write(json === true ? `${jsonText(copy)}\n` : queueText(copy))
}

async function copyFromGrid({ ports, of }: InspectTarget, { partition, queue }: QueueName, jobs: number): Promise<QueueCopy> {
  const ledger = foundOf(await look(() => readLedgerFacts(ports.database, of.pipeline.name)))
  const { scope } = await gatherNodes(ports.grid, of, ledger, await askNodes(of.urls, of.settings.node))
  if (scope === undefined)
    throw new ForebayError(
      'FB_DATABASE_UNREACHABLE',
      'neither the database nor a node tells the epoch, so the names of the queues are unknown',
    )
  const { queues } = ledger?.epoch?.fingerprint ?? of.fingerprint
  const partitions = ledger?.partitions.size ?? Infinity
  if (queue >= queues || partition >= partitions)
    throw new ForebayError(
      'FB_USAGE',
      `there is no queue ${partition}/${queue}: ${partitions} partitions have ${queues} queues each, counted from 0`,
    )
  const grid = await ports.grid!
  return copyQueue(grid, { partition, queue }, { scope, secret: segmentSecret(of.settings, scope), jobsMax: jobs, nowMs: Date.now() })
}

/** The grid inside a node can only be read by the node. */
async function askNode({ of }: InspectTarget, { partition, queue }: QueueName, jobs: number): Promise<QueueCopy> {
  const [url] = of.urls
  if (url === undefined) throw new ForebayError('FB_USAGE', 'the grid is inside the node, and its port is left to chance (node.port 0)')
  let answer: NodeReply
  try {
    const signal = AbortSignal.timeout(answerMs)
    const ask = () => askPage(new URL(`/queues/${partition}/${queue}?jobs=${jobs}`, url), of.settings.node, answerMs)
    answer = await ask()
    // It makes a copy for somebody else.
    while (answer.statusCode === 503) {
      await sleep(busyWaitMs, undefined, { signal })
      answer = await ask()
    }
  } catch (error) {
    throw new ForebayError('FB_NODE_UNREACHABLE', `the node at ${url} does not answer (${sentenceOf(error)}); its grid is inside it`, {
      cause: error,
    })
  }
  if (answer.statusCode === 200) return answer.body as QueueCopy
  const { message = `it answered ${answer.statusCode}` } = (answer.body ?? {}) as { message?: string }
  throw new ForebayError(answer.statusCode === 404 ? 'FB_USAGE' : 'FB_NODE_UNREACHABLE', message)
}
