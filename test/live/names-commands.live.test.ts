/** Commands about a pipeline whose names are odd: they say them right, and nothing of them reaches a terminal as a command. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { runCommand } from '../../src/cli/run-command.ts'
import { killCommands, startNodeProcess } from '../support/commands.ts'
import { freePort } from '../../src/launch/free-port.ts'
import { ask, postgresFeed } from '../support/live-node.ts'
import { clearing } from '../support/odd-names-pipeline.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const keys = ['constructor', '__proto__', 'hasOwnProperty', `key${clearing}`]
/** Tabs and newlines aside. */
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/

let database: TestDatabase
const folder = mkdtempSync(join(tmpdir(), 'forebay-names-'))
const config = join(folder, 'forebay.yaml')
let out = ''
let err = ''

beforeAll(async () => {
  database = await createTestDatabase()
  const pipeline = resolve(import.meta.dirname, '../support/odd-names-pipeline.ts')
  writeFileSync(join(folder, 'url'), `${database.url}\n`, { mode: 0o600 })
  writeFileSync(
    config,
    `pipeline: ${JSON.stringify(pipeline)}\nnode: { name: constructor, port: ${await freePort()} }\nevents: { kind: postgres }\ndatabase: { urlFile: url }\ngrid: { mode: local, queues: 2 }\nlog: { level: silent }\n`,
  )
  await ask(
    database.url,
    `create table constructor ("toString" text, "__proto__" int, "wide${clearing}" text);
     create table "hasOwnProperty" ("toString" text primary key, "hasOwnProperty" bigint not null)`,
  )
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
})
afterEach(killCommands)
afterAll(async () => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true })
  await database.drop()
})

/** What a command writes, to both, and to standard output alone. */
async function run(...words: string[]): Promise<{ said: string; printed: string }> {
  out = ''
  err = ''
  await runCommand([...words, '-c', config])
  return { said: `${out}${err}`, printed: out }
}

it('print them in JSON and in text', { timeout: 120_000 }, async () => {
  await using feed = await postgresFeed(database.url, 'prototype')
  for (const partition of [0, 1])
    await feed.publish(
      partition,
      keys.map((key, n) => JSON.stringify({ key, n: partition === 0 ? n : -n })),
    )
  await startNodeProcess(config)
  await expect.poll(async () => (await ask(database.url, 'select from forebay.dead_letters')).length, { timeout: 20_000 }).toBe(3)
  await expect.poll(async () => (await ask(database.url, 'select from constructor')).length, { timeout: 20_000 }).toBe(5)

  /** Words, and names that what they print is to hold. */
  const commands: [words: string[], names: string[]][] = [
    [['status'], ['constructor', 'toString', 'valueOf']],
    [['check-config'], ['constructor', 'toString']],
    [['doctor'], []],
    [['explain'], []],
    [['explain', '--key', keys[3]!], []],
    [['explain', 'prototype/1@1'], []],
    [['queues', 'show', '0/0', '--jobs', '20'], []],
    [['topics', 'plan'], ['prototype']],
    [['topics', 'verify'], ['prototype']],
    [['routing', 'plan'], []],
    [
      ['tasks', 'list'],
      ['constructor', 'toString'],
    ],
    [['versions', 'list'], []],
    [['halts', 'list'], []],
    [
      ['dead-letters', 'list'],
      ['constructor', 'refused'],
    ],
    [['dead-letters', 'list', '--key', keys[3]!], []],
    [
      ['dead-letters', 'show', '1'],
      ['constructor', 'refused'],
    ],
    [['dead-letters', 'show', '3'], []],
    [['dead-letters', 'redrive', '--task', 'constructor', '--dry-run'], ['refused']],
    [['replay', '--from', 'earliest', '--task', 'toString', '--dry-run'], []],
    [['replay', '--from', 'earliest', '--task', 'toString', '--verify'], ['hasOwnProperty']],
    [['replay', 'list'], []],
    [['reset', '--to', 'earliest', '--truncate', 'constructor', '--truncate', 'hasOwnProperty', '--dry-run'], []],
    [['dead-letters', 'discard', '--id', '1', '--reason', `no${clearing}`], []],
  ]
  for (const [words, names] of commands) {
    for (const more of [[], ['--json']]) {
      const { said, printed } = await run(...words, ...more)
      const what = [...words, ...more].join(' ')
      expect(said, what).not.toBe('')
      expect(said.match(controls)?.[0], `${what}:\n${JSON.stringify(said.slice(0, 3000))}`).toBeUndefined()
      expect(said, what).not.toMatch(/FB_INTERNAL|\[object Object\]|native code/)
      for (const name of names) expect(said, what).toContain(name)
      if (more.length > 0) expect(() => JSON.parse(printed) as unknown, `${what}:\n${said}`).not.toThrow()
    }
  }
  expect(({} as { isPolluted?: boolean }).isPolluted).toBeUndefined()
})
