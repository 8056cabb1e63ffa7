/** Hazelcast members on loopback, supervised the way a node does it. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HazelcastJobGrid } from '../../src/grid/hazelcast-job-grid.ts'
import { HazelcastMember } from '../../src/grid/hazelcast-member.ts'
import type { HazelcastMemberOptions } from '../../src/grid/hazelcast-member.ts'
import { freePort } from '../../src/launch/free-port.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { packageRoot, serversFolder } from '../../src/launch/package-root.ts'
import type { Observer } from '../../src/observer.ts'
import { SystemClock } from '../../src/schedule/clock.ts'

export const silentObserver: Observer = { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined }

export interface RunningMember {
  readonly member: HazelcastMember
  readonly options: HazelcastMemberOptions
  /** Ends the supervision; the member is stopped gracefully. */
  stop(): Promise<void>
}

export interface GridCluster {
  readonly dir: string
  readonly clusterName: string
  readonly addresses: readonly string[]
  readonly members: readonly RunningMember[]
  connect(callTimeoutMs?: number): Promise<HazelcastJobGrid>
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
      configFile: join(packageRoot, 'config', 'hazelcast.yaml'),
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
