/** What commands that change a pipeline share: who asks, how to stop them, and what the nodes say. */
import { hostname, userInfo } from 'node:os'
import type { NodeStatus } from '../node/status.ts'
import type { PresentNode } from '../offsets/presence.ts'

const answerMs = 2000

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
export async function reasonsOf(nodes: readonly PresentNode[]): Promise<string[]> {
  const answers = await Promise.all(nodes.map(async ({ node, http }) => ({ node, reasons: http === null ? [] : await reasonsAt(http) })))
  return answers.flatMap(({ node, reasons }) => reasons.map((reason) => `${node} says: ${reason}.`))
}

async function reasonsAt(url: string): Promise<readonly string[]> {
  try {
    const response = await fetch(new URL('/status', url), { signal: AbortSignal.timeout(answerMs) })
    return ((await response.json()) as Pick<NodeStatus, 'reasons'>).reasons
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
