import { spawn } from 'node:child_process'
import { serverEnvironment } from '../grid/server-environment.ts'
import { nodeArguments } from '../grid/node-command.ts'
import { isRunning, recordedProcesses } from './pid-folder.ts'

export interface Watchdog {
  readonly pid: number | undefined
  /** For the clean end of its launcher: a watchdog that has nothing left to end is gone afterwards, any other stays. */
  end(): Promise<void>
}

/** Starts the watchdog of this launcher, which outlives it; it ends by itself when there is nothing left to watch. */
export function startWatchdog(lockFolder: string, pidFolder: string): Watchdog {
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=32', ...nodeArguments('./watchdog', import.meta.url), lockFolder, pidFolder],
    {
      env: serverEnvironment(),
      detached: true,
      stdio: 'ignore',
      cwd: '/',
    },
  )
  child.on('error', () => undefined)
  child.unref()
  const end = async () => {
    if (child.pid === undefined || child.exitCode !== null || recordedProcesses(pidFolder).some(isRunning)) return
    // It hears no gentler signal: none from a terminal may end it.
    child.ref()
    const gone = new Promise((resolve) => child.once('exit', resolve))
    if (child.kill('SIGKILL')) await gone
  }
  return { pid: child.pid, end }
}
