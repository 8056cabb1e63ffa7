import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { must } from '../../src/assert.ts'
import { isAlive, readPidFile, removePidFile, startTimeOf, writePidFile } from '../../src/grid/pid-file.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'forebay-pid-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const content = { role: 'member', name: 'member-1', pid: 4711, startTime: 'boot/1', address: '127.0.0.1:5701' }

describe('pid file', () => {
  it('gives back what was written, is readable by its owner only and leaves no draft', () => {
    const path = join(folder, 'member.pid')
    writePidFile(path, { ...content, pid: 1 })
    writePidFile(path, content)
    expect(readPidFile(path)).toEqual(content)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toEqual(['member.pid'])
    removePidFile(path)
    removePidFile(path)
    expect(readPidFile(path)).toBeUndefined()
  })

  it.each(['', '{', 'null', '{"pid":1}', JSON.stringify({ ...content, pid: -1 }), JSON.stringify({ ...content, pid: '1' })])(
    'does not take %j for a pid file',
    (text) => {
      const path = join(folder, 'member.pid')
      writeFileSync(path, text)
      expect(readPidFile(path)).toBeUndefined()
    },
  )
})

describe('isAlive', () => {
  it('holds for a running and for a stopped process, and no longer once it ended', async () => {
    const child = spawn('sleep', ['30'], { stdio: 'ignore' })
    const pid = must(child.pid, 'the pid')
    const exited = once(child, 'exit')
    try {
      const startTime = must(startTimeOf(pid), 'the start time')
      expect(isAlive(pid, startTime)).toBe(true)
      child.kill('SIGSTOP')
      expect(isAlive(pid, startTime)).toBe(true)
      expect(isAlive(pid, `${startTime}0`)).toBe(false)
      child.kill('SIGKILL')
      await exited
      expect(isAlive(pid, startTime)).toBe(false)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
