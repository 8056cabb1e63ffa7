/** Hazelcast members on loopback, supervised the way a node does it. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { must } from '../../src/assert.ts'
import { HazelcastJobGrid } from '../../src/grid/hazelcast-job-grid.ts'
import { HazelcastMember } from '../../src/grid/hazelcast-member.ts'
import type { HazelcastMemberOptions } from '../../src/grid/hazelcast-member.ts'
import { readPidFile } from '../../src/grid/pid-file.ts'
import { freePort } from '../../src/launch/free-port.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { packageRoot, serversFolder } from '../../src/launch/package-root.ts'
import type { Observer } from '../../src/observer.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import { sharedServer } from './shared-server.ts'

export const silentObserver: Observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }

const configFile = join(packageRoot, 'config', 'hazelcast.yaml')

export interface RunningMember {
  readonly member: HazelcastMember
  readonly options: HazelcastMemberOptions
  /** Ends the supervision; the member is stopped gracefully. */
  stop(): Promise<void>
}

export interface TestGrid {
  readonly clusterName: string
  readonly addresses: readonly string[]
  connect(callTimeoutMs?: number): Promise<HazelcastJobGrid>
}

export interface GridCluster extends TestGrid {
  readonly dir: string
  readonly members: readonly RunningMember[]
  stop(): Promise<void>
}

export type GridSettings = Partial<Pick<HazelcastMemberOptions, 'capacity' | 'backups' | 'memberHeapMb' | 'silentMs'>>

export async function startGridCluster(memberCount: number, settings: GridSettings = {}): Promise<GridCluster> {
  const { hazelcast: jars } = await provisionJars(serversFolder)
  const dir = mkdtempSync(join(tmpdir(), 'forebay grid '))
  const clusterName = `test-${randomUUID()}`
  const ports = await Promise.all(Array.from({ length: memberCount }, freePort))
  const addresses = ports.map((port) => `127.0.0.1:${port}`)
  const members = addresses.map((address, n) =>
    superviseMember({
      name: `member-${n + 1}`,
      clusterName,
      address,
      members: addresses,
      capacity: 20,
      backups: 1,
      memberHeapMb: 128,
      jars,
      configFile,
      pidFile: join(dir, `member-${n + 1}.json`),
      logFile: join(dir, `member-${n + 1}.log`),
      ...settings,
    }),
  )
  const stop = async () => {
    await Promise.all(members.map((running) => running.stop()))
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    await Promise.all(members.map((running) => running.isUp))
  } catch (error) {
    await stop().catch(() => undefined)
    throw error
  }
  const connect = (callTimeoutMs = 5000) => HazelcastJobGrid.connect({ clusterName, members: addresses, callTimeoutMs })
  return { dir, clusterName, addresses, members, connect, stop }
}

/** A grid of one member that test files share: it is not to be stopped, and scopes differ as databases do. */
export async function sharedGrid(): Promise<TestGrid> {
  const clusterName = 'test-shared'
  const { address } = await sharedServer('grid', async (dir) => {
    const own = `127.0.0.1:${await freePort()}`
    const files = { pidFile: join(dir, 'member.json'), logFile: join(dir, 'member.log') }
    const options = {
      ...files,
      configFile,
      name: 'shared',
      clusterName,
      address: own,
      members: [own],
      capacity: 144,
      backups: 0,
      memberHeapMb: 512,
    }
    return { address: own, pid: await leaveMember({ ...options, jars: (await provisionJars(serversFolder)).hazelcast }) }
  })
  const addresses = [address]
  return {
    clusterName,
    addresses,
    connect: (callTimeoutMs = 5000) => HazelcastJobGrid.connect({ clusterName, members: addresses, callTimeoutMs }),
  }
}

/** Starts a member whose supervisor is killed; gives its process id. */
export async function leaveMember(options: HazelcastMemberOptions): Promise<number> {
  const program = join(import.meta.dirname, 'supervise-member.ts')
  const child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(options)], {
    cwd: packageRoot,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  const { pid } = must(readPidFile(options.pidFile), 'the pid file of a member that is up')
  return pid
}

/** Starts (or adopts) a member and watches it until `stop`. */
export function superviseMember(options: HazelcastMemberOptions): RunningMember & { readonly isUp: Promise<void> } {
  const member = new HazelcastMember({ clock: new SystemClock(), observer: silentObserver }, options)
  const stopping = new AbortController()
  const done = member.run(stopping.signal)
  const isUp = Promise.race([member.ready(stopping.signal), done])
  isUp.catch(() => undefined)
  return { member, options, isUp, stop: () => (stopping.abort(), done) }
}

/** Waits until `isTrue`; fails after `timeMs`. */
export async function eventually(what: string, isTrue: () => boolean | Promise<boolean>, timeMs = 30_000): Promise<void> {
  const deadlineMs = performance.now() + timeMs
  while (!(await isTrue())) {
    if (performance.now() > deadlineMs) throw new Error(`after ${timeMs} ms still not: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
