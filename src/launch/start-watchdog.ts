import { spawn } from 'node:child_process'
import { nodeArguments } from './node-command.ts'

/** Starts the watchdog of this launcher, which outlives it; it ends by itself when there is nothing left to watch. */
export function startWatchdog(lockFolder: string, pidFolder: string): number | undefined {
  const child = spawn(process.execPath, ['--max-old-space-size=32', ...nodeArguments('./watchdog'), lockFolder, pidFolder], {
    detached: true,
    stdio: 'ignore',
    cwd: '/',
  })
  child.on('error', () => undefined)
  child.unref()
  return child.pid
}
