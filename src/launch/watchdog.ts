/**
 * Ends the detached processes of a launcher that died: a process of its own, `node watchdog.js LOCK_FOLDER PID_FOLDER`.
 *
 * It looks once a second at the launcher's pid file. While that names a living process (this launcher or a later one that
 * took over) nothing happens; a launcher that ended cleanly has removed its file and its processes, and the watchdog ends.
 * When the launcher has been dead for `deadMs`, every process of the pid folder that is still the one its file names is
 * asked to end (PostgreSQL by its fast shutdown, nodes before their servers), and killed when it does not.
 */
import { realpathSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { PidFile } from '../grid/pid-file.ts'
import { launcherName } from './launcher-lock.ts'
import { forgetProcess, isRunning, recordedProcess, recordedProcesses, signalProcess } from './pid-folder.ts'

export interface WatchdogOptions {
  readonly lockFolder: string
  readonly pidFolder: string
  /** How long the launcher must have been dead. Default 10,000. */
  readonly deadMs?: number
  readonly lookMs?: number
}

/** Resolves once there is nothing left to watch. */
export async function watchLauncher({ lockFolder, pidFolder, deadMs = 10_000, lookMs = 1000 }: WatchdogOptions): Promise<void> {
  let deadSince: number | undefined
  for (;;) {
    // Listed before the launcher is looked at: what a new launcher starts after that look is not in the list.
    const processes = recordedProcesses(pidFolder).filter(isRunning)
    const launcher = recordedProcess(lockFolder, launcherName)
    if (launcher !== undefined && isRunning(launcher)) deadSince = undefined
    else if (processes.length === 0) return
    else deadSince ??= performance.now()
    if (deadSince !== undefined && performance.now() - deadSince >= deadMs) {
      await endProcesses(processes)
      return
    }
    await sleep(lookMs)
  }
}

const nodesEndMs = 8000
const serversEndMs = 15_000

/** Ends the processes: nodes first, so that they can still drain, then the servers. */
export async function endProcesses(processes: readonly PidFile[], pidFolder?: string): Promise<void> {
  const isNode = ({ role }: PidFile) => role === 'node'
  await endAll(processes.filter(isNode), nodesEndMs)
  await endAll(
    processes.filter((entry) => !isNode(entry)),
    serversEndMs,
  )
  if (pidFolder !== undefined) for (const { name, pid } of processes) forgetProcess(pidFolder, name, pid)
}

async function endAll(processes: readonly PidFile[], waitMs: number): Promise<void> {
  for (const entry of processes) {
    signalProcess(entry, entry.role === 'postgres' ? 'SIGINT' : 'SIGTERM')
    signalProcess(entry, 'SIGCONT')
  }
  const deadline = performance.now() + waitMs
  while (processes.some(isRunning) && performance.now() < deadline) await sleep(50)
  for (const entry of processes) signalProcess(entry, 'SIGKILL')
  while (processes.some(isRunning)) await sleep(20)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  // It belongs to no terminal: neither a Ctrl-C nor a closed window may end it before the servers.
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(signal, () => undefined)
  const [lockFolder, pidFolder] = process.argv.slice(2)
  if (lockFolder === undefined || pidFolder === undefined) throw new Error('usage: watchdog LOCK_FOLDER PID_FOLDER')
  await watchLauncher({ lockFolder, pidFolder })
}
