import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import { clusterText } from '../inspect/cluster-text.ts'
import { clusterView } from '../inspect/cluster-view.ts'
import type { ClusterView } from '../inspect/cluster-view.ts'
import { gatherCluster } from '../inspect/gather-cluster.ts'
import { askNodes } from '../inspect/node-facts.ts'
import { loadConfig } from '../config/config.ts'
import { secretEnv } from '../config/config-secrets.ts'
import { settingsOf } from '../config/settings-of.ts'
import { renderStatusText } from '../status/status.ts'
import { inspectTarget } from './inspect-target.ts'
import { paint } from '../text/paint.ts'
import { withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'

interface StatusOptions extends TargetOptions {
  readonly url?: readonly string[]
  readonly watch?: boolean
  readonly json?: boolean
}

const watchMs = 1000
const clearScreen = '\u001b[H\u001b[2J'
const examples = `
Examples:
  forebay status                                  the cluster of npm start or npm run cluster in this folder
  forebay status --watch                          the same, drawn again every second until Ctrl-C
  forebay status -c config/forebay.yaml --json    the cluster of a configuration
  forebay status --url http://127.0.0.1:8080      what one node says of itself, nothing else asked

The exit code is 69 when a server or a node does not answer; what the others say is printed all the same.`

/** Adds `forebay status`. */
export function addStatus(program: Command): void {
  withTarget(program.command('status'))
    .description('show nodes, partitions, queues and tasks of the cluster, and what is not well')
    .option('--url <url...>', 'ask only these nodes')
    .option('--watch', 'draw again every second')
    .option('--json', 'print JSON; with --watch one line a second; with --url a list of what the nodes say')
    .addHelpText('after', examples)
    .action(showStatus)
}

async function showStatus(options: StatusOptions): Promise<void> {
  if (options.url !== undefined) return showNodes(options.url, options)
  await using target = await inspectTarget(options)
  const draw = async () => clusterView(await gatherCluster(target.ports, target.of))
  if (options.watch === true) return watch(draw, options)
  const view = await draw()
  process.stdout.write(options.json === true ? `${jsonText(view)}\n` : textOf(view))
  const silent = view.nodes.flatMap(({ node, url, state }) =>
    state === 'gone' || state === 'silent' || state === 'suspended' ? [`no status from ${url ?? node} (${state})`] : [],
  )
  if (silent.length > 0) throw new ForebayError('FB_NODE_UNREACHABLE', silent.join('\n'))
  if (view.epoch === null || view.partitions.some(({ floor, endOffset }) => floor === null || endOffset === null))
    throw new ForebayError('FB_DATABASE_UNREACHABLE', view.troubles[0] ?? `pipeline ${view.pipeline} has no ledger yet`)
}

async function watch(draw: () => Promise<ClusterView>, { json }: StatusOptions): Promise<void> {
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    while (!stop.signal.aborted) {
      const view = await draw()
      const start = process.stdout.isTTY ? clearScreen : ''
      process.stdout.write(json === true ? `${jsonText(view, 0)}\n` : `${start}${textOf(view)}\n`)
      await sleep(watchMs, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

function textOf(view: ClusterView): string {
  return clusterText(view, (colour, text) => paint(process.stdout, colour, text))
}

async function showNodes(urls: readonly string[], { json, config }: StatusOptions): Promise<void> {
  const keys = config === undefined ? { token: process.env[secretEnv.nodeToken] } : settingsOf(loadConfig(config)).node
  const answers = await askNodes(urls, keys, 5000)
  const statuses = answers.flatMap(({ status }) => status ?? [])
  process.stdout.write(json === true ? `${jsonText(statuses)}\n` : statuses.map(renderStatusText).join('\n'))
  const failures = answers.flatMap(({ url, status, silence }) => {
    if (status !== null) return []
    if (silence === 'locked')
      return [`no status from ${url}: it wants its token; name its configuration with -c, or give ${secretEnv.nodeToken}`]
    return [`no status from ${url}: ${silence === 'refused' ? 'nothing listens there' : 'it does not answer'}; is the node running?`]
  })
  if (failures.length > 0) throw new ForebayError('FB_NODE_UNREACHABLE', failures.join('\n'))
}
