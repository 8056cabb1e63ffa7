/**
 * Pid files: how a restarted process finds the servers its predecessor left running.
 *
 * A pid alone proves nothing, since pids are used again. A process is the same one only if its start time is the same too.
 * A stopped process (SIGSTOP) is alive; one that ended and was not yet reaped is not.
 */
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

export interface PidFile {
  /** What kind of server it is, such as `member`. */
  readonly role: string
  readonly name: string
  readonly pid: number
  /** As `startTimeOf` gives it; compared for equality only. */
  readonly startTime: string
  /** Where the server listens, as `host:port`. */
  readonly address: string
}

/** Writes `content` in one step, readable by its owner only: a reader sees the old file or the new one, never a part. */
export function writePidFile(path: string, content: PidFile): void {
  const draft = `${path}.${randomUUID()}.tmp`
  try {
    writeFileSync(draft, `${JSON.stringify(content)}\n`, { mode: 0o600, flag: 'wx' })
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { force: true })
    throw error
  }
}

/** What the file says, or undefined when it is missing or not a pid file. */
export function readPidFile(path: string): PidFile | undefined {
  try {
    const { role, name, pid, startTime, address } = JSON.parse(readFileSync(path, 'utf8')) as Partial<PidFile>
    const isWhole = [role, name, startTime, address].every((value) => typeof value === 'string') && Number.isSafeInteger(pid) && pid! > 0
    return isWhole ? { role: role!, name: name!, pid: pid!, startTime: startTime!, address: address! } : undefined
  } catch {
    return undefined
  }
}

/** Removes the file if there is one. */
export function removePidFile(path: string): void {
  rmSync(path, { force: true })
}

/** When process `pid` started, in a form that no other process with this pid has; undefined when there is no such process. */
export function startTimeOf(pid: number): string | undefined {
  return process.platform === 'linux' ? startTimeFromProc(pid) : startTimeFromPs(pid)
}

/** Whether `pid` is still the process that started at `startTime`. */
export function isAlive(pid: number, startTime: string): boolean {
  return startTimeOf(pid) === startTime
}

function startTimeFromProc(pid: number): string | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The second field is the command in brackets and may hold blanks and brackets itself: count from its end.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTicks] = [fields[0], fields[19]]
  if (state === undefined || startTicks === undefined || 'ZXx'.includes(state)) return undefined
  return `${bootId()}/${startTicks}`
}

function startTimeFromPs(pid: number): string | undefined {
  try {
    const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' }
    const line = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5000,
    }).trim()
    const [, state, startTime] = /^(\S+)\s+(.+)$/.exec(line) ?? []
    return state === undefined || state.startsWith('Z') ? undefined : startTime
  } catch {
    return undefined
  }
}

/** Start times of Linux count from the boot, so they need its name. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return 'boot'
  }
}
