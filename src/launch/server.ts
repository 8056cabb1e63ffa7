/**
 * Starts one server process of this machine and watches it.
 *
 * The server is detached: a Ctrl-C for the launcher's process group does not reach it, so that it outlives the nodes that
 * drain into it; its output goes to a file, so that it survives its launcher without a broken pipe. It is up once `isReady`
 * says so; a server that ends before, or is not up in time, is an FB_SERVER_START with the end of its log.
 * Its pid file (when a folder is given) lets the watchdog end it after the death of the launcher.
 */
import { spawn } from 'node:child_process'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { ForebayError } from '../errors.ts'
import type { PidFile } from '../grid/pid-file.ts'
import { serverEnvironment } from '../grid/server-environment.ts'
import { forgetProcess, recordProcess } from './pid-folder.ts'

export interface ServerExit {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

/** A running server. */
export interface ServerHandle {
  readonly name: string
  readonly role: string
  /** The server itself, never a wrapper. */
  readonly pid: number
  /** `host:port`. */
  readonly address: string
  /** Settles once the process is gone, whoever ended it; never rejects. */
  readonly exited: Promise<ServerExit>
  /** Asks the server to end and waits; a server that does not in time is killed. Safe to call twice. */
  stop(): Promise<void>
  /** Sends a signal (default SIGKILL); tells whether the process was still there. */
  kill(signal?: NodeJS.Signals): boolean
}

export interface ServerOptions {
  readonly name: string
  readonly role: string
  readonly address: string
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  /** The whole of it. Default: that of servers, with nothing of the owner's own. */
  readonly env?: NodeJS.ProcessEnv
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  /** Appended to. */
  readonly logFile: string
  /** Where its pid file goes; none is written without it. */
  readonly pids?: string | undefined
  /** Asked again and again until true; may throw while the server is not up. */
  readonly isReady: () => Promise<boolean>
  readonly readyMs: number
  readonly stopSignal: NodeJS.Signals
  readonly stopMs: number
}

/** Starts the server and waits until it is ready. Throws FB_SERVER_START. */
export async function startServer(options: ServerOptions): Promise<ServerHandle> {
  const logFrom = sizeOf(options.logFile)
  const handle = await spawnServer(options)
  let exit: ServerExit | undefined
  void handle.exited.then((how) => (exit = how))
  const deadline = Date.now() + options.readyMs
  while (Date.now() < deadline) {
    if (exit !== undefined) throw startFailure(options, `ended (${describeExit(exit)})`, logFrom)
    if (await options.isReady().catch(() => false)) {
      if (exit === undefined) return handle
      continue
    }
    await sleep(50)
  }
  handle.kill()
  await handle.exited
  throw startFailure(options, `was not ready within ${options.readyMs / 1000} s`, logFrom)
}

/** `exit code 1`, or `signal SIGKILL`. */
export function describeExit({ exitCode, signal }: ServerExit): string {
  return signal === null ? `exit code ${exitCode}` : `signal ${signal}`
}

async function spawnServer(options: ServerOptions): Promise<ServerHandle> {
  const { name, role, address, command, args, cwd, env = serverEnvironment(), uid, gid, pids } = options
  const log = openSync(options.logFile, 'a', 0o600)
  const identity = { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) }
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', log, log], ...identity })
  closeSync(log)
  const exited = new Promise<ServerExit>((resolve) => child.once('exit', (exitCode, signal) => resolve({ exitCode, signal })))
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause) =>
      reject(new ForebayError('FB_SERVER_START', `${name} could not be started: ${command}: ${cause.message}.`, { cause })),
    )
  })
  const pid = child.pid!
  if (pids !== undefined) {
    recordProcess(pids, { role, name, pid, address } satisfies Omit<PidFile, 'startTime'>)
    void exited.then(() => forgetProcess(pids, name, pid))
  }
  const stop = async () => {
    child.kill(options.stopSignal)
    // A stopped process (SIGSTOP) would not see the signal before it goes on.
    child.kill('SIGCONT')
    const timer = setTimeout(() => child.kill('SIGKILL'), options.stopMs)
    await exited
    clearTimeout(timer)
  }
  let stopping: Promise<void> | undefined
  return { name, role, pid, address, exited, stop: () => (stopping ??= stop()), kill: (signal = 'SIGKILL') => child.kill(signal) }
}

function startFailure({ name, logFile }: ServerOptions, what: string, logFrom: number): ForebayError {
  return new ForebayError('FB_SERVER_START', `${name} ${what}; the end of its log ${logFile}:\n${logTail(logFile, logFrom)}`)
}

/** The end of what was written to the log since it had `from` bytes. */
export function logTail(logFile: string, from = 0, bytesMax = 3000): string {
  let log: number
  try {
    log = openSync(logFile, 'r')
  } catch {
    return '(no log)'
  }
  try {
    const size = fstatSync(log).size
    const start = Math.max(from, size - bytesMax)
    const tail = Buffer.alloc(Math.max(0, size - start))
    readSync(log, tail, 0, tail.length, start)
    return tail.toString().trim() || '(empty)'
  } finally {
    closeSync(log)
  }
}

function sizeOf(file: string): number {
  try {
    const log = openSync(file, 'r')
    const { size } = fstatSync(log)
    closeSync(log)
    return size
  } catch {
    return 0
  }
}
