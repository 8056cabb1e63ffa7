/** The command `forebay start` as a process of its own, with the event log in Postgres and the grid inside it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { builtCommand } from './built.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface StartCommandOptions {
  readonly url: string
  readonly drain?: string
  /** The lines below `grid:`; mode local without them. */
  readonly grid?: readonly string[]
}

export class StartCommand {
  readonly child: ChildProcess
  readonly exited: Promise<number | null>
  stderr = ''
  stdout = ''
  readonly #dir = mkdtempSync(join(tmpdir(), 'forebay start '))

  constructor({ url, drain = '30s', grid = ['mode: local', 'queues: 2'] }: StartCommandOptions) {
    const file = join(this.#dir, 'forebay.yaml')
    const module = join(root, 'examples/stock-ticks/pipeline.ts')
    const lines = [
      `pipeline: ${JSON.stringify(module)}`,
      'node:',
      '  port: 0',
      `  drain: ${drain}`,
      'events:',
      '  kind: postgres',
      'grid:',
      ...grid.map((line) => `  ${line}`),
    ]
    writeFileSync(file, `${lines.join('\n')}\n`)
    this.child = spawn(process.execPath, [builtCommand, 'start', '-c', file], {
      cwd: root,
      env: { ...process.env, FOREBAY_DATABASE_URL: url },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout!.on('data', (data: Buffer) => (this.stdout += data.toString()))
    this.child.stderr!.on('data', (data: Buffer) => (this.stderr += data.toString()))
    this.exited = new Promise((resolve) =>
      this.child.once('close', (code) => {
        rmSync(this.#dir, { recursive: true, force: true })
        resolve(code)
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.exited
  }
}
