/**
 * What all live tests share: the jars of Kafka and Hazelcast, a build of the sources as they are now, which commands and nodes in
 * processes of their own run (`test/support/built.ts`), a temporary folder, and one PostgreSQL server, which is named in
 * FOREBAY_TEST_POSTGRES_URL.
 *
 * Servers are detached and outlive whoever started them. All that the tests start therefore has the folder of this run as TMPDIR in its
 * environment, which servers inherit too, and what still runs with it at the end is killed: after the teardown, after a set-up that failed, and at an interrupt, which
 * leaves time for no teardown. Marks are found on Linux only; elsewhere an interrupt can leave servers of test files behind.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'
import { sharedPids } from '../support/shared-server.ts'
import { discardPostgres, type PostgresHandle, startPostgres } from '../../src/launch/postgres-server.ts'

const { buildIfStale } = (await import(new URL('../../src/launch/fresh-build.mjs', import.meta.url).href)) as FreshBuild
const setUpName = 'FOREBAY_TEST_RUN'
const say = (line: string) => void process.stderr.write(`live tests: ${line}\n`)

interface FreshBuild {
  buildIfStale(): Promise<void>
}

/** Gives the teardown. Throws FB_TOOL_MISSING without Java 17 or Maven, FB_SERVER_START when a server cannot be had. */
export default async function setUp(): Promise<() => Promise<void>> {
  // Of several projects of one run the first sets up for all.
  if (process.env[setUpName] !== undefined) return () => Promise.resolve()
  await provisionJars(serversFolder, say)
  await buildIfStale()
  const dir = mkdtempSync(join(tmpdir(), 'forebay-live-'))
  const postgresDir = join(dir, 'postgres')
  process.env[setUpName] = dir
  process.env['TMPDIR'] = dir
  let postgres: PostgresHandle | undefined
  const atExit = () => {
    for (const { pid } of marked(dir)) killQuietly(pid)
    postgres?.kill()
    discard(postgresDir, dir)
  }
  process.once('exit', atExit)
  // Vitest takes the first signal only; a second, sent to the whole process group, would end it before its exit.
  const endNow = () => process.exit(130)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, endNow)
  postgres = await startPostgres({ dir: postgresDir, log: say })
  process.env['FOREBAY_TEST_POSTGRES_URL'] = postgres.url
  return async () => {
    await postgres.stop()
    process.off('exit', atExit)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, endNow)
    const shared = sharedPids(dir)
    for (const { pid, command } of marked(dir)) {
      if (killQuietly(pid) && !shared.includes(pid)) say(`killed a process that a test left behind: ${pid} ${command.slice(0, 200)}`)
    }
    discard(postgresDir, dir)
  }
}

/** The processes whose environment has the folder, save this one and the workers of vitest, which end with it. */
function marked(dir: string): { pid: number; command: string }[] {
  if (process.platform !== 'linux') return []
  const found: { pid: number; command: string }[] = []
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    try {
      if (!readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0').includes(`TMPDIR=${dir}`)) continue
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ')
      if (!command.includes('vitest')) found.push({ pid: Number(entry), command })
    } catch {
      // It ended meanwhile, or belongs to someone else.
    }
  }
  return found
}

function killQuietly(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

/** The processes of a killed server write for another moment. */
function discard(postgresDir: string, dir: string): void {
  for (const deadlineMs = Date.now() + 5000; ;) {
    try {
      discardPostgres(postgresDir)
      rmSync(dir, { recursive: true, force: true })
      return
    } catch (error) {
      if (Date.now() > deadlineMs) return say(`${dir} could not be deleted: ${String(error)}`)
    }
  }
}
