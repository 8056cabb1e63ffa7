/** Whose a file or a folder is: what another user could have put there decides nothing here. */
import { lstatSync, statSync, type Stats } from 'node:fs'
import { ForebayError } from '../errors.ts'

const othersMayWrite = 0o022

/** Why `path` is not to be trusted; undefined when it is this user's alone to write, or is not there. */
export function strangerReason(path: string, mayOthersWrite = false): string | undefined {
  const uid = process.getuid?.()
  if (uid === undefined) return undefined
  let link: Stats
  let target: Stats
  try {
    link = lstatSync(path)
    target = statSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? undefined : `cannot be looked at (${code})`
  }
  const other = [link, target].find((stats) => stats.uid !== uid)
  if (other !== undefined) return `belongs to another user (${other.uid}; this is ${uid})`
  return !mayOthersWrite && (target.mode & othersMayWrite) !== 0 ? 'can be written by others' : undefined
}

/** Throws FB_USAGE when `path` is there and not this user's. */
export function refuseStranger(path: string, advice: string, mayOthersWrite = false): void {
  const reason = strangerReason(path, mayOthersWrite)
  if (reason !== undefined) throw new ForebayError('FB_USAGE', `${path} ${reason}: ${advice}`)
}
