/** What signals do to a node as a process of its own: a clean stop, a second signal, a drain that takes too long. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { discardPostgres, type PostgresHandle, startPostgres } from '../../src/launch/postgres-server.ts'
import { ConfigFolder, killCommands, startNodeProcess } from '../support/commands.ts'
import {
  ask,
  createItemTables,
  differenceOf,
  type Feed,
  floorsReachEnd,
  itemValues,
  noDifference,
  postgresFeed,
} from '../support/live-node.ts'

const dir = join(mkdtempSync(join(tmpdir(), 'forebay-signals-')), 'postgres')
const folder = new ConfigFolder()
/** Far longer than a test: what waits for its tick is flushed by a stop or not at all. */
const sumsRarely = { total: { every: '1h' } }
let postgres: PostgresHandle
let databases = 0
let url: string
let feed: Feed

beforeAll(async () => {
  postgres = await startPostgres({ dir })
})
afterAll(async () => {
  await postgres?.stop()
  discardPostgres(dir)
  rmSync(join(dir, '..'), { recursive: true, force: true })
  folder.remove()
})
beforeEach(async () => {
  const name = `signals${++databases}`
  await ask(postgres.url, `create database ${name}`)
  url = postgres.url.replace(/\/postgres$/, `/${name}`)
  await createItemTables(url)
  feed = await postgresFeed(url, 'items')
})
afterEach(async () => {
  await killCommands()
  await feed[Symbol.asyncDispose]()
})

const configOf = (choice: { node?: Record<string, unknown>; tasks?: Record<string, unknown> } = {}) =>
  folder.write('n1', { url, grid: { mode: 'local' }, ...choice })

async function publish(): Promise<void> {
  await feed.publish(0, itemValues(0, 100))
  await feed.publish(1, itemValues(1, 100))
}

const itemsReach = (count: number) =>
  expect.poll(async () => (await ask<{ n: number }>(url, 'select count(*)::int as n from items'))[0]!.n, { timeout: 20_000 }).toBe(count)

/** Starts another node, which must bring everything published into the tables, each once. */
async function othersGoOn(): Promise<void> {
  const node = await startNodeProcess(configOf())
  await floorsReachEnd(url, feed.events)
  expect(await differenceOf(url, feed.events)).toEqual(noDifference)
  expect(await node.kill('SIGTERM')).toBe(0)
}

/** Suspends the server and its sessions, as a machine that hangs does; gives back what lets it go on. */
async function suspendPostgres(): Promise<() => void> {
  const sessions = await ask<{ pid: number }>(postgres.url, 'select pid from pg_stat_activity where pid <> pg_backend_pid()')
  const stopped = [postgres.pid, ...sessions.map(({ pid }) => pid)].filter((pid) => send(pid, 'SIGSTOP'))
  return () => stopped.forEach((pid) => send(pid, 'SIGCONT'))
}

/** False when the session has ended meanwhile. */
function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

it('flushes at SIGTERM what waits for its cadence, settles the floors, takes its leave and ends with 0', async () => {
  const node = await startNodeProcess(configOf({ tasks: sumsRarely }))
  await publish()
  await itemsReach(200)
  expect(await ask(url, 'select * from totals')).toEqual([])
  const startedMs = performance.now()
  expect(await node.kill('SIGTERM')).toBe(0)
  expect(performance.now() - startedMs).toBeLessThan(5_000)
  expect(await differenceOf(url, feed.events)).toEqual(noDifference)
  await floorsReachEnd(url, feed.events, { timeMs: 1 })
  expect(await ask(url, 'select * from forebay.nodes')).toEqual([])
}, 60_000)

it('ends at once with 75 at a second signal while a lock keeps it from draining, and nothing is lost or doubled', async () => {
  const node = await startNodeProcess(configOf())
  await publish()
  await floorsReachEnd(url, feed.events)
  const locker = new pg.Client({ connectionString: url })
  await locker.connect()
  try {
    await locker.query('begin; lock table items in exclusive mode')
    await publish()
    const isWaiting = () => ask(url, `select from pg_stat_activity where application_name = 'forebay n1' and wait_event_type = 'Lock'`)
    await expect.poll(isWaiting, { timeout: 10_000 }).toHaveLength(1)
    node.child.kill('SIGTERM')
    await sleep(1_000)
    expect(node.child.exitCode).toBeNull()
    const secondMs = performance.now()
    expect(await node.kill('SIGTERM')).toBe(75)
    expect(performance.now() - secondMs).toBeLessThan(1_000)
    expect(node.stderr).toContain('a second signal: leaving at once')
  } finally {
    await locker.end()
  }
  await othersGoOn()
}, 90_000)

it('ends with 75 once a drain took longer than node.drain, though its database is suspended, and nothing is lost or doubled', async () => {
  const node = await startNodeProcess(configOf({ node: { drain: '1500ms' }, tasks: sumsRarely }))
  await publish()
  await itemsReach(200)
  const goOn = await suspendPostgres()
  try {
    const startedMs = performance.now()
    expect(await node.kill('SIGTERM')).toBe(75)
    const tookMs = performance.now() - startedMs
    expect(tookMs).toBeGreaterThan(1_400)
    expect(tookMs).toBeLessThan(4_000)
    expect(node.stderr).toContain('longer than node.drain (1500ms)')
  } finally {
    goOn()
  }
  expect(await ask(url, 'select * from totals')).toEqual([])
  await othersGoOn()
}, 90_000)
