import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'

const script = resolve(import.meta.dirname, '../support/hanging.ts')
const root = resolve(import.meta.dirname, '../..')
const children = new Set<ChildProcess>()

afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
})

/** Resolves once the process turns. */
async function start(...words: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...words], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  let stderr = ''
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()))
  const ended = new Promise<NodeJS.Signals | number | null>((done) => child.once('close', (code, signal) => done(signal ?? code)))
  await Promise.race([new Promise((turns) => child.stdout.once('data', turns)), ended])
  return { child, ended, said: () => stderr }
}

it.each(['loop', 'wait'])('ends a process that hangs (%s), having said in which event', { timeout: 60_000 }, async (mode) => {
  const { ended, said } = await start(mode)
  expect(await ended).toBe('SIGKILL')
  expect(JSON.parse(said())).toMatchObject({
    code: 'FB_HANG',
    msg: expect.stringContaining('converting the event at offset 41 of partition 3 of topic trades (task push)'),
  })
})

it('counts no time in which it was suspended itself', { timeout: 60_000 }, async () => {
  const { child, ended, said } = await start('turn')
  for (let round = 0; round < 3; round++) {
    child.kill('SIGSTOP')
    await sleep(1500)
    child.kill('SIGCONT')
    await sleep(200)
  }
  const first = await Promise.race([ended, sleep(1000, 'it lives')])
  expect([first, said()]).toEqual(['it lives', ''])
})

it('ends a hanging process that has lost its parent', { timeout: 60_000 }, async () => {
  const { ended } = await start('orphan', '1')
  expect(await ended).toBe('SIGKILL')
})
