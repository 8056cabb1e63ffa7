/** Sinks that are no part of forebay, from examples/own-sinks, in nodes that are killed: one exactly once, one at least once. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { CommandRun, ConfigFolder, killCommands, startNodeProcess } from '../support/commands.ts'
import { type Feed, ask, floorsReachEnd, postgresFeed } from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const example = resolve(import.meta.dirname, '../../examples/own-sinks')
const folder = new ConfigFolder()
const archive = join(folder.dir, 'archive')
let database: TestDatabase
let feed: Feed

beforeAll(async () => {
  mkdirSync(archive)
  process.env['ARCHIVE'] = archive
  database = await createTestDatabase()
  await database.query(readFileSync(join(example, 'schema.sql'), 'utf8'))
  feed = await postgresFeed(database.url, 'orders')
})
afterEach(killCommands)
afterAll(async () => {
  await feed?.[Symbol.asyncDispose]()
  await database?.drop()
  folder.remove()
})

const config = () => folder.write('n1', { url: database.url, grid: { mode: 'local' }, pipeline: join(example, 'pipeline.ts') })
const orders = (partition: number, from: number, count: number) =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ key: `k${partition}`, n: from + i }))

/** What the files hold: whole lines, in whatever order. */
function archived(): { id: string; key: string; n: number }[] {
  const lines = readdirSync(archive).flatMap((name) => readFileSync(join(archive, name), 'utf8').split('\n'))
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as { id: string; key: string; n: number }]
    } catch {
      return []
    }
  })
}

it(
  'their jobs are there exactly once and at least once, whatever kills the node, and bad ones are dead letters',
  { timeout: 120_000 },
  async () => {
    const file = config()
    let published = 0
    for (let life = 0; life < 4; life++) {
      const node = await startNodeProcess(file)
      for (let round = 0; round < 10; round++) {
        for (const partition of [0, 1]) await feed.publish(partition, orders(partition, published, 200))
        published += 200
        await sleep(20)
      }
      await node.kill('SIGKILL')
    }
    // The table takes no number below 0 and no fraction; a file takes any.
    const bad = [JSON.stringify({ key: 'k0', n: -1 }), JSON.stringify({ key: 'k0', n: 1.5 })]
    await feed.publish(0, bad)
    const node = await startNodeProcess(file)
    await floorsReachEnd(database.url, feed.events, { pipeline: 'own-sinks' })

    const idOf = (task: string, { partition, offset }: { partition: number; offset: bigint }) => `${task}/${partition}/${offset}/0`
    const good = feed.events.filter(({ value }) => !bad.includes(value.toString()))
    const rows = await ask<{ id: string; key: string; n: number }>(database.url, 'select id, key, n from audit')
    expect(rows.map(({ id }) => id).toSorted()).toEqual(good.map((event) => idOf('audit', event)).toSorted())
    expect(rows.every(({ key }) => /^K[01]$/.test(key))).toBe(true)
    const ids = archived().map(({ id }) => id)
    expect([...new Set(ids)].toSorted()).toEqual(feed.events.map((event) => idOf('archive', event)).toSorted())
    const letters = await ask<{ task: string; error: string }>(
      database.url,
      'select task, error from forebay.dead_letters order by "offset"',
    )
    expect(letters).toEqual([
      { task: 'audit', error: expect.stringMatching(/check constraint "audit_n_check"/) },
      { task: 'audit', error: expect.stringMatching(/invalid input syntax for type integer: "1.5"/) },
    ])
    expect(await node.kill('SIGTERM')).toBe(0)

    // A letter of a job goes through the same sink, in a command.
    await ask(database.url, 'alter table audit drop constraint audit_n_check')
    const redrive = new CommandRun(['dead-letters', 'redrive', '--all', '-c', file, '--json'])
    expect(await redrive.exited).not.toBe(0)
    expect(await ask(database.url, 'select n from audit where n < 0')).toEqual([{ n: -1 }])
  },
)

it('a sink that does not open ends the start with its name', { timeout: 60_000 }, async () => {
  process.env['ARCHIVE'] = join(folder.dir, 'nowhere')
  const refused = new CommandRun(['start', '-c', config(), '--json'])
  expect(await refused.exited).toBe(69)
  expect(refused.stdout + refused.stderr).toMatch(/files in .*nowhere: .*ENOENT/)
})
