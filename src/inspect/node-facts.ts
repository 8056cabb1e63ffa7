/** Asks nodes how they are, and tells those that are gone from those that keep silent. */
import { readFileSync } from 'node:fs'
import { askPage } from './node-client.ts'
import type { NodeKeys } from './node-client.ts'
import type { NodeStatus } from '../status/status.ts'

/** What one address answered. */
export interface NodeAnswer {
  readonly url: string
  readonly status: NodeStatus | null
  /** `locked`: it lives, and wants another token. */
  readonly silence: 'refused' | 'silent' | 'locked' | null
}

const answerMs = 2000

export function askNodes(urls: readonly string[], keys: NodeKeys, waitMs = answerMs): Promise<NodeAnswer[]> {
  return Promise.all([...new Set(urls)].map((url) => askNode(url, keys, waitMs)))
}

/** What a node of an earlier version does not tell. */
const untold = { troubles: [], stalls: [], deadLetters: [], misfits: [], converting: { share: 0, sliceP99Ms: null } }

async function askNode(url: string, keys: NodeKeys, waitMs: number): Promise<NodeAnswer> {
  try {
    const { statusCode, body } = await askPage(new URL('/status', url), keys, waitMs)
    if (statusCode === 401) return { url, status: null, silence: 'locked' }
    if (statusCode !== 200 || body === undefined) return { url, status: null, silence: 'silent' }
    return { url, status: { ...untold, ...(body as NodeStatus) }, silence: null }
  } catch (error) {
    return { url, status: null, silence: isTimeout(error) ? 'silent' : 'refused' }
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')
}

/** Whether process `pid` of this machine is stopped; null when that cannot be seen. */
export function isSuspended(pid: number): boolean | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
    return state === 'T' || state === 't'
  } catch {
    return null
  }
}

/** Whether `url` is of this machine, so that its process can be looked at. */
export function isLocal(url: string): boolean {
  const { hostname } = new URL(url)
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.')
}
