/**
 * A folder with one pid file a process, `<name>.json`: what the launcher and its watchdog know about the processes of a run.
 * The files are those of `grid/pid-file.ts`; nodes and members may add theirs.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive, type PidFile, readPidFile, removePidFile, startTimeOf, writePidFile } from '../grid/pid-file.ts'

const extension = '.json'

/** Writes the pid file of a living process into `folder` (made when missing); undefined when the process is gone already. */
export function recordProcess(folder: string, process: Omit<PidFile, 'startTime'>): PidFile | undefined {
  const startTime = startTimeOf(process.pid)
  if (startTime === undefined) return undefined
  const entry: PidFile = { ...process, startTime }
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writePidFile(pathOf(folder, process.name), entry)
  return entry
}

export function recordedProcess(folder: string, name: string): PidFile | undefined {
  return readPidFile(pathOf(folder, name))
}

/** Forgets the process `name`; with `pid`, only while the file still names that process. */
export function forgetProcess(folder: string, name: string, pid?: number): void {
  if (pid === undefined || recordedProcess(folder, name)?.pid === pid) removePidFile(pathOf(folder, name))
}

/** Every recorded process, dead ones included, by name; empty when there is no such folder. */
export function recordedProcesses(folder: string): PidFile[] {
  let files: string[]
  try {
    files = readdirSync(folder)
  } catch {
    return []
  }
  return files
    .filter((file) => file.endsWith(extension))
    .toSorted()
    .flatMap((file) => readPidFile(join(folder, file)) ?? [])
}

/** Whether the recorded process still runs. */
export function isRunning(entry: PidFile): boolean {
  return isAlive(entry.pid, entry.startTime)
}

/** Sends `signal` to the recorded process if it is still that process; tells whether it was sent. */
export function signalProcess(entry: PidFile, signal: NodeJS.Signals): boolean {
  if (!isRunning(entry)) return false
  try {
    return process.kill(entry.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

function pathOf(folder: string, name: string): string {
  return join(folder, `${name}${extension}`)
}
