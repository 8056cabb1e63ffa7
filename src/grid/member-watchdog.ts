/**
 * Ends a member whose node is gone for good: a process of its own, `node member-watchdog.js PID_FILE OWNER_FILE OWN_FILE`.
 *
 * A node that was killed leaves its member, so that the one that comes back adopts it with its data. When none has come for `goneMs`
 * the member is asked to end, and killed when it does not. A suspended node is not gone. The watchdog ends with the member, or once
 * OWN_FILE names a later one: every node that takes a member brings its own.
 */
import { realpathSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isAlive, readPidFile, removePidFile, type PidFile } from './pid-file.ts'

export interface MemberFiles {
  /** Of the member. */
  readonly pidFile: string
  /** Of the node that has it. */
  readonly ownerFile: string
  /** Of the watchdog itself. */
  readonly ownFile: string
}

interface Patience {
  /** How long the node must have been gone. Default 30,000. */
  readonly goneMs?: number
  /** How long the member may take to end. Default 30,000. */
  readonly endMs?: number
  readonly lookMs?: number
}

/** Resolves once there is nothing left to watch. */
export async function watchMember(files: MemberFiles, { goneMs = 30_000, endMs = 30_000, lookMs = 1000 }: Patience = {}): Promise<void> {
  let goneSince: number | undefined
  for (;;) {
    await sleep(lookMs)
    const successor = readPidFile(files.ownFile)
    if (successor !== undefined && successor.pid !== process.pid) return
    const [owner, member] = [readPidFile(files.ownerFile), readPidFile(files.pidFile)]
    if (owner !== undefined && lives(owner)) goneSince = undefined
    else if (member === undefined || !lives(member)) break
    else goneSince ??= performance.now()
    if (goneSince === undefined || member === undefined || performance.now() - goneSince < goneMs) continue
    await end(member, endMs)
    removePidFile(files.pidFile)
    break
  }
  removePidFile(files.ownFile)
}

const lives = ({ pid, startTime }: PidFile) => isAlive(pid, startTime)

async function end(member: PidFile, endMs: number): Promise<void> {
  const send = (signal: NodeJS.Signals) => {
    if (lives(member)) process.kill(member.pid, signal)
  }
  send('SIGTERM')
  // A suspended process would not see it.
  send('SIGCONT')
  const deadline = performance.now() + endMs
  while (lives(member)) {
    if (performance.now() > deadline) send('SIGKILL')
    await sleep(50)
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url))) {
  const [pidFile, ownerFile, ownFile] = process.argv.slice(2)
  if (pidFile === undefined || ownerFile === undefined || ownFile === undefined)
    throw new Error('usage: member-watchdog PID_FILE OWNER_FILE OWN_FILE')
  await watchMember({ pidFile, ownerFile, ownFile })
}
