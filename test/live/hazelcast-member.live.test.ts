import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { must } from '../../src/assert.ts'
import type { HazelcastMemberOptions } from '../../src/grid/hazelcast-member.ts'
import { isAlive, readPidFile, writePidFile } from '../../src/grid/pid-file.ts'
import { freePort } from '../../src/launch/free-port.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { packageRoot, serversFolder } from '../../src/launch/package-root.ts'
import { eventually, leaveMember, superviseMember } from '../support/grid-cluster.ts'
import { createItemTables, itemsPipeline, postgresFeed, startNode } from '../support/live-node.ts'
import { createTestDatabase } from '../support/postgres-database.ts'

let dir: string
let jars: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'forebay member '))
  jars = (await provisionJars(serversFolder)).hazelcast
}, 300_000)
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function optionsOf(name: string, more: Partial<HazelcastMemberOptions> = {}): Promise<HazelcastMemberOptions> {
  const address = `127.0.0.1:${await freePort()}`
  const files = {
    configFile: join(packageRoot, 'config', 'hazelcast.yaml'),
    pidFile: join(dir, `${name}.json`),
    logFile: join(dir, `${name}.log`),
  }
  return { name, clusterName: name, address, members: [address], capacity: 20, backups: 1, memberHeapMb: 128, jars, ...files, ...more }
}

async function healthOf({ address }: HazelcastMemberOptions): Promise<boolean> {
  return fetch(`http://${address}/hazelcast/health`, { signal: AbortSignal.timeout(1000) }).then(
    (response) => response.ok,
    () => false,
  )
}

describe('a supervised Hazelcast member', () => {
  it('is up when ready, named in its pid file, and gone after a stop', async () => {
    const options = await optionsOf('plain')
    const running = superviseMember(options)
    await running.isUp
    expect(running.member.state).toBe('running')
    expect(await healthOf(options)).toBe(true)
    const { startTime, ...file } = must(readPidFile(options.pidFile), 'the pid file')
    expect(file).toEqual({ role: 'member', name: 'plain', pid: running.member.pid, address: options.address })
    await running.stop()
    expect(isAlive(file.pid, startTime)).toBe(false)
    expect(existsSync(options.pidFile)).toBe(false)
    expect(running.member.state).toBe('stopped')
  }, 60_000)

  it('is started again when it dies', async () => {
    const running = superviseMember(await optionsOf('killed'))
    await running.isUp
    const before = must(running.member.pid, 'a pid')
    process.kill(before, 'SIGKILL')
    await eventually('another process runs', () => running.member.state === 'running' && running.member.pid !== before)
    expect(running.member.starts).toBe(2)
    await running.stop()
  }, 60_000)

  it('is killed and started again when it hangs', async () => {
    const running = superviseMember(await optionsOf('hung', { silentMs: 3000 }))
    await running.isUp
    const before = must(running.member.pid, 'a pid')
    const { startTime } = must(readPidFile(running.options.pidFile), 'the pid file')
    process.kill(before, 'SIGSTOP')
    await eventually('another process runs', () => running.member.state === 'running' && running.member.pid !== before)
    expect(isAlive(before, startTime)).toBe(false)
    await running.stop()
  }, 60_000)

  it('is adopted by a supervisor that comes later, and not started twice', async () => {
    const options = await optionsOf('adopted')
    await leaveMember(options)
    const left = must(readPidFile(options.pidFile), 'the pid file')
    expect(isAlive(left.pid, left.startTime)).toBe(true)
    const running = superviseMember(options)
    await running.isUp
    expect([running.member.pid, running.member.starts]).toEqual([left.pid, 0])
    process.kill(left.pid, 'SIGKILL')
    await eventually('the adopted member is replaced', () => running.member.state === 'running' && running.member.pid !== left.pid)
    await running.stop()
  }, 60_000)

  it('leaves a process alone that only happens to have the pid of its file', async () => {
    const options = await optionsOf('reused')
    const stranger = spawn('sleep', ['60'], { stdio: 'ignore' })
    writePidFile(options.pidFile, {
      role: 'member',
      name: 'reused',
      pid: must(stranger.pid, 'a pid'),
      startTime: 'another time',
      address: options.address,
    })
    const running = superviseMember(options)
    await running.isUp
    expect(running.member.starts).toBe(1)
    await running.stop()
    expect(stranger.exitCode).toBeNull()
    stranger.kill('SIGKILL')
  }, 60_000)

  it('says with the end of its log why it does not come up', async () => {
    const options = await optionsOf('taken')
    const blocker = createServer().listen(Number(options.address.split(':')[1]), '127.0.0.1')
    await once(blocker, 'listening')
    const running = superviseMember(options)
    await expect(running.isUp).rejects.toMatchObject({ code: 'FB_SERVER_START', message: expect.stringContaining(options.logFile) })
    await running.stop().catch(() => undefined)
    blocker.close()
  }, 60_000)

  it('goes with a start that is refused, when that start began it, and stays for the next when it was adopted', async () => {
    const database = await createTestDatabase()
    const topic = 'member_refused'
    await using _feed = await postgresFeed(database.url, topic)
    const { name, clusterName, address, members, configFile } = await optionsOf('refused')
    const own = { name, address, dir, jars, configFile }
    const grid = {
      mode: 'embedded',
      clusterName,
      members,
      capacity: 40,
      memberHeapMb: 128,
      segmentBytesMax: 98_304,
      queues: 1,
      member: own,
    } as const
    const pidFile = join(dir, 'pids', `${name}.json`)
    const start = () => startNode(itemsPipeline({ topic }), { url: database.url, grid })
    // Its tables are not there.
    await expect(start()).rejects.toMatchObject({ code: 'FB_CATALOGUE' })
    expect(await healthOf({ address } as HazelcastMemberOptions)).toBe(false)
    expect([
      existsSync(pidFile),
      existsSync(join(dir, 'pids', `${name}.watchdog.json`)),
      existsSync(join(dir, 'pids', `${name}.owner`)),
    ]).toEqual([false, false, false])
    await leaveMember({ ...(await optionsOf('refused')), address, members, capacity: 40, pidFile })
    await expect(start()).rejects.toMatchObject({ code: 'FB_CATALOGUE' })
    expect(await healthOf({ address } as HazelcastMemberOptions)).toBe(true)
    const watchdog = must(readPidFile(join(dir, 'pids', `${name}.watchdog.json`)), 'its watchdog')
    expect(isAlive(watchdog.pid, watchdog.startTime)).toBe(true)
    // A node that runs and stops takes it along, and its watchdog.
    await createItemTables(database.url)
    await using node = await start()
    await node.stop()
    expect(await healthOf({ address } as HazelcastMemberOptions)).toBe(false)
    await eventually('no watchdog is left', () => !isAlive(watchdog.pid, watchdog.startTime))
    await database.drop()
  }, 120_000)

  it('says that Java is missing', async () => {
    const running = superviseMember(await optionsOf('no-java', { java: join(dir, 'no-such-java') }))
    await expect(running.isUp).rejects.toMatchObject({ code: 'FB_TOOL_MISSING' })
  })
})
