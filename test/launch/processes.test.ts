import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { must } from '../../src/assert.ts'
import { ForebayError } from '../../src/errors.ts'
import { startTimeOf } from '../../src/grid/pid-file.ts'
import { freePort, isListening, keptPorts, withPorts } from '../../src/launch/free-port.ts'
import { newClusterId, replaceProperties } from '../../src/launch/kafka-server.ts'
import { launcherName, lockFolder } from '../../src/launch/launcher-lock.ts'
import { forgetProcess, isRunning, recordedProcess, recordedProcesses, recordProcess, signalProcess } from '../../src/launch/pid-folder.ts'
import { type RunFile, writeRunFile } from '../../src/launch/run-file.ts'
import { startServer, type ServerOptions } from '../../src/launch/server.ts'
import { SupervisedServer } from '../../src/launch/supervised-server.ts'
import { startWatchdog } from '../../src/launch/start-watchdog.ts'
import { watchLauncher } from '../../src/launch/watchdog.ts'

let dir: string
const children: ChildProcess[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'forebay launch '))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const entry of recordedProcesses(dir)) if (entry.pid !== process.pid) signalProcess(entry, 'SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

function sleeper(script = 'sleep 60'): number {
  const child = spawn('sh', ['-c', `${script} & wait`], { stdio: 'ignore' })
  children.push(child)
  return child.pid!
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    expect(Date.now()).toBeLessThan(deadline)
    await sleep(10)
  }
}

describe('a folder of pid files', () => {
  it('knows a process again by pid and start time, and takes no other for it', () => {
    const entry = recordProcess(dir, { role: 'kafka', name: 'kafka', pid: sleeper(), address: '127.0.0.1:1' })!
    expect(recordedProcesses(dir)).toEqual([entry])
    expect(isRunning(entry)).toBe(true)
    const other = { ...entry, startTime: `${entry.startTime}0` }
    expect(isRunning(other)).toBe(false)
    expect(signalProcess(other, 'SIGKILL')).toBe(false)
    expect(isRunning(entry)).toBe(true)
    forgetProcess(dir, 'kafka', entry.pid + 1)
    expect(recordedProcess(dir, 'kafka')).toEqual(entry)
    forgetProcess(dir, 'kafka', entry.pid)
    expect(recordedProcess(dir, 'kafka')).toBeUndefined()
  })

  it('records no process that is gone, and lists none of a missing folder', async () => {
    const child = spawn('true')
    await once(child, 'exit')
    expect(recordProcess(dir, { role: 'node', name: 'node-1', pid: child.pid!, address: '' })).toBeUndefined()
    expect(recordedProcesses(join(dir, 'nowhere'))).toEqual([])
  })
})

describe('the lock of a state folder', () => {
  it('lets one launcher in, and the next one after it', () => {
    const unlock = lockFolder(dir)
    expect(() => lockFolder(dir)).toThrow(/already runs/)
    unlock()
    lockFolder(dir)()
    expect(readdirSync(dir)).toEqual([])
  })

  it('is taken over from a launcher that died', () => {
    const pid = sleeper()
    const entry = recordProcess(dir, { role: 'launcher', name: launcherName, pid, address: '' })!
    expect(() => lockFolder(dir)).toThrow(expect.objectContaining({ code: 'FB_USAGE' }))
    writeFileSync(join(dir, `${launcherName}.json`), JSON.stringify({ ...entry, startTime: 'earlier' }))
    const unlock = lockFolder(dir)
    expect(recordedProcess(dir, launcherName)?.pid).toBe(process.pid)
    unlock()
  })
})

describe('the watchdog of a launcher that ends cleanly', () => {
  it('is gone at once when nothing is left, and stays while something is', async () => {
    const pids = join(dir, 'pids')
    recordProcess(dir, { role: 'launcher', name: launcherName, pid: process.pid, address: '' })
    const { pid, end } = startWatchdog(dir, pids)
    const startTime = must(startTimeOf(pid!), 'a watchdog that runs')
    const left = recordProcess(pids, { role: 'kafka', name: 'kafka', pid: sleeper(), address: '' })!
    await end()
    expect(isRunning({ ...left, pid: pid!, startTime })).toBe(true)
    signalProcess(left, 'SIGKILL')
    await until(() => !isRunning(left))
    await end()
    expect(isRunning({ ...left, pid: pid!, startTime })).toBe(false)
  })
})

describe('the watchdog', () => {
  const watch = () => watchLauncher({ lockFolder: dir, pidFolder: join(dir, 'pids'), deadMs: 300, lookMs: 50 })
  const record = (role: string, pid: number) => recordProcess(join(dir, 'pids'), { role, name: role, pid, address: '' })!

  it('ends what a dead launcher left, and nothing while the launcher lives', async () => {
    const launcher = recordProcess(dir, { role: 'launcher', name: launcherName, pid: sleeper(), address: '' })!
    const left = [record('kafka', sleeper()), record('node', sleeper())]
    const watching = watch()
    await sleep(700)
    expect(left.map(isRunning)).toEqual([true, true])
    process.kill(launcher.pid, 'SIGKILL')
    await watching
    expect(left.map(isRunning)).toEqual([false, false])
  })

  it('spares another process that got the pid of a server', async () => {
    const server = record('kafka', sleeper())
    // Start times count in hundredths of a second: processes of one such moment cannot be told apart.
    await sleep(50)
    const stranger = sleeper()
    writeFileSync(join(dir, 'pids', 'member.json'), JSON.stringify({ ...server, name: 'member', pid: stranger }))
    await watch()
    expect(isRunning(server)).toBe(false)
    expect(() => process.kill(stranger, 0)).not.toThrow()
  })

  it('goes on watching for a launcher that took over in time', async () => {
    const server = record('postgres', sleeper())
    const watching = watch()
    await sleep(100)
    const unlock = lockFolder(dir)
    await sleep(700)
    expect(isRunning(server)).toBe(true)
    process.kill(server.pid, 'SIGKILL')
    unlock()
    await watching
  })
})

describe('ports', () => {
  it('are free and stay the same as long as they are free', async () => {
    const file = join(dir, 'ports.json')
    const ports = await keptPorts(file, 3)
    expect(new Set(ports).size).toBe(3)
    expect(await keptPorts(file, 3)).toEqual(ports)
    const server = createServer().listen(ports[1], '127.0.0.1')
    await once(server, 'listening')
    expect(await isListening(ports[1]!)).toBe(true)
    const others = await keptPorts(file, 3)
    expect([others[0], others[2]]).toEqual([ports[0], ports[2]])
    expect(others[1]).not.toBe(ports[1])
    server.close()
  })

  it('are drawn again after a collision, but never a port that was asked for', async () => {
    const taken = () => new ForebayError('FB_SERVER_START', 'kafka ended: Address already in use')
    const tried: (readonly number[])[] = []
    const start = (ports: readonly number[]) => {
      tried.push(ports)
      return tried.length < 3 ? Promise.reject(taken()) : Promise.resolve('up')
    }
    const asked = await freePort()
    expect(await withPorts(join(dir, 'ports.json'), [asked, undefined], start)).toBe('up')
    expect(tried.map(([first]) => first)).toEqual([asked, asked, asked])
    expect(new Set(tried.map(([, second]) => second)).size).toBe(3)
    await expect(withPorts(join(dir, 'fixed.json'), [asked], () => Promise.reject(taken()))).rejects.toThrow(/already in use/)
    await expect(
      withPorts(join(dir, 'other.json'), [undefined], () => Promise.reject(new ForebayError('FB_SERVER_START', 'no disk'))),
    ).rejects.toThrow('no disk')
  })
})

describe('a server', () => {
  const options = (script: string): ServerOptions => ({
    name: 'thing',
    role: 'kafka',
    address: '127.0.0.1:1',
    command: process.execPath,
    args: ['-e', script],
    cwd: dir,
    logFile: join(dir, 'thing.log'),
    pids: join(dir, 'pids'),
    isReady: async () => readFileSync(join(dir, 'thing.log'), 'utf8').includes('up'),
    readyMs: 5000,
    stopSignal: 'SIGTERM',
    stopMs: 500,
  })

  it('is up once it says so, in a process group of its own, with a pid file until it ends', async () => {
    const server = await startServer(options(`console.log('up'); setInterval(() => {}, 1000)`))
    expect(recordedProcess(join(dir, 'pids'), 'thing')).toMatchObject({ pid: server.pid, role: 'kafka' })
    if (process.platform === 'linux') expect(readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(' ')[4]).toBe(String(server.pid))
    await server.stop()
    expect(await server.exited).toEqual({ exitCode: null, signal: 'SIGTERM' })
    expect(recordedProcess(join(dir, 'pids'), 'thing')).toBeUndefined()
  })

  it('is killed when it does not stop in time, even while suspended', async () => {
    const server = await startServer(options(`process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)`))
    server.kill('SIGSTOP')
    await server.stop()
    expect(await server.exited).toEqual({ exitCode: null, signal: 'SIGKILL' })
  })

  it('that ends or hangs instead of coming up is an error with the end of its log', async () => {
    await expect(startServer(options(`console.log('no disk'); process.exit(3)`))).rejects.toMatchObject({
      code: 'FB_SERVER_START',
      message: expect.stringMatching(/exit code 3[^]*no disk/),
    })
    const silent = startServer({ ...options(`console.log('hm'); setInterval(() => {}, 1000)`), readyMs: 3000 })
    await expect(silent).rejects.toThrow(/not ready within 3 s[^]*hm/)
    await expect(startServer({ ...options(''), command: 'no-such-program' })).rejects.toMatchObject({ code: 'FB_SERVER_START' })
  })

  it('is started again when it dies, and not after it was stopped', async () => {
    let starts = 0
    const restarted: number[] = []
    const supervised = await SupervisedServer.start({
      start: () =>
        ++starts === 2 ? Promise.reject(new Error('not yet')) : startServer(options(`console.log('up'); setInterval(() => {}, 1000)`)),
      log: () => undefined,
      onRestart: ({ pid }) => restarted.push(pid),
    })
    const first = supervised.current.pid
    supervised.current.kill()
    await until(() => supervised.restarts === 1)
    expect(restarted).toEqual([supervised.current.pid])
    expect(supervised.current.pid).not.toBe(first)
    await supervised.stop()
    await sleep(300)
    expect(starts).toBe(3)
  })
})

describe('run.json', () => {
  it('is written whole and for its owner only', () => {
    const path = join(dir, 'run.json')
    const content: RunFile = {
      config: [],
      postgres: 'postgres://p',
      http: ['http://127.0.0.1:1'],
      kafka: null,
      hazelcast: null,
      processes: [{ role: 'node', name: 'node-1', pid: 12 }],
    }
    writeRunFile(path, content)
    writeRunFile(path, { ...content, kafka: ['127.0.0.1:2'] })
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ ...content, kafka: ['127.0.0.1:2'] })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(dir)).toEqual(['run.json'])
  })
})

describe('the id of a Kafka cluster', () => {
  it('never looks like an option of its tools', () => {
    const ids = Array.from({ length: 2000 }, newClusterId)
    expect(ids.filter((id) => !/^[\w][\w-]{21}$/.test(id))).toEqual([])
  })
})

describe('server.properties', () => {
  it('has the given settings in place of its own lines, safely escaped', () => {
    const text = '# a comment\nlisteners=A\n log.dirs : /x\nother=1\n'
    expect(replaceProperties(text, { listeners: 'B', 'log.dirs': '/ü\\y z', new: '2' })).toBe(
      '# a comment\nother=1\n\nlisteners=B\nlog.dirs=/\\u00fc\\\\y z\nnew=2\n',
    )
  })
})
