/** The command `forebay` as a process of its own, which can be killed, on configurations of the pipeline of items. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { stringify } from 'yaml'
import type { NodeStatus } from '../../src/status/status.ts'
import { builtCommand } from './built.ts'
import { eventually } from './grid-cluster.ts'

const pipelines = {
  '1': resolve(import.meta.dirname, 'items-pipeline.mjs'),
  '2': resolve(import.meta.dirname, 'items-pipeline-2.mjs'),
}

export interface ConfigChoice {
  readonly url: string
  readonly grid: Readonly<Record<string, unknown>>
  /** Default: the log in the database. */
  readonly events?: Readonly<Record<string, unknown>>
  /** Besides name and port. */
  readonly node?: Readonly<Record<string, unknown>>
  readonly tasks?: Readonly<Record<string, unknown>>
  readonly tasksOnly?: readonly string[]
  /** Of the pipeline of items; default 1. */
  readonly version?: '1' | '2'
  /** Another pipeline's module. */
  readonly pipeline?: string
}

/** A folder with configurations, removed at the end. */
export class ConfigFolder {
  readonly dir = mkdtempSync(join(tmpdir(), 'forebay commands '))

  /** Writes a configuration and gives its path. */
  write(name: string, choice: ConfigChoice): string {
    const {
      url,
      grid,
      events = { kind: 'postgres' },
      node = {},
      tasks = {},
      tasksOnly,
      version = '1',
      pipeline = pipelines[version],
    } = choice
    const file = join(this.dir, `${name}.yaml`)
    writeFileSync(join(this.dir, 'url'), `${url}\n`, { mode: 0o600 })
    const values = {
      pipeline,
      ...(tasksOnly === undefined ? {} : { tasksOnly }),
      node: { name, port: 0, ...node },
      events: { ...events, eventBytesMax: '200000B' },
      database: { urlFile: 'url' },
      grid,
      tasks,
      log: { level: 'silent' },
    }
    writeFileSync(file, stringify(values))
    return file
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}

const runs = new Set<CommandRun>()

/** Ends whatever a failed test left running. */
export async function killCommands(): Promise<void> {
  await Promise.all([...runs].map((run) => run.kill()))
}

/** One run of the command. */
export class CommandRun {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly exited: Promise<number | null>

  constructor(words: readonly string[]) {
    this.child = spawn(process.execPath, [builtCommand, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout!.on('data', (part: Buffer) => (this.stdout += part.toString()))
    this.child.stderr!.on('data', (part: Buffer) => (this.stderr += part.toString()))
    this.exited = new Promise((done) => this.child.once('close', (code) => done(code)))
    runs.add(this)
    void this.exited.then(() => runs.delete(this))
  }

  /** Waits for `text` in what the command wrote; fails when it ends before. */
  async says(text: RegExp, timeMs = 30_000): Promise<void> {
    const isSaid = () => text.test(this.stdout + this.stderr)
    await eventually(`the command says ${text}`, () => isSaid() || this.child.exitCode !== null, timeMs)
    if (!isSaid()) throw new Error(`the command ended (${this.child.exitCode}) without ${text}:\n${this.stdout}${this.stderr}`)
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    this.child.kill(signal)
    return this.exited
  }
}

/** A node as a process; resolves once it serves, whether it runs or waits. */
export async function startNodeProcess(file: string): Promise<CommandRun & { status(): Promise<NodeStatus> }> {
  const run = new CommandRun(['start', '-c', file, '--json'])
  await run.says(/"http"/, 60_000)
  const { http } = JSON.parse(run.stdout.split('\n')[0]!) as { http: string }
  return Object.assign(run, { status: async () => (await (await fetch(`${http}/status`)).json()) as NodeStatus })
}
