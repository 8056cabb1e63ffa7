import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { ForebayError, sentenceOf } from '../errors.ts'
import { loadConfig } from '../node/config.ts'
import { renderStatusText } from '../node/status.ts'
import type { NodeStatus } from '../node/status.ts'

interface StatusOptions {
  readonly url?: readonly string[]
  readonly config?: string
  readonly runFile: string
  readonly json?: boolean
}

const answerMs = 5000
const examples = `
Examples:
  forebay status                                  the nodes of npm start or npm run cluster in this folder
  forebay status --url http://127.0.0.1:8080      one node
  forebay status -c config/forebay.yaml --json    the node of a configuration

The exit code is 69 when a node does not answer.`

/** Adds `forebay status`. */
export function addStatus(program: Command): void {
  program
    .command('status')
    .description('ask running nodes how they are')
    .option('--url <url...>', 'addresses of nodes')
    .option('-c, --config <file>', 'ask the node of this configuration')
    .option('--run-file <file>', 'ask the nodes of a launched run', '.forebay/run.json')
    .option('--json', 'print JSON, one object a node')
    .addHelpText('after', examples)
    .action(showStatus)
}

async function showStatus(options: StatusOptions): Promise<void> {
  const urls = options.url ?? (options.config === undefined ? urlsOfRun(options.runFile) : [urlOfConfig(options.config)])
  const answers = await Promise.allSettled(urls.map(ask))
  const statuses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  process.stdout.write(options.json === true ? `${JSON.stringify(statuses, null, 2)}\n` : statuses.map(renderStatusText).join('\n'))
  const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [sentenceOf(answer.reason)] : []))
  if (failures.length > 0) throw new ForebayError('FB_NODE_UNREACHABLE', failures.join('\n'))
}

async function ask(url: string): Promise<NodeStatus> {
  try {
    const response = await fetch(new URL('/status', url), { signal: AbortSignal.timeout(answerMs) })
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    return (await response.json()) as NodeStatus
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    throw new ForebayError('FB_NODE_UNREACHABLE', `no status from ${url}: ${sentenceOf(cause)}; is the node running?`, { cause: error })
  }
}

function urlsOfRun(file: string): readonly string[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ForebayError(
      'FB_USAGE',
      `${file} cannot be read, so nothing seems to run in this folder; name a node with --url or a configuration with -c`,
      { cause: error },
    )
  }
  try {
    const { http } = JSON.parse(text) as { http?: unknown }
    if (Array.isArray(http) && http.every((url): url is string => typeof url === 'string' && URL.canParse(url))) return http
  } catch {
    // Falls through: what is no JSON has no list of nodes either.
  }
  throw new ForebayError('FB_USAGE', `${file} does not name nodes as forebay writes it; name a node with --url`)
}

function urlOfConfig(file: string): string {
  const { host, port } = loadConfig(file).values.node
  if (port === 0) throw new ForebayError('FB_USAGE', `${file} leaves the port to chance (node.port 0); name the node with --url`)
  const isEverywhere = host === '0.0.0.0' || host === '::'
  const name = isEverywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
