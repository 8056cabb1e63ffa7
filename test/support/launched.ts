/** Runs one of the two launch commands as a user would, in a folder of its own, and reads its run file. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { RunFile } from '../../src/launch/run-file.ts'

const bootstrap = resolve(import.meta.dirname, '../../src/launch/bootstrap.mjs')

export class Launched implements AsyncDisposable {
  readonly dir: string
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly exited: Promise<number | null>

  constructor(command: 'standalone' | 'cluster', args: readonly string[], dir = mkdtempSync(join(tmpdir(), 'forebay launched '))) {
    this.dir = dir
    this.child = spawn(process.execPath, [bootstrap, command, ...args], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    this.child.stdout!.on('data', (part: Buffer) => (this.stdout += part.toString()))
    this.child.stderr!.on('data', (part: Buffer) => (this.stderr = (this.stderr + part.toString()).slice(-200_000)))
    this.exited = new Promise((done) => this.child.once('exit', (code) => done(code)))
  }

  get runFile(): string {
    return join(this.dir, '.forebay', 'run.json')
  }

  get run(): RunFile {
    return JSON.parse(readFileSync(this.runFile, 'utf8')) as RunFile
  }

  /** Pids of a role now, by the run file. */
  pids(role: string): number[] {
    return this.run.processes.filter((process) => process.role === role).map(({ pid }) => pid)
  }

  async running(waitMs = 120_000): Promise<void> {
    const deadline = Date.now() + waitMs
    while (!existsSync(this.runFile)) {
      if (this.child.exitCode !== null) throw new Error(`the launcher ended with ${this.child.exitCode}:\n${this.stderr.slice(-4000)}`)
      if (Date.now() > deadline) throw new Error(`no run file after ${waitMs} ms:\n${this.stderr.slice(-4000)}`)
      await sleep(100)
    }
  }

  /** One row of the database, or undefined while it does not answer. */
  async query<T extends pg.QueryResultRow>(text: string): Promise<T | undefined> {
    const client = new pg.Client({ connectionString: this.run.postgres, connectionTimeoutMillis: 3000, query_timeout: 20_000 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return (await client.query<T>(text)).rows[0]
    } catch {
      return undefined
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  async rows(): Promise<number> {
    return Number((await this.query<{ n: string }>('select count(*) as n from trades'))?.n ?? -1)
  }

  async until(what: string, waitMs: number, isTrue: () => Promise<boolean> | boolean): Promise<void> {
    const deadline = Date.now() + waitMs
    while (!(await isTrue())) {
      if (Date.now() > deadline) throw new Error(`not within ${waitMs} ms: ${what}\n${this.stderr.slice(-4000)}`)
      if (this.child.exitCode !== null)
        throw new Error(`the launcher ended with ${this.child.exitCode} before: ${what}\n${this.stderr.slice(-4000)}`)
      await sleep(100)
    }
  }

  /** Ctrl-C, and the exit code. */
  async interrupt(): Promise<number | null> {
    if (this.child.exitCode === null) this.child.kill('SIGINT')
    return this.exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.interrupt()
    rmSync(this.dir, { recursive: true, force: true })
  }
}
