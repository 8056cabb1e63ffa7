/** `.forebay/run.json`: what a test or an operator needs to find the running servers. */
import { randomUUID } from 'node:crypto'
import { renameSync, rmSync, writeFileSync } from 'node:fs'

export interface RunFile {
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
