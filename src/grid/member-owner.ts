/** A node says that a member is its own, and has it watched: a member must not outlive all nodes that could adopt it. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { must } from '../assert.ts'
import { nodeArguments } from './node-command.ts'
import { removePidFile, startTimeOf, writePidFile } from './pid-file.ts'
import { serverEnvironment } from './server-environment.ts'

export interface OwnedMember {
  /** For the clean end of its node, after the member's: nothing is left to watch. */
  release(): void
}

/** `pidFile` is that of the member, `name` and `address` its own. The watchdog outlives this process. */
export function ownMember({ pidFile, name, address }: { pidFile: string; name: string; address: string }): OwnedMember {
  const base = pidFile.replace(/\.json$/, '')
  // Not `.json`: the node has a pid file of its own where somebody keeps them.
  const [ownerFile, ownFile] = [`${base}.owner`, `${base}.watchdog.json`]
  mkdirSync(dirname(pidFile), { recursive: true, mode: 0o700 })
  const startTime = must(startTimeOf(process.pid), 'the start time of this process')
  writePidFile(ownerFile, { role: 'node', name, pid: process.pid, startTime, address })
  const args = ['--max-old-space-size=32', ...nodeArguments('./member-watchdog', import.meta.url), pidFile, ownerFile, ownFile]
  const watchdog = spawn(process.execPath, args, { env: serverEnvironment(), detached: true, stdio: 'ignore', cwd: '/' })
  watchdog.on('error', () => undefined)
  watchdog.unref()
  const born = watchdog.pid === undefined ? undefined : startTimeOf(watchdog.pid)
  if (watchdog.pid !== undefined && born !== undefined)
    writePidFile(ownFile, { role: 'watchdog', name: `${name}.watchdog`, pid: watchdog.pid, startTime: born, address: '' })
  return {
    release: () => {
      watchdog.kill('SIGKILL')
      for (const file of [ownFile, ownerFile]) removePidFile(file)
    },
  }
}
