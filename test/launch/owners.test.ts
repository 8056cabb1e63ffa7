/** What servers are given, and whose files a launcher and the commands believe. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { strangerReason } from '../../src/grid/own-folder.ts'
import { serverEnvironment } from '../../src/grid/server-environment.ts'
import { copyBinaries } from '../../src/launch/postgres-binaries.ts'
import { readRunFile, writeRunFile } from '../../src/launch/run-file.ts'
import { runProgram } from '../../src/launch/run-program.ts'
import { startServer } from '../../src/launch/server.ts'
import { makeState, stateFolder } from '../../src/launch/state-folder.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'forebay owners '))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('The environment of servers', () => {
  const secrets = {
    HOME: '/home/me',
    AWS_SECRET_ACCESS_KEY: 'a',
    FOREBAY_DATABASE_URL: 'b',
    PGPASSWORD: 'c',
    JAVA_TOOL_OPTIONS: '-javaagent:x',
    LD_PRELOAD: 'x',
    NODE_OPTIONS: '-r x',
  }

  it('is a path, a locale and a zone, and where Java is', () => {
    expect(serverEnvironment('C', { PATH: '/bin', LANG: 'de', TZ: 'Asia/Tokyo', ...secrets })).toEqual({
      PATH: '/bin',
      LC_ALL: 'C',
      TZ: 'UTC',
    })
    expect(Object.keys(serverEnvironment('C', { JAVA_HOME: '/java', LD_LIBRARY_PATH: '/lib', TMPDIR: '/t', ...secrets })).sort()).toEqual([
      'JAVA_HOME',
      'LC_ALL',
      'LD_LIBRARY_PATH',
      'TMPDIR',
      'TZ',
    ])
  })

  it('is what they and the programs that make their folders get', async () => {
    process.env['FOREBAY_TEST_SECRET'] = 'hush'
    try {
      expect((await runProgram('env', [])).output).not.toContain('hush')
      const server = await startServer({
        name: 'thing',
        role: 'postgres',
        address: '127.0.0.1:1',
        command: 'sh',
        args: ['-c', 'env; echo up; exec sleep 60'],
        cwd: dir,
        logFile: join(dir, 'log'),
        isReady: async () => readFileSync(join(dir, 'log'), 'utf8').includes('up'),
        readyMs: 10_000,
        stopSignal: 'SIGTERM',
        stopMs: 5000,
      })
      await server.stop()
      const names = readFileSync(join(dir, 'log'), 'utf8')
        .split('\n')
        .flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? [])
      expect(
        names.filter(
          (name) => !['PATH', 'LC_ALL', 'TZ', 'PWD', 'SHLVL', '_', 'OLDPWD', 'JAVA_HOME', 'LD_LIBRARY_PATH', 'TMPDIR'].includes(name),
        ),
      ).toEqual([])
      expect(names).toContain('PATH')
    } finally {
      delete process.env['FOREBAY_TEST_SECRET']
    }
  })
})

describe('What belongs to another user', () => {
  afterEach(() => void vi.restoreAllMocks())
  /** From now on what this process has made is another's. */
  const becomeAnother = () => vi.spyOn(process, 'getuid').mockReturnValue(65_533)

  it('is told from one’s own, which others may not write', () => {
    expect(strangerReason(dir)).toBeUndefined()
    expect(strangerReason(join(dir, 'none'))).toBeUndefined()
    chmodSync(dir, 0o777)
    expect(strangerReason(dir)).toMatch(/written by others/)
    expect(strangerReason(dir, true)).toBeUndefined()
    symlinkSync(dir, join(dir, 'link'))
    becomeAnother()
    for (const path of [dir, join(dir, 'link')]) expect(strangerReason(path, true)).toMatch(/another user .*this is 65533/)
  })

  it('is refused as state folder, before anything is written there', () => {
    const state = stateFolder(dir, 'standalone')
    makeState(state)
    chmodSync(state.dir, 0o755)
    becomeAnother()
    expect(() => makeState(state)).toThrow(expect.objectContaining({ code: 'FB_USAGE', message: expect.stringContaining('another user') }))
    expect(statSync(state.dir).mode & 0o777).toBe(0o755)
  })

  it('is refused as run.json and as the programs of PostgreSQL', () => {
    const run = { config: [], postgres: 'p', http: [], kafka: null, hazelcast: null, processes: [] }
    const path = join(dir, 'run.json')
    writeRunFile(path, run)
    expect(readRunFile(path)).toEqual(run)
    mkdirSync(join(dir, 'postgresql-18'))
    expect(copyBinaries({ folder: dir, version: '18' }, dir)).toBe(join(dir, 'postgresql-18'))
    becomeAnother()
    expect(() => readRunFile(path)).toThrow(expect.objectContaining({ code: 'FB_USAGE', message: expect.stringContaining('another user') }))
    expect(() => copyBinaries({ folder: dir, version: '18' }, dir)).toThrow(/another user/)
  })

  it('or can be written by others is refused as run.json', () => {
    const path = join(dir, 'run.json')
    writeRunFile(path, { config: [], postgres: 'p', http: [], kafka: null, hazelcast: null, processes: [] })
    chmodSync(path, 0o666)
    expect(() => readRunFile(path)).toThrow(/written by others/)
  })
})
