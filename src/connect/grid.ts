/** Starts the grid of a node, in whatever mode its settings say. */
import { join } from 'node:path'
import { ForebayError, sentenceOf } from '../errors.ts'
import { HazelcastJobGrid } from '../grid/hazelcast-job-grid.ts'
import { HazelcastMember } from '../grid/hazelcast-member.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { ownMember } from '../grid/member-owner.ts'
import { LocalJobGrid } from '../grid/local-job-grid.ts'
import type { Parts } from '../node/parts.ts'
import type { GridSettings } from '../config/settings.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'

/** So long a start waits for the first answer of the grid. */
const gridConnectMs = 8000

interface GridPorts {
  readonly clock: Clock
  readonly observer: Observer
}

/** Ends the member beside the node. */
export interface MemberEnd {
  /** For the clean end of the node. */
  readonly stopMember: () => Promise<void>
  /** For a start that is refused: a member that this node started goes with it; one that it adopted is left to the next, or to its watchdog. */
  readonly dropMember: () => Promise<void>
}

const nothing = () => Promise.resolve()

/**
 * The grid; in mode `embedded` with a supervised member beside the node. A member outlives a node that crashed, so that the next one adopts
 * it, but not for long: a watchdog ends it when none comes.
 */
export async function startGrid(settings: GridSettings, ports: GridPorts, parts: Parts): Promise<{ grid: JobGrid } & MemberEnd> {
  const { mode, clusterName, members, tls, capacity, backups, memberHeapMb, member: own } = settings
  if (mode === 'local') return { grid: parts.use(new LocalJobGrid({ capacity })), stopMember: nothing, dropMember: nothing }
  let [stopMember, dropMember] = [nothing, nothing]
  if (mode === 'embedded') {
    if (own === undefined)
      throw new ForebayError(
        'FB_CONFIG',
        'grid.mode is embedded, but grid.member does not say where the member lives; give grid.member.port and grid.member.dir',
      )
    const { name, address, dir, jars, configFile } = own
    const pidFile = join(dir, 'pids', `${name}.json`)
    const logFile = join(dir, `${name}.log`)
    const member = new HazelcastMember(ports, {
      name,
      clusterName,
      address,
      members,
      capacity,
      backups,
      memberHeapMb,
      jars,
      configFile,
      pidFile,
      logFile,
    })
    const stop = new AbortController()
    const owned = ownMember({ pidFile, name, address })
    const running = member.run(stop.signal)
    running.catch((error: unknown) => ports.observer.log('error', `the member ended: ${sentenceOf(error)}`))
    stopMember = async () => {
      stop.abort()
      try {
        await running
      } finally {
        owned.release()
      }
    }
    dropMember = async () => {
      if (member.starts > 0) await stopMember().catch(() => undefined)
    }
    await orDrop(Promise.race([member.ready(stop.signal), running]), dropMember)
  }
  const log = (level: 'debug' | 'warn' | 'error', message: string) =>
    ports.observer.log(level === 'error' ? 'warn' : 'debug', `hazelcast: ${message}`)
  const onForeign = (count: number) => ports.observer.count('foreign', count)
  const connecting = HazelcastJobGrid.connect({ clusterName, members, tls, connectTimeoutMs: gridConnectMs, log, onForeign })
  return { grid: parts.use(await orDrop(connecting, dropMember)), stopMember, dropMember }
}

async function orDrop<T>(doing: Promise<T>, drop: () => Promise<void>): Promise<T> {
  try {
    return await doing
  } catch (error) {
    await drop()
    throw error
  }
}
