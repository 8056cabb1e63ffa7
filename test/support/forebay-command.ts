/** Runs `forebay` as a user would, in a process of its own, on a pipeline of small items. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EventSettings } from '../../src/config/settings.ts'
import { builtCommand } from './built.ts'
import { eventBytesMax } from './live-node.ts'

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCommand {
  readonly child: ChildProcess
  readonly ended: Promise<CommandResult>
}

export interface CommandFolder extends Disposable {
  start(...args: string[]): RunningCommand
  run(...args: string[]): Promise<CommandResult>
  /** Runs with --json and parses standard output; the exit code must be `code`. */
  json<T>(code: number, ...args: string[]): Promise<T>
}

/** `choice` is the code of the argument of `itemsPipeline`, such as `{ topic: 'x' }`. */
export function commandFolder(choice: object, { url, events }: { url: string; events?: EventSettings }): CommandFolder {
  const dir = mkdtempSync(join(tmpdir(), 'forebay-command-'))
  const support = join(import.meta.dirname, 'items.mjs')
  writeFileSync(
    join(dir, 'pipeline.mjs'),
    `import { itemsPipeline } from ${JSON.stringify(support)}\nexport default itemsPipeline(${JSON.stringify(choice)})\n`,
  )
  const size = `${eventBytesMax}B`
  const log =
    events?.kind === 'kafka' ? { kind: 'kafka', brokers: events.brokers, eventBytesMax: size } : { kind: 'postgres', eventBytesMax: size }
  writeFileSync(join(dir, 'forebay.yaml'), JSON.stringify({ pipeline: './pipeline.mjs', events: log }))
  const start = (...args: string[]): RunningCommand => {
    const env = { ...process.env, FOREBAY_DATABASE_URL: url }
    const child = spawn(process.execPath, [builtCommand, ...args, '-c', 'forebay.yaml'], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    })
    let stdout = ''
    let stderr = ''
    child.stdout!.on('data', (part: Buffer) => (stdout += part.toString()))
    child.stderr!.on('data', (part: Buffer) => (stderr += part.toString()))
    const ended = new Promise<CommandResult>((done) => child.once('close', (code) => done({ code, stdout, stderr })))
    return { child, ended }
  }
  const run = (...args: string[]) => start(...args).ended
  return {
    start,
    run,
    json: async <T>(code: number, ...args: string[]) => {
      const result = await run(...args, '--json')
      if (result.code !== code)
        throw new Error(`forebay ${args.join(' ')} ended with ${result.code}, not ${code}:\n${result.stderr}\n${result.stdout}`)
      return JSON.parse(result.stdout) as T
    },
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}
