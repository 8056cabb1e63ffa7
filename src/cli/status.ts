import type { Command } from 'commander'
import { ForebayError, sentenceOf } from '../errors.ts'
import { renderStatusText } from '../node/status.ts'
import type { NodeStatus } from '../node/status.ts'
import { nodeUrls, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'

interface StatusOptions extends TargetOptions {
  readonly url?: readonly string[]
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
  withTarget(program.command('status'))
    .description('ask running nodes how they are')
    .option('--url <url...>', 'addresses of nodes')
    .option('--json', 'print JSON, one object a node')
    .addHelpText('after', examples)
    .action(showStatus)
}

async function showStatus(options: StatusOptions): Promise<void> {
  const urls = options.url ?? nodeUrls(options)
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
