import { spawn, type SpawnOptions } from 'node:child_process'
import { serverEnvironment } from '../grid/server-environment.ts'

/** How a program ended that ran to its end. */
export interface ProgramResult {
  readonly exitCode: number | null
  /** The last 64 KiB of standard output and standard error, as they came. */
  readonly output: string
}

const outputBytesMax = 64 * 1024

/** Runs a program to its end, by default in the environment of servers. Rejects when it cannot be started at all (`ENOENT`, `EACCES`). */
export function runProgram(
  command: string,
  args: readonly string[],
  options: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid' | 'signal'> = {},
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: serverEnvironment(), ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-outputBytesMax)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.once('error', reject)
    child.once('close', (exitCode) => resolve({ exitCode, output }))
  })
}
