import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { must } from '../../src/assert.ts'
import { ownMember } from '../../src/grid/member-owner.ts'
import { watchMember } from '../../src/grid/member-watchdog.ts'
import { isAlive, readPidFile, startTimeOf, writePidFile, type PidFile } from '../../src/grid/pid-file.ts'

let dir: string
const children: ChildProcess[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'forebay watchdog '))
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

/** A process that stands for another, named in `file` of the folder. */
function stand(role: string, file: string, script = 'exec sleep 60'): PidFile {
  const child = spawn('sh', ['-c', script], { stdio: 'ignore' })
  children.push(child)
  const entry = {
    role,
    name: role,
    pid: child.pid!,
    startTime: must(startTimeOf(child.pid!), 'a process that runs'),
    address: '127.0.0.1:1',
  }
  writePidFile(join(dir, file), entry)
  return entry
}
const lives = ({ pid, startTime }: PidFile) => isAlive(pid, startTime)
const files = () => ({
  pidFile: join(dir, 'member.json'),
  ownerFile: join(dir, 'member.owner'),
  ownFile: join(dir, 'member.watchdog.json'),
})
const watch = () => watchMember(files(), { goneMs: 400, endMs: 400, lookMs: 20 })

describe('The watchdog of a member', () => {
  it('lets it live with its node, suspended or not, and ends it once the node is gone for good', async () => {
    const [node, member] = [stand('node', 'member.owner'), stand('member', 'member.json')]
    const watching = watch()
    process.kill(node.pid, 'SIGSTOP')
    await sleep(700)
    expect(lives(member)).toBe(true)
    process.kill(node.pid, 'SIGKILL')
    await watching
    expect(lives(member)).toBe(false)
    expect(existsSync(join(dir, 'member.json'))).toBe(false)
  })

  it('leaves it to a node that comes in time', async () => {
    const [node, member] = [stand('node', 'member.owner'), stand('member', 'member.json')]
    const watching = watch()
    process.kill(node.pid, 'SIGKILL')
    await sleep(150)
    const next = stand('node', 'member.owner')
    await sleep(700)
    expect(lives(member)).toBe(true)
    process.kill(next.pid, 'SIGKILL')
    await watching
    expect(lives(member)).toBe(false)
  })

  it('kills one that does not end when asked, suspended too', async () => {
    const member = stand('member', 'member.json', 'trap "" TERM; while :; do sleep 1; done')
    process.kill(member.pid, 'SIGSTOP')
    await watch()
    expect(lives(member)).toBe(false)
  })

  it('spares a process that got the pid of the member, and ends with the member and before a later watchdog', async () => {
    const member = stand('member', 'member.json')
    writePidFile(join(dir, 'member.json'), { ...member, startTime: 'earlier' })
    await watch()
    expect(lives(member)).toBe(true)
    writePidFile(join(dir, 'member.json'), member)
    stand('watchdog', 'member.watchdog.json')
    await watch()
    expect([lives(member), existsSync(join(dir, 'member.watchdog.json'))]).toEqual([true, true])
  })

  it('is a process of its own that gets nothing of the environment and goes with a clean end', async () => {
    process.env['FOREBAY_TEST_SECRET'] = 'hush'
    const owned = ownMember({ pidFile: join(dir, 'member.json'), name: 'member', address: '127.0.0.1:1' })
    delete process.env['FOREBAY_TEST_SECRET']
    const watchdog = must(readPidFile(files().ownFile), 'the file of the watchdog')
    expect(readPidFile(files().ownerFile)?.pid).toBe(process.pid)
    if (process.platform === 'linux') {
      await expect.poll(() => readFileSync(`/proc/${watchdog.pid}/cmdline`, 'utf8')).toContain('member-watchdog')
      expect(readFileSync(`/proc/${watchdog.pid}/environ`, 'utf8')).not.toContain('hush')
    }
    owned.release()
    await expect.poll(() => lives(watchdog)).toBe(false)
    expect([existsSync(files().ownFile), existsSync(files().ownerFile)]).toEqual([false, false])
  })
})
