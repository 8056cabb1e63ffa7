import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { must } from '../../src/assert.ts'
import { HazelcastJobGrid } from '../../src/grid/hazelcast-job-grid.ts'
import type { RingEntries } from '../../src/grid/job-grid.ts'
import { freePort } from '../../src/launch/free-port.ts'
import { describeJobGrid } from '../ports/job-grid.contract.ts'
import { eventually, startGridCluster } from '../support/grid-cluster.ts'
import type { GridCluster } from '../support/grid-cluster.ts'

describeJobGrid('Hazelcast', async () => {
  const cluster = await startGridCluster(1)
  const [grid, other] = await Promise.all([cluster.connect(), cluster.connect()])
  const stop = async () => {
    await Promise.all([grid, other].map((one) => one[Symbol.asyncDispose]()))
    await cluster.stop()
  }
  return { grid, other, capacity: 20, stop }
})

const freshRing = () => `forebay.live.${randomUUID()}`
const kill = (pid: number | undefined, signal: NodeJS.Signals) => process.kill(must(pid, 'the pid of a member'), signal)
const unreachable = { code: 'FB_GRID_UNREACHABLE' }

describe('the Hazelcast grid under faults', () => {
  let cluster: GridCluster
  let grid: HazelcastJobGrid
  beforeAll(async () => {
    cluster = await startGridCluster(2, { silentMs: 60_000 })
    grid = await cluster.connect(2000)
  }, 300_000)
  afterAll(async () => {
    await grid?.[Symbol.asyncDispose]()
    await cluster?.stop()
  }, 60_000)

  const appendUntilDone = async (ring: string, text: string) => {
    await eventually(`${text} is appended`, () =>
      grid.append(ring, Buffer.from(text)).then(
        () => true,
        () => false,
      ),
    )
  }
  /** Parts of a grid may still move from member to member after what the test before did to it. */
  const calm = async () => {
    for (let ring = 0; ring < 24; ring++) await appendUntilDone(freshRing(), 'calm')
  }
  const readUntilFound = async (ring: string, from: bigint) => {
    const deadlineMs = performance.now() + 30_000
    for (;;) {
      const found = await grid.read(ring, from, { countMax: 10, waitMs: 200 }).catch(() => undefined)
      if (found && found.entries.length > 0) return found
      if (performance.now() > deadlineMs) throw new Error(`nothing came from ${from} of ${ring}`)
    }
  }

  it('does not miss the first entry of a ring that was created anew behind the reader', async () => {
    const ring = freshRing()
    expect(await grid.read(ring, 500n, { countMax: 10, waitMs: 50 })).toEqual({ entries: [], nextSequence: 500n })
    await grid.append(ring, Buffer.from('first'))
    const found = await grid.read(ring, 500n, { countMax: 10, waitMs: 5000 })
    expect([found.entries.map(String), found.nextSequence]).toEqual([['first'], 1n])
  })

  it('keeps everything acknowledged when one of two members is killed, and tells of the disturbance', async () => {
    let disturbances = 0
    const unsubscribe = grid.onDisturbance(() => disturbances++)
    const rings = Array.from({ length: 12 }, freshRing)
    for (const ring of rings) await grid.append(ring, Buffer.from(ring))
    const waiting = rings.map((ring) => grid.read(ring, 1n, { countMax: 10, waitMs: 50 }))
    await Promise.all(waiting)
    const { member } = must(cluster.members[0], 'a member')
    const before = member.pid
    kill(before, 'SIGKILL')
    for (const ring of rings) {
      await appendUntilDone(ring, `${ring} again`)
      expect((await readUntilFound(ring, 0n)).entries.map(String).slice(0, 2)).toEqual([ring, `${ring} again`])
    }
    expect(disturbances).toBeGreaterThan(0)
    unsubscribe()
    await eventually('the member is started again', () => member.state === 'running' && member.pid !== before)
    await eventually('the cluster is safe again', async () => {
      const health = await fetch(`http://${cluster.addresses[0]}/hazelcast/health`).then(
        (response) => response.json() as Promise<{ clusterSize: number; clusterSafe: boolean }>,
        () => undefined,
      )
      return health?.clusterSize === 2 && health.clusterSafe
    })
  }, 90_000)

  it('answers in time while a member is suspended, and goes on afterwards', async () => {
    await calm()
    const rings = Array.from({ length: 12 }, freshRing)
    for (const ring of rings) await appendUntilDone(ring, 'a')
    const { pid } = must(cluster.members[0], 'a member').member
    kill(pid, 'SIGSTOP')
    try {
      const startedMs = performance.now()
      const calls = rings.flatMap((ring) => [
        grid.append(ring, Buffer.from('b')),
        grid.read(ring, 1n, { countMax: 1, waitMs: 100 }),
        grid.tail(ring),
      ])
      const outcomes = await Promise.allSettled(calls)
      expect(performance.now() - startedMs).toBeLessThan(8000)
      const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
      expect(failures.length).toBeGreaterThan(0)
      for (const failure of failures) expect(failure).toMatchObject(unreachable)
    } finally {
      kill(pid, 'SIGCONT')
    }
    for (const ring of rings) await appendUntilDone(ring, 'c')
  }, 90_000)

  it('fails fast while the whole grid is gone, reconnects by itself and reads the rings made anew', async () => {
    await calm()
    const rings = Array.from({ length: 6 }, freshRing)
    for (const ring of rings) for (const text of ['a', 'b', 'c']) await grid.append(ring, Buffer.from(text))
    for (const ring of rings) await grid.read(ring, 3n, { countMax: 10, waitMs: 10 })
    const pids = cluster.members.map(({ member }) => member.pid)
    for (const pid of pids) kill(pid, 'SIGKILL')
    await expect(grid.append(must(rings[0], 'a ring'), Buffer.from('lost'))).rejects.toMatchObject(unreachable)
    await eventually('both members run again', () =>
      cluster.members.every(({ member }, n) => member.state === 'running' && member.pid !== pids[n]),
    )
    for (const ring of rings) {
      // As the owner of a partition does: it announces its tail again and again while nothing moves.
      let appended = 0
      let found: RingEntries | undefined
      await eventually('an entry of the new ring is read', async () => {
        await appendUntilDone(ring, `anew ${appended++}`)
        found = await grid.read(ring, 3n, { countMax: 10, waitMs: 50 }).catch(() => undefined)
        return found !== undefined && found.entries.length > 0
      })
      const { entries, nextSequence } = must(found, 'what was read')
      expect(String(entries.at(-1))).toMatch(/^anew/)
      expect(await grid.tail(ring)).toEqual({ sequence: nextSequence - 1n, entry: entries.at(-1) })
    }
  }, 120_000)
})

describe('connecting to Hazelcast', () => {
  it('says which cluster and addresses do not answer', async () => {
    const member = `127.0.0.1:${await freePort()}`
    const connecting = HazelcastJobGrid.connect({ clusterName: 'nobody', members: [member], connectTimeoutMs: 300 })
    await expect(connecting).rejects.toMatchObject({ ...unreachable, message: expect.stringContaining(member) })
  })
})

describe('the settings of the grid', () => {
  it.each([
    { capacity: 33, backups: 0, memberHeapMb: 128 },
    { capacity: 57, backups: 2, memberHeapMb: 160 },
  ])(
    'change the running member: %j',
    async (settings) => {
      const cluster = await startGridCluster(1, settings)
      const grid = await cluster.connect()
      try {
        expect(await grid.capacity('forebay.scope.p0.q0')).toBe(settings.capacity)
        const { member } = must(cluster.members[0], 'a member')
        const commandLine = execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(member.pid)], { encoding: 'utf8' })
        expect(commandLine).toContain(`-Xmx${settings.memberHeapMb}m`)
        expect(commandLine).toContain(`-Dforebay.backups=${settings.backups}`)
      } finally {
        await grid[Symbol.asyncDispose]()
        await cluster.stop()
      }
    },
    60_000,
  )

  it('without backups lose what a killed member held', async () => {
    const cluster = await startGridCluster(2, { backups: 0, silentMs: 60_000 })
    const grid = await cluster.connect(2000)
    try {
      const rings = Array.from({ length: 20 }, freshRing)
      for (const ring of rings) await grid.append(ring, Buffer.from(ring))
      kill(must(cluster.members[0], 'a member').member.pid, 'SIGKILL')
      let tails: (Buffer | undefined)[] = []
      await eventually('every ring answers again', async () => {
        const answers = await Promise.allSettled(rings.map((ring) => grid.tail(ring)))
        tails = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value.entry] : []))
        return tails.length === rings.length
      })
      expect(tails.filter((entry) => entry === undefined).length).toBeGreaterThan(0)
      expect(tails.filter((entry) => entry !== undefined).length).toBeGreaterThan(0)
    } finally {
      await grid[Symbol.asyncDispose]()
      await cluster.stop()
    }
  }, 90_000)
})
