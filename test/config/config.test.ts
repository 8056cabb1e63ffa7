import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import { loadConfig } from '../../src/config/config.ts'
import { configDocument } from '../../src/config/config-document.ts'
import { leafKeys } from '../../src/config/config-issues.ts'
import { docOf } from '../../src/config/config-keys.ts'
import { configuredTasks } from '../../src/config/config-tasks.ts'
import { settingsOf } from '../../src/config/settings-of.ts'
import stockTicks from '../../examples/stock-ticks/pipeline.ts'

const folder = mkdtempSync(join(tmpdir(), 'forebay-config-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const env = { FOREBAY_DATABASE_URL: 'postgres://me:hidden-word@127.0.0.1/x' }
const least = 'pipeline: p.ts\nevents: { kind: postgres }\n'
const preset = fileURLToPath(new URL('../../config/forebay.yaml', import.meta.url))

let files = 0
function fileOf(text: string, name = `${files++}.yaml`): string {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

/** The lines of the refusal, without the folder. */
function problemsOf(text: string, environment: NodeJS.ProcessEnv = env): string[] {
  try {
    loadConfig(fileOf(text, 'c.yaml'), environment)
  } catch (error) {
    expect(isForebayError(error, 'FB_CONFIG')).toBe(true)
    return (error as Error).message.replaceAll(`${folder}/`, '').split('\n')
  }
  return []
}

describe('A configuration', () => {
  it('needs a pipeline, an event log and a database, and has defaults for the rest', () => {
    const { values, sources, warnings } = loadConfig(fileOf(least), env)
    expect(values).toMatchObject({
      node: { host: '127.0.0.1', port: 8080, drain: 10_000 },
      grid: { mode: 'local', queues: 2, capacity: 144, segmentBytesMax: 131_072, lease: 1200 },
    })
    expect(sources.get('grid.lease')).toBe('default')
    expect(warnings).toEqual([])
  })

  it('says where each value is from', () => {
    const file = fileOf(`${least}node:\n  port: 1\n  host: localhost\n`)
    const { values, sources } = loadConfig(file, { ...env, FOREBAY_NODE_PORT: '9999' })
    expect(values.node).toMatchObject({ port: 9999, host: 'localhost' })
    expect([sources.get('node.port'), sources.get('node.host'), sources.get('pipeline')]).toEqual([
      'environment FOREBAY_NODE_PORT',
      `${file}:5`,
      `${file}:1`,
    ])
  })

  it('takes lists from the environment', () => {
    const { values } = loadConfig(fileOf('pipeline: p.ts\n'), {
      ...env,
      FOREBAY_EVENTS_BROKERS: 'a:1, b:2',
      FOREBAY_GRID_MODE: 'client',
      FOREBAY_GRID_MEMBERS: 'c:3',
      FOREBAY_GRID_SECRET: '0123456789abcdef',
    })
    expect([values.events.brokers, values.grid.mode, values.grid.members]).toEqual([['a:1', 'b:2'], 'client', ['c:3']])
  })

  it('takes a section without keys for one left out', () => {
    expect(problemsOf(`${least}node:\ngrid:\n  # mode: client\n`)).toEqual([])
  })

  it.each<[string, string, string]>([
    ['an unknown key', 'node:\n  prot: 1\n', 'c.yaml:4: node.prot: unknown key; did you mean port?'],
    ['a key of another section', 'node:\n  brokers: [a:1]\n', 'c.yaml:4: node.brokers: unknown key; did you mean events.brokers?'],
    ['a key that means nothing', 'log:\n  elephant: 1\n', 'c.yaml:4: log.elephant: unknown key; the keys here are level'],
    [
      'a duration without unit',
      'node:\n  drain: 15\n',
      'c.yaml:4: node.drain: a duration needs a number and a unit (ms, s, m or h); did you mean 15ms?',
    ],
    [
      'a size in MB',
      'grid:\n  segmentBytesMax: 1MB\n',
      'c.yaml:4: grid.segmentBytesMax: a size needs a number and a unit (B, KiB, MiB or GiB); did you mean 1MiB?',
    ],
    [
      'a segment too small for a dead letter',
      'grid:\n  segmentBytesMax: 64KiB\n',
      'c.yaml:4: grid.segmentBytesMax: must lie between 96KiB and 8MiB',
    ],
    [
      'a choice misspelt',
      'grid:\n  mode: clinet\n',
      'c.yaml:4: grid.mode: expected local, embedded, client, not "clinet"; did you mean client?',
    ],
    ['text for a number', 'grid:\n  queues: "2"\n', 'c.yaml:4: grid.queues: expected number, not "2"'],
    [
      'an address without port',
      'grid:\n  mode: client\n  members: [a:1,\n    localhost]\n',
      'c.yaml:6: grid.members[1]: expected host:port, such as 127.0.0.1:9092, not "localhost"',
    ],
    [
      'an override without unit',
      'tasks:\n  storeTrade: { every: 15 }\n',
      'c.yaml:4: tasks.storeTrade.every: a duration needs a number and a unit (ms, s, m or h); did you mean 15ms?',
    ],
    [
      'an override misspelt',
      'tasks:\n  storeTrade:\n    rowMax: 3\n',
      'c.yaml:5: tasks.storeTrade.rowMax: unknown key; did you mean rowsMax?',
    ],
    ['a key given twice', 'log: {}\nlog: {}\n', 'c.yaml:4: this key was already given above'],
    ['a short grid secret', 'grid:\n  secretFile: short\n', 'c.yaml:4: grid.secretFile: the grid secret must have at least 16 characters'],
    [
      'a lease of one beat',
      'grid:\n  beat: 1s\n',
      'c.yaml:3: grid.lease: must be at least twice grid.beat, or one late beat costs a node all it owns',
    ],
    [
      'members of a local grid',
      'grid:\n  members: [a:1]\n',
      'c.yaml:4: grid.members: is of no use with grid.mode local; leave it out, or choose embedded or client',
    ],
    [
      'a client without members',
      'grid:\n  mode: client\n',
      'c.yaml:3: grid.members: is missing; grid.mode client needs the members, such as [127.0.0.1:5701]',
    ],
    [
      'a lock timeout beyond the statement',
      'database:\n  lockTimeout: 1m\n',
      'c.yaml:4: database.lockTimeout: is longer than database.statementTimeout, which would always come first',
    ],
    [
      'a password in the file',
      'database:\n  url: postgres://a:b@h/x\n',
      'c.yaml:4: database.url: has a password in it; put the URL into a file named by database.urlFile, or into FOREBAY_DATABASE_URL',
    ],
    [
      'a password among the parameters of the URL',
      'database:\n  url: postgres://h/x?user=a&password=b\n',
      'c.yaml:4: database.url: has a password in it; put the URL into a file named by database.urlFile, or into FOREBAY_DATABASE_URL',
    ],
    ['a secret file that is not there', 'grid:\n  secretFile: none\n', `c.yaml:4: grid.secretFile: none cannot be read (ENOENT)`],
  ])('is refused for %s, with file, line and what to do', (_what, text, problem) => {
    fileOf('tiny\n', 'short')
    expect(problemsOf(least + text)).toEqual([problem])
  })

  it.each<[string, string, string]>([
    [
      'brokers beside the log in Postgres',
      'pipeline: p.ts\nevents: { kind: postgres, brokers: [a:1] }\n',
      'c.yaml:2: events.brokers: is of no use with events.kind postgres; leave it out, or choose kafka',
    ],
    [
      'Kafka without brokers',
      'pipeline: p.ts\n',
      'c.yaml:1: events.brokers: is missing; events.kind kafka needs at least one broker, such as [127.0.0.1:9092]',
    ],
    [
      'a start time without zone',
      'pipeline: p.ts\nevents: { kind: postgres, startAt: 2026-01-31T09:30:00 }\n',
      'c.yaml:2: events.startAt: expected earliest, latest or a time with its zone, such as 2026-01-31T09:30:00Z',
    ],
    [
      'a start on a day that does not exist',
      'pipeline: p.ts\nevents: { kind: postgres, startAt: 2026-02-31T09:30:00Z }\n',
      'c.yaml:2: events.startAt: expected earliest, latest or a time with its zone, such as 2026-01-31T09:30:00Z',
    ],
    [
      'a login without password',
      'pipeline: p.ts\nevents:\n  brokers: [a:1]\n  sasl: { username: u }\n',
      'c.yaml:4: events.sasl: has no password; give events.sasl.passwordFile or FOREBAY_EVENTS_PASSWORD',
    ],
    [
      'no pipeline',
      'events: { kind: postgres }\n',
      'c.yaml:1: pipeline: is missing; expected the path of a pipeline module, such as ../examples/stock-ticks/pipeline.ts',
    ],
  ])('is refused for %s', (_what, text, problem) => {
    expect(problemsOf(text)).toEqual([problem])
  })

  it('is refused when an embedded member is not among the members, or has no class path', () => {
    expect(problemsOf(`${least}grid:\n  mode: embedded\n  members: [127.0.0.1:5702]\n`)).toEqual([
      'c.yaml:3: grid.member.classPath: is missing; grid.mode embedded needs the class path with the jar of Hazelcast',
      "c.yaml:5: grid.members: does not name this node's own member 127.0.0.1:5701 (grid.member.host and port)",
    ])
  })

  it('is refused without a database, naming all ways to give one', () => {
    expect(problemsOf(least, {})).toEqual([
      'c.yaml:1: database.url: is missing; give database.url, database.urlFile or FOREBAY_DATABASE_URL',
    ])
  })

  it('blames the environment for what it got from there', () => {
    expect(problemsOf(least, { ...env, FOREBAY_NODE_PORT: 'many' })).toEqual([
      'environment FOREBAY_NODE_PORT: node.port: expected number, not "many"',
    ])
  })

  it('is refused for everything wrong at once, in the order of the file', () => {
    const problems = problemsOf('pipelin: p\nnode: { drain: 1, port: -1 }\ngrid: { queues: 0 }\n')
    expect(problems.map((problem) => problem.split(': ').slice(0, 2).join(' '))).toEqual([
      'c.yaml:1 pipeline',
      'c.yaml:1 pipelin',
      'c.yaml:2 node.port',
      'c.yaml:2 node.drain',
      'c.yaml:3 grid.queues',
    ])
  })

  it('is refused when the file is not there or is no YAML', () => {
    expect(() => loadConfig(join(folder, 'none.yaml'), env)).toThrow('there is no such file')
    expect(problemsOf('node: [\n')[0]).toMatch(/^c\.yaml:\d+: /)
    expect(problemsOf('just text\n')[0]).toContain('expected object')
  })
})

describe('Secrets', () => {
  it('come from files and never show', () => {
    fileOf('postgres://me:file-word@127.0.0.1/x\n', 'url')
    fileOf('0123456789abcdef\n', 'secret')
    for (const name of ['url', 'secret']) chmodSync(join(folder, name), 0o600)
    const config = loadConfig(fileOf(`${least}database: { urlFile: url }\ngrid: { secretFile: secret }\n`), {})
    expect(settingsOf(config)).toMatchObject({
      database: { url: 'postgres://me:file-word@127.0.0.1/x' },
      grid: { secret: '0123456789abcdef' },
    })
    for (const text of [inspect(config, { depth: 9 }), JSON.stringify(config), String(config.secrets.databaseUrl)])
      expect(text).not.toMatch(/file-word|0123456789/)
    expect(config.warnings).toEqual([])
  })

  it('in the environment win over files', () => {
    fileOf('postgres://me:file-word@127.0.0.1/x\n', 'url')
    expect(settingsOf(loadConfig(fileOf(`${least}database: { urlFile: url }\n`), env)).database.url).toBe(env.FOREBAY_DATABASE_URL)
  })

  it('in a file that others may read are warned about', () => {
    fileOf('0123456789abcdef\n', 'open')
    chmodSync(join(folder, 'open'), 0o644)
    expect(loadConfig(fileOf(`${least}grid: { secretFile: open }\n`), env).warnings).toEqual([
      `grid.secretFile: others may read ${join(folder, 'open')}; run chmod 600 on it`,
    ])
  })

  it('are demanded of every door that other machines reach, unless it is open in words', () => {
    const problems = (keys: string, more: NodeJS.ProcessEnv = {}) =>
      problemsOf(`${least}${keys}\n`, { ...env, ...more }).map((line) => line.split(': ')[1])
    const secret = { FOREBAY_GRID_SECRET: '0123456789abcdef' }
    for (const host of ['0.0.0.0', '::', '10.1.2.3', 'node-1.internal', '::ffff:127.0.0.1', '127.0.0.1.example', '2130706433']) {
      expect(problems(`node: { host: '${host}' }`)).toEqual(['node.host'])
      expect(problems(`node: { host: '${host}', open: true }`)).toEqual([])
      expect(problems(`node: { host: '${host}' }`, { FOREBAY_NODE_TOKEN: 'a token of sixteen'.replaceAll(' ', '-') })).toEqual([])
    }
    for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) expect(problems(`node: { host: '${host}' }`)).toEqual([])
    for (const grid of ['mode: client, members: [a:1]', 'mode: client, members: ["127.0.0.1:1", "[fd00::1]:1"]']) {
      expect(problems(`grid: { ${grid} }`)).toEqual(['grid.secretFile'])
      expect(problems(`grid: { ${grid}, open: true }`)).toEqual([])
      expect(problems(`grid: { ${grid} }`, secret)).toEqual([])
    }
    expect(problems('grid: { mode: client, members: ["127.0.0.1:1", "[::1]:1"] }')).toEqual([])
    const embedded = 'mode: embedded, members: ["10.0.0.1:5701"], member: { host: 10.0.0.1, classPath: x }'
    expect(problems(`grid: { ${embedded} }`)).toEqual(['grid.secretFile'])
    expect(problems(`grid: { ${embedded} }`, secret)).toEqual([])
  })

  it('that nobody could type or guess are no tokens', () => {
    for (const FOREBAY_NODE_TOKEN of ['short', 'with blanks between its words', 'x'.repeat(15)])
      expect(problemsOf(least, { ...env, FOREBAY_NODE_TOKEN })).toEqual([expect.stringContaining('node.tokenFile')])
  })

  it('that are missing from a shared grid are warned about, as is an open address beyond this machine', () => {
    const { warnings } = loadConfig(
      fileOf(`${least}node: { host: 0.0.0.0, open: true }\ngrid: { mode: client, members: [127.0.0.1:1] }\n`),
      env,
    )
    expect(warnings.map((warning) => warning.split(' ').slice(0, 3).join(' '))).toEqual(['node.host 0.0.0.0 can', 'no grid secret:'])
  })
})

describe('The settings of a node', () => {
  it('carry units in numbers and paths from the folder of the file', () => {
    const grid =
      'grid:\n  mode: embedded\n  members: [127.0.0.1:5701]\n  memberHeap: 1GiB\n  member: { classPath: "jars/*:/abs/*", dir: here }\n'
    const settings = settingsOf(loadConfig(fileOf(`${least}${grid}node: { name: n }\ntasks: { a: { every: 2s } }\n`), env))
    expect(settings.node).toMatchObject({ name: 'n', host: '127.0.0.1', port: 8080, allowedHosts: [], clientsMax: 1000 })
    expect(settings.grid).toMatchObject({ memberHeapMb: 1024, lingerMs: 5, beatMs: 300, leaseMs: 1200 })
    expect(settings.grid.member).toMatchObject({
      name: 'member-5701',
      address: '127.0.0.1:5701',
      dir: join(folder, 'here'),
      jars: `${join(folder, 'jars/*')}:/abs/*`,
    })
    expect(readFileSync(settings.grid.member!.configFile, 'utf8')).toContain('hazelcast:')
    expect(settings.tasks).toEqual({ a: { everyMs: 2000 } })
  })

  it('carry the login at the brokers', () => {
    const events = 'events:\n  brokers: [a:1]\n  tls: {}\n  startAt: 2026-01-31T09:30:00Z\n  sasl: { mechanism: plain, username: u }\n'
    const settings = settingsOf(loadConfig(fileOf(`pipeline: p.ts\n${events}`), { ...env, FOREBAY_EVENTS_PASSWORD: 'p' }))
    expect(settings.events).toMatchObject({ kind: 'kafka', login: { mechanism: 'plain', username: 'u', password: 'p' } })
    expect(settings.startAt).toBe(Date.UTC(2026, 0, 31, 9, 30))
  })
})

describe('The tasks of a configuration', () => {
  it('are the pipeline’s with the overrides put in', () => {
    const config = loadConfig(fileOf(`${least}tasksOnly: [minuteCandle]\ntasks: { minuteCandle: { every: 2s, rowsMax: 7 } }\n`), env)
    expect(configuredTasks(config, stockTicks)).toMatchObject([{ name: 'minuteCandle', everyMs: 2000, rowsMax: 7 }])
    expect(configuredTasks(loadConfig(fileOf(least), env), stockTicks)).toHaveLength(3)
  })

  it('that the pipeline does not have are refused with their line', () => {
    const config = loadConfig(fileOf(`${least}tasks:\n  storeTrad: { rowsMax: 7 }\ntasksOnly: [elephant]\n`, 'c.yaml'), env)
    const lines = [
      `${folder}/c.yaml:5: tasksOnly: pipeline stock-ticks has no task elephant; it has storeTrade, pushPrice, minuteCandle`,
      `${folder}/c.yaml:4: tasks: pipeline stock-ticks has no task storeTrad; did you mean storeTrade?`,
    ]
    expect(() => configuredTasks(config, stockTicks)).toThrow(lines.join('\n'))
  })
})

describe('config/forebay.yaml', () => {
  it('is what the schema makes of it', () => {
    expect(
      readFileSync(preset, 'utf8'),
      'config/forebay.yaml is out of step with src/config/config-schema.ts: run npm run config:document',
    ).toBe(configDocument())
  })

  it('names and describes every key', () => {
    const text = readFileSync(preset, 'utf8')
    for (const { path, schema } of leafKeys()) {
      expect(text, path.join('.')).toMatch(new RegExp(`^[ #]*${path.at(-1)!}: \\S`, 'm'))
      expect(docOf(schema).description.length, path.join('.')).toBeGreaterThan(10)
    }
  })

  it('is a right configuration, with the defaults and no others', () => {
    const { values } = loadConfig(preset, env)
    const defaults = loadConfig(
      fileOf('pipeline: ../examples/stock-ticks/pipeline.ts\nevents: { brokers: [127.0.0.1:9092] }\n'),
      env,
    ).values
    expect(values).toEqual(defaults)
  })

  it('is a right configuration too with every commented key uncovered, but for what excludes each other', () => {
    const text = readFileSync(preset, 'utf8').replace(
      /^( *)# ( *)(# )?(\w+:( .*)?)$/gm,
      (line, indent: string, deeper: string, _mark, rest: string) => (isKeyLine(rest) ? `${indent}${deeper}${rest}` : line),
    )
    const problems = problemsOf(text, { ...env, FOREBAY_EVENTS_PASSWORD: 'p', FOREBAY_GRID_SECRET: '0123456789abcdef' })
    // The files that it names are not there.
    const places = problems.map((problem) => problem.split(': ')[1]!).filter((place) => !/tls\..*File$/.test(place))
    expect(places).toEqual([
      'node.tokenFile',
      'events.sasl.tokenFile',
      'database.urlFile',
      'grid.tls',
      'grid.members',
      'grid.member.classPath',
    ])
  })
})

function isKeyLine(text: string): boolean {
  const keys = new Set([...leafKeys().map(({ path }) => path.at(-1)!), 'sasl', 'tls'])
  return keys.has(text.split(':')[0]!) && !/^\w+: in this process/.test(text)
}
