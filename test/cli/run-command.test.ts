import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { paint } from '../../src/text/paint.ts'
import { runCommand } from '../../src/cli/run-command.ts'
import { nodeStatus } from '../node/node-status.ts'

const folder = mkdtempSync(join(tmpdir(), 'forebay-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const pipeline = fileURLToPath(new URL('../../examples/stock-ticks/pipeline.ts', import.meta.url))

let out = ''
let err = ''

beforeEach(() => {
  out = ''
  err = ''
  vi.stubEnv('FOREBAY_DATABASE_URL', 'postgres://me:hidden-word@127.0.0.1:1/x')
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
})

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})

function fileOf(name: string, text: string): string {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

const good = () =>
  fileOf('good.yaml', `pipeline: ${JSON.stringify(pipeline)}\nevents: { kind: postgres }\ntasks: { storeTrade: { every: 25ms } }\n`)

describe('forebay', () => {
  it('shows its commands, and examples for each', async () => {
    expect(await runCommand(['--help'])).toBe(0)
    for (const command of ['start', 'check-config', 'status', 'explain', 'doctor', 'routing', 'reset']) {
      expect(out).toContain(command)
      expect(await runCommand([command, '--help'])).toBe(0)
      expect(out).toContain(`  forebay ${command}`)
    }
  })

  it('exits with 64 for a wrong command line and suggests the right one', async () => {
    expect(await runCommand(['strat'])).toBe(64)
    expect(err).toContain('Did you mean start?')
    expect(await runCommand(['start'])).toBe(64)
    expect(err).toContain("required option '-c, --config <file>' not specified")
    expect(await runCommand(['check-config', '-c', good(), '--partitions', 'many'])).toBe(64)
  })

  it('shows examples for each of what queues and topics do', async () => {
    for (const command of ['queues show', 'topics plan', 'topics apply', 'topics verify']) {
      expect(await runCommand([...command.split(' '), '--help'])).toBe(0)
      expect(out).toContain(`  forebay ${command}`)
    }
    expect(await runCommand(['explain', 'trades', 'x'])).toBe(64)
    expect(await runCommand(['explain', 'other/1', '-c', good()])).toBe(64)
    expect(err).toContain('reads topic trades, not other')
    expect(await runCommand(['queues', 'show', 'two/0', '-c', good()])).toBe(64)
  })

  it('explains and examines with every server away: sentences, no secret', async () => {
    vi.stubEnv('FOREBAY_NODE_PORT', '1')
    expect(await runCommand(['explain', 'trades/0', '-c', good(), '--json'])).toBe(0)
    expect(JSON.parse(out)).toMatchObject([{ cause: 'database-away', partition: 0, isCommitted: false }])
    out = ''
    expect(await runCommand(['doctor', '-c', good(), '--json'])).toBe(1)
    const { findings } = JSON.parse(out) as { findings: { area: string; severity: string }[] }
    expect(findings.filter(({ severity }) => severity === 'error').map(({ area }) => area)).toEqual(['database', 'event log'])
    expect(await runCommand(['topics', 'plan', '-c', good()])).toBe(69)
    expect(out + err).not.toContain('hidden-word')
  })

  it.each([
    ['replay', '--from', 'earliest', '--verify'],
    ['replay', '--from', 'earliest', '--task', 'storeTrade', '--into', 'again'],
    ['replay', 'list'],
    ['reset', '--to', 'earliest', '--allow-duplicates', '--truncate', 'candles', '--yes'],
    ['routing', 'plan'],
    ['routing', 'apply'],
    ['dead-letters', 'list'],
    ['dead-letters', 'redrive', '--all'],
    ['topics', 'verify'],
    ['tune', '--quick'],
  ])('answers with one sentence and 69 where the database is away: %s %s', async (...words) => {
    expect(await runCommand([...words, '-c', good()])).toBe(69)
    const sentences = err.split('\n').filter((line) => line !== '' && !line.startsWith('warning:'))
    expect(sentences).toEqual([expect.stringMatching(/^FB_(DATABASE|EVENT_LOG)_UNREACHABLE: .*127\.0\.0\.1:1/)])
    expect(out + err).not.toContain('hidden-word')
  })

  it('says its version', async () => {
    expect(await runCommand(['--version'])).toBe(0)
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe('forebay check-config', () => {
  it('prints every value with its source, and no secret', async () => {
    expect(await runCommand(['check-config', '-c', good()])).toBe(0)
    expect(out).toMatch(/^grid\.segmentBytesMax +128KiB +default$/m)
    expect(out).toMatch(/^events\.kind +postgres +.*good\.yaml:2$/m)
    expect(out).toMatch(/^FOREBAY_DATABASE_URL +\*\*\* +environment$/m)
    expect(out).toContain('storeTrade  every 25ms  into table trades')
    expect(out).toContain('memory at worst with 4 partitions: grid 144MiB')
    expect(out + err).not.toContain('hidden-word')
  })

  it('prints JSON', async () => {
    expect(await runCommand(['check-config', '-c', good(), '--json', '--partitions', '8'])).toBe(0)
    const report = JSON.parse(out) as Record<string, Record<string, unknown>>
    expect(report['pipeline']).toEqual({ name: 'stock-ticks', version: '1', topic: 'trades' })
    expect(report['memory']).toMatchObject({ partitions: 8, memberBytes: null })
    expect(report['values']!['node.drain']).toEqual({ value: 10_000, source: 'default' })
    expect(out).not.toContain('hidden-word')
  })

  it('exits with 78 for a wrong configuration, a wrong pipeline, and a task that is not there', async () => {
    expect(await runCommand(['check-config', '-c', fileOf('bad.yaml', 'pipelin: x\n')])).toBe(78)
    expect(err).toContain('bad.yaml:1: pipelin: unknown key; did you mean pipeline?')
    expect(await runCommand(['check-config', '-c', fileOf('none.yaml', 'pipeline: none.ts\nevents: { kind: postgres }\n')])).toBe(78)
    expect(err).toContain('FB_PIPELINE')
    const stranger = fileOf('task.yaml', `pipeline: ${JSON.stringify(pipeline)}\nevents: { kind: postgres }\ntasksOnly: [storeTrad]\n`)
    expect(await runCommand(['check-config', '-c', stranger])).toBe(78)
    expect(err).toContain('did you mean storeTrade?')
  })

  it('exits with 78 when memory cannot hold the worst case', async () => {
    expect(await runCommand(['check-config', '-c', good(), '--partitions', '900000'])).toBe(78)
    expect(err).toContain('a node does not fit')
  })
})

describe('forebay start', () => {
  it('exits with 69 when the database does not answer', async () => {
    vi.stubEnv('FOREBAY_LOG_LEVEL', 'silent')
    vi.stubEnv('FOREBAY_NODE_PORT', '0')
    expect(await runCommand(['start', '-c', good()])).toBe(69)
    expect(err).toMatch(/FB_(EVENT_LOG|DATABASE)_UNREACHABLE: /)
    expect(out + err).not.toContain('hidden-word')
    expect([process.listenerCount('SIGTERM'), process.listenerCount('SIGINT')]).toEqual(listeners)
  })
})

const listeners = [process.listenerCount('SIGTERM'), process.listenerCount('SIGINT')]

describe('forebay status', () => {
  it('asks every node of a run and exits with 69 when one does not answer', async () => {
    await using server = await serve(JSON.stringify(nodeStatus()))
    const dead = await serve('')
    await dead[Symbol.asyncDispose]()
    const servers = { postgres: 'postgres://p', kafka: null, hazelcast: null, processes: [] }
    const run = fileOf('run.json', JSON.stringify({ config: [good()], http: [server.url, dead.url], ...servers }))
    expect(await runCommand(['status', '--run-file', run])).toBe(69)
    expect(out).toMatch(/^node-1 +not ready|^node-1 +ready/m)
    expect(out).toContain(`no status from ${dead.url}`)
    expect(err).toContain(`no status from ${dead.url}`)
  })

  it('prints JSON of the nodes it is given, one object a node', async () => {
    await using server = await serve(JSON.stringify(nodeStatus()))
    expect(await runCommand(['status', '--json', '--url', server.url])).toBe(0)
    expect(JSON.parse(out)).toMatchObject([{ node: nodeStatus().node }])
  })

  it('finds the node of a configuration', async () => {
    await using server = await serve(JSON.stringify(nodeStatus()))
    vi.stubEnv('FOREBAY_NODE_PORT', new URL(server.url).port)
    expect(await runCommand(['status', '-c', good(), '--json'])).toBe(69)
    expect(JSON.parse(out)).toMatchObject({ isWell: false, nodes: [{ node: 'node-1', state: 'ready' }], statuses: [{ node: 'node-1' }] })
    expect(err).toContain('FB_DATABASE_UNREACHABLE')
    expect(out + err).not.toContain('hidden-word')
  })

  it('says what to do where nothing runs, and when the run file is another’s', async () => {
    expect(await runCommand(['status', '--run-file', join(folder, 'nothing.json')])).toBe(64)
    expect(err).toContain('name a configuration with -c')
    expect(await runCommand(['status', '--run-file', fileOf('other.json', '{"http":[7]}')])).toBe(64)
    expect(await runCommand(['status', '--run-file', fileOf('text.json', 'text')])).toBe(64)
  })
})

describe('Colours', () => {
  it('are for terminals only, and not when NO_COLOR is set', () => {
    vi.stubEnv('NO_COLOR', '')
    expect(paint({ isTTY: true }, 'red', 'x')).toBe('\u001b[31mx\u001b[0m')
    expect(paint({}, 'red', 'x')).toBe('x')
    vi.stubEnv('NO_COLOR', '1')
    expect(paint({ isTTY: true }, 'red', 'x')).toBe('x')
  })
})

async function serve(body: string): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((_request, response) => response.setHeader('content-type', 'application/json').end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
