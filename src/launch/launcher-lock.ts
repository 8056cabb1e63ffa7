/** One launcher at a time for a state folder: its pid file, made by whoever comes first. */
import { randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { must } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import { readPidFile, startTimeOf, writePidFile } from '../grid/pid-file.ts'
import { forgetProcess, isRunning } from './pid-folder.ts'

export const launcherName = 'launcher'

/** Makes this process the launcher of `folder`. Throws FB_USAGE while another one runs there. Call the result to let go. */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `${launcherName}.json`)
  const draft = join(folder, `.${launcherName}-${randomUUID()}`)
  writePidFile(draft, {
    role: 'launcher',
    name: launcherName,
    pid: process.pid,
    startTime: must(startTimeOf(process.pid), 'the start time of this process'),
    address: '',
  })
  try {
    for (let tries = 1; ; tries++) {
      try {
        linkSync(draft, path)
        return () => forgetProcess(folder, launcherName, process.pid)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
      const holder = readPidFile(path)
      if (holder !== undefined && isRunning(holder)) {
        throw new ForebayError(
          'FB_USAGE',
          `Another forebay (process ${holder.pid}) already runs in ${folder}; stop it first, or start this one in another folder.`,
        )
      }
      if (tries > 3) throw new ForebayError('FB_INTERNAL', `${path} cannot be taken over.`)
      setAside(path, draft)
    }
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Moves a dead launcher's file away; of two that try, one finds it gone. */
function setAside(path: string, draft: string): void {
  try {
    renameSync(path, `${draft}.old`)
    rmSync(`${draft}.old`, { force: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
