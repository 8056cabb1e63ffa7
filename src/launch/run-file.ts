/** `.forebay/run.json`: what a test or an operator needs to find the running servers. */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import * as z from 'zod'
import { ForebayError } from '../errors.ts'
import { refuseStranger } from '../grid/own-folder.ts'

export interface RunFile {
  /** Configuration file of each node, in the order of the nodes. */
  readonly config: readonly string[]
  /** With user and password. */
  readonly postgres: string
  /** One address a node, in the order of the nodes. */
  readonly http: readonly string[]
  /** Brokers; null when the event log is in Postgres. */
  readonly kafka: readonly string[] | null
  /** Members; null when the grid is in the process. */
  readonly hazelcast: readonly string[] | null
  readonly processes: readonly { readonly role: 'node' | 'member' | 'kafka' | 'postgres'; readonly name: string; readonly pid: number }[]
}

const runFileSchema = z.object({
  config: z.array(z.string()),
  postgres: z.string(),
  http: z.array(z.url()),
  kafka: z.array(z.string()).nullable(),
  hazelcast: z.array(z.string()).nullable(),
  processes: z.array(z.object({ role: z.enum(['node', 'member', 'kafka', 'postgres']), name: z.string(), pid: z.int() })),
})

/** What runs by `path`; undefined when there is no such file. Throws FB_USAGE when it is another user's, or not as forebay writes it. */
export function readRunFile(path: string): RunFile | undefined {
  refuseStranger(path, 'what it names would be run; name a configuration with -c')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new ForebayError('FB_USAGE', `${path} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error })
  }
  try {
    return runFileSchema.parse(JSON.parse(text))
  } catch (error) {
    throw new ForebayError('FB_USAGE', `${path} is not as forebay writes it; name a configuration with -c`, { cause: error })
  }
}

/** Writes the file in one step, for its owner's eyes only: a reader sees the old one or the new one. */
export function writeRunFile(path: string, content: RunFile): void {
  const draft = `${path}.${randomUUID()}`
  try {
    writeFileSync(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
    renameSync(draft, path)
  } finally {
    rmSync(draft, { force: true })
  }
}

export function removeRunFile(path: string): void {
  rmSync(path, { force: true })
}
