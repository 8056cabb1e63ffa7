/**
 * Whom a PostgreSQL server runs as, and where its files can be.
 *
 * PostgreSQL refuses to run as root. Started by root it runs as another account of the system, which must be able to reach
 * data and binaries: below a folder that only root may enter (a home, a fresh temporary folder) they are placed elsewhere,
 * and it is said where.
 */
import { randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ForebayError } from '../errors.ts'
import { strangerReason } from '../grid/own-folder.ts'
import { startTimeOf } from '../grid/pid-file.ts'
import { copyBinaries, type PostgresBinaries } from './postgres-binaries.ts'
import { runProgram } from './run-program.ts'

/** Where and as whom to run the server; `uid` and `gid` are undefined for the present user. */
export interface PostgresPlace {
  /** Holds `bin`. */
  readonly binaries: string
  readonly data: string
  readonly uid?: number
  readonly gid?: number
}

const outsideParents = ['/var/lib/forebay', join(tmpdir(), 'forebay')]

/** Decides the place for the server whose state is kept in `dir`; the answer stays the same for one `dir`. */
export async function postgresPlace(dir: string, binaries: PostgresBinaries, log: (line: string) => void): Promise<PostgresPlace> {
  if (process.getuid?.() !== 0) return { binaries: binaries.folder, data: join(dir, 'data') }
  const account = await unprivilegedAccount(log)
  const { uid, gid } = account
  const reaches = async (path: string) =>
    (await runProgram('/bin/sh', ['-c', 'cd "$1"', 'sh', path], { uid, gid, cwd: '/' })).exitCode === 0
  const outside = outsideParents.find((parent) => makeFolder(parent))
  let home = dir
  if (existsSync(locationFile(dir)) || !(await reaches(dir))) {
    home = outsideHome(dir, outside ?? tmpdir())
    if (!(await reaches(home)))
      throw new ForebayError(
        'FB_SERVER_START',
        `PostgreSQL cannot run as root, and the account ${account.name} it would run as can enter neither ${dir} nor ${home}; start forebay as an ordinary user.`,
      )
    log(`PostgreSQL runs as ${account.name}, who may not enter ${dir}: its data is in ${home}`)
  }
  let binariesFolder = binaries.folder
  if (!(await reaches(join(binariesFolder, 'bin')))) {
    binariesFolder = copyBinaries(binaries, outside ?? tmpdir())
    log(`${account.name} may not enter ${binaries.folder}: PostgreSQL runs from a copy in ${binariesFolder}`)
  }
  return { binaries: binariesFolder, data: join(home, 'data'), uid, gid }
}

/** Deletes the state of a stopped server, wherever it is. */
export function discardPostgres(dir: string): void {
  const location = readLocation(dir)
  if (location !== undefined) rmSync(location, { recursive: true, force: true })
  rmSync(dir, { recursive: true, force: true })
}

/** The folder outside `dir` that holds its data; remembered in `dir`, so that moving or deleting `dir` does not confuse it with another. */
function outsideHome(dir: string, parent: string): string {
  const location = readLocation(dir)
  if (location !== undefined) return location
  removeOrphans(parent)
  const home = join(parent, `postgres-${randomUUID()}`)
  mkdirSync(home, { mode: 0o711 })
  writeFileSync(join(home, 'owner'), realpathSync(dir))
  writeFileSync(locationFile(dir), home)
  return home
}

/** Deletes data whose owner was deleted, so that `rm -r .forebay` or an ended temporary folder does not fill the disk. */
function removeOrphans(parent: string): void {
  for (const name of readdirSync(parent).filter((entry) => entry.startsWith('postgres-'))) {
    const home = join(parent, name)
    try {
      const isOwned = readLocation(readFileSync(join(home, 'owner'), 'utf8')) === home
      const postmasterPid = join(home, 'data', 'postmaster.pid')
      const isLive = existsSync(postmasterPid) && startTimeOf(Number.parseInt(readFileSync(postmasterPid, 'utf8'), 10)) !== undefined
      if (!isOwned && !isLive && strangerReason(home) === undefined) rmSync(home, { recursive: true, force: true })
    } catch {
      // Another process is just making or removing it.
    }
  }
}

function locationFile(dir: string): string {
  return join(dir, 'location')
}

function readLocation(dir: string): string | undefined {
  return existsSync(locationFile(dir)) ? readFileSync(locationFile(dir), 'utf8').trim() : undefined
}

function makeFolder(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 })
    // Before the mode is set: another's folder in a shared place (/tmp) may be anything.
    if (strangerReason(path, true) !== undefined) return false
    chmodSync(path, 0o755)
    return true
  } catch {
    return false
  }
}

async function unprivilegedAccount(log: (line: string) => void): Promise<{ name: string; uid: number; gid: number }> {
  for (const name of ['postgres', 'nobody', 'forebay']) {
    const account = await accountOf(name)
    if (account !== undefined) return account
  }
  log('PostgreSQL cannot run as root and this system has neither an account postgres nor nobody: adding the system account forebay')
  const result = await runProgram('useradd', ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', 'forebay']).catch(
    (error: Error) => ({ exitCode: null, output: error.message }),
  )
  const added = await accountOf('forebay')
  if (added === undefined)
    throw new ForebayError(
      'FB_SERVER_START',
      `PostgreSQL cannot run as root and no account could be added for it (${result.output.trim()}); start forebay as an ordinary user.`,
    )
  return added
}

async function accountOf(name: string): Promise<{ name: string; uid: number; gid: number } | undefined> {
  const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => runProgram('id', [flag, name])))
  if (uid?.exitCode !== 0 || gid?.exitCode !== 0) return undefined
  const account = { name, uid: Number(uid.output), gid: Number(gid.output) }
  return Number.isInteger(account.uid) && account.uid > 0 && Number.isInteger(account.gid) ? account : undefined
}
