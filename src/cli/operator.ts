/** What commands that change a pipeline share: who asks, how to stop them, and what the nodes say. */
import { hostname, userInfo } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database/database.ts'
import { askPage } from '../inspect/node-client.ts'
import type { NodeKeys } from '../inspect/node-client.ts'
import type { NodeStatus } from '../status/status.ts'
import { freshNodes } from '../epochs/presence.ts'
import type { PresentNode } from '../epochs/presence.ts'

const answerMs = 2000
/** Longer than two nodes' beats are apart. */
const beatWaitMs = 2500

/** Who runs this command, for others to read. */
export function requester(): string {
  return `${userInfo().username}@${hostname()} (pid ${process.pid})`
}

/** Writes a sentence to stderr when it is another than before. */
export function tellOnce(): (sentence: string) => void {
  let before = ''
  return (sentence) => {
    if (sentence === before) return
    before = sentence
    process.stderr.write(`${sentence}\n`)
  }
}

/** What nodes say keeps them from being ready. */
export async function reasonsOf(nodes: readonly PresentNode[], keys: NodeKeys): Promise<string[]> {
  const answers = await Promise.all(
    nodes.map(async ({ node, http }) => ({ node, reasons: http === null ? [] : await reasonsAt(http, keys) })),
  )
  return answers.flatMap(({ node, reasons }) => reasons.map((reason) => `${node} says: ${reason}.`))
}

async function reasonsAt(url: string, keys: NodeKeys): Promise<readonly string[]> {
  try {
    const { statusCode, body } = await askPage(new URL('/status', url), keys, answerMs)
    return statusCode === 401 ? ['it wants another token'] : (body as Pick<NodeStatus, 'reasons'>).reasons
  } catch {
    return ['it does not answer']
  }
}

/** Aborts at the first SIGINT or SIGTERM, until disposed. */
export function stopOnSignal(): { readonly signal: AbortSignal } & Disposable {
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  return {
    signal: stop.signal,
    [Symbol.dispose]: () => {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    },
  }
}

/** The nodes of `pipeline` that tell of themselves while this looks on; one that was killed a moment ago is none. */
export async function livingNodes(database: Database, pipeline: string): Promise<readonly PresentNode[]> {
  const look = () => database.use('looking for nodes that run', (client) => freshNodes(client, pipeline))
  const before = await look()
  if (before.length === 0) return []
  await sleep(beatWaitMs)
  const beats = new Map(before.map(({ node, beatAt }) => [node, beatAt]))
  return (await look()).filter(({ node, beatAt }) => beats.get(node) !== beatAt)
}
