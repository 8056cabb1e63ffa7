/** Events that end or hang their process, on two nodes that a supervisor starts again. */
import { stringify } from 'yaml'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { builtCommand } from '../support/built.ts'
import { type TestGrid, sharedGrid } from '../support/grid-cluster.ts'
import { ask, type Feed, postgresFeed } from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const folder = mkdtempSync(join(tmpdir(), 'forebay-killers-'))
const partitions = 4
let cluster: TestGrid
let database: TestDatabase
let feed: Feed
const supervised = new Set<Supervised>()

beforeAll(async () => {
  cluster = await sharedGrid()
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  database = await createTestDatabase()
  await ask(database.url, 'create table items (source_partition int not null, source_offset bigint not null, n int not null)')
  feed = await postgresFeed(database.url, 'killers', { partitions })
})
afterEach(async () => {
  await Promise.all([...supervised].map((node) => node.end()))
  await feed[Symbol.asyncDispose]()
  await database.drop()
})

/** `forebay start`, started again whenever it ends by itself. */
class Supervised {
  starts = 0
  /** How its lives ended. */
  readonly codes: (number | null)[] = []
  #said = ''
  stderr = ''
  #child: ChildProcess | undefined
  #isEnding = false
  readonly #done: Promise<void>

  constructor(name: string, hangTimeout: string) {
    const file = join(folder, `${name}.yaml`)
    writeFileSync(
      file,
      stringify({
        pipeline: resolve(import.meta.dirname, '../support/killer-pipeline.mjs'),
        node: { name, port: 0, hangTimeout },
        events: { kind: 'postgres' },
        grid: {
          mode: 'client',
          clusterName: cluster.clusterName,
          members: cluster.addresses,
          queues: 2,
          capacity: 144,
          backups: 0,
          memberHeap: '1GiB',
        },
      }),
    )
    this.#done = this.#run(file)
    supervised.add(this)
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  async #run(file: string): Promise<void> {
    while (!this.#isEnding) {
      this.starts++
      const child = (this.#child = spawn(process.execPath, ['--max-old-space-size=200', builtCommand, 'start', '-c', file, '--json'], {
        env: { ...process.env, FOREBAY_DATABASE_URL: database.url, FOREBAY_GRID_SECRET: 'a secret of the test' },
        stdio: ['ignore', 'pipe', 'pipe'],
      }))
      child.stderr!.on('data', (part: Buffer) => (this.stderr += part.toString()))
      this.#said = ''
      child.stdout!.on('data', (part: Buffer) => (this.#said += part.toString()))
      this.codes.push(await new Promise<number | null>((done) => child.once('close', done)))
    }
  }

  /** Resolves once the present life serves. */
  async running(): Promise<void> {
    const { starts } = this
    await expect.poll(() => this.#said !== '' && this.#child?.exitCode === null, { timeout: 60_000 }).toBe(true)
    expect(this.starts).toBeGreaterThanOrEqual(starts)
  }

  kill(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL') this.#said = ''
    this.#child?.kill(signal)
  }

  async end(): Promise<void> {
    this.#isEnding = true
    this.kill('SIGKILL')
    await this.#done
    supervised.delete(this)
  }
}

const good = (n: number) => JSON.stringify({ key: `k${n % 50}`, n })
const killer = (kills: string) => JSON.stringify({ key: 'k', n: -1, kills })
const applied = async () => (await ask<{ n: string }>(database.url, 'select count(*) as n from items where n >= 0'))[0]!.n

async function goodOnesArrive(count: number, timeoutMs: number): Promise<void> {
  await expect.poll(applied, { timeout: timeoutMs, interval: 200 }).toBe(String(count))
  const [{ n }] = (await ask<{ n: string }>(database.url, 'select count(distinct n) as n from items where n >= 0')) as [{ n: string }]
  expect(n).toBe(String(count))
}

const letters = () =>
  ask<{ offset: string; task: string | null; error: string }>(
    database.url,
    'select "offset", task, error from forebay.dead_letters order by "offset"',
  )

it('one event of each kind is one dead letter, and ten thousand good ones are applied within a minute', { timeout: 180_000 }, async () => {
  const kinds = ['exit', 'abort', 'memory', 'loop', 'wait', 'segv']
  const hostile: string[] = []
  for (let n = 0; n < 2500; n++) {
    if (n % 300 === 150 && n / 300 < kinds.length) hostile.push(killer(kinds[Math.floor(n / 300)]!))
    hostile.push(good(n))
  }
  await feed.publish(0, hostile)
  for (const partition of [1, 2, 3])
    await feed.publish(
      partition,
      Array.from({ length: 2500 }, (_, n) => good(partition * 2500 + n)),
    )
  const nodes = [new Supervised('a', '3s'), new Supervised('b', '3s')]
  await goodOnesArrive(10_000, 60_000)
  await expect.poll(async () => (await letters()).length, { timeout: 20_000 }).toBe(kinds.length)
  const expected = hostile.flatMap((text, offset) => (text.includes('kills') ? [String(offset)] : []))
  const found = await letters()
  expect(found.map(({ offset }) => offset)).toEqual(expected)
  expect(found.map(({ error, task }) => ({ error, task }))).toEqual(
    [/exit code 3/, /SIGABRT/, /FATAL ERROR|SIG|within/, /within/, /within/, /SIGSEGV/].map((how) => ({
      error: expect.stringMatching(how),
      task: null,
    })),
  )
  for (const node of nodes) expect(() => process.kill(node.pid!, 0)).not.toThrow()
  const starts = nodes.map((node) => node.starts)
  // Both stay alive, and later events take the usual way.
  await feed.publish(
    0,
    Array.from({ length: 500 }, (_, n) => good(10_000 + n)),
  )
  await goodOnesArrive(10_500, 20_000)
  expect(nodes.map((node) => node.starts)).toEqual(starts)
  expect(await ask(database.url, 'select from items where n < 0')).toEqual([])
})

it(
  'failures outside of every call end the node with their own code, and what caused them is applied in the sandbox',
  { timeout: 180_000 },
  async () => {
    const texts = Array.from({ length: 200 }, (_, n) => good(n))
    texts[50] = JSON.stringify({ key: 'k', n: 50, kills: 'stray' })
    texts[150] = JSON.stringify({ key: 'k', n: 150, kills: 'timer' })
    await feed.publish(0, texts)
    const node = new Supervised('c', '30s')
    await goodOnesArrive(200, 60_000)
    expect(await letters()).toEqual([])
    expect(node.codes.slice(0, 2)).toEqual([71, 71])
    expect(node.stderr).toMatch(
      /FB_USER_CODE: Code of the pipeline failed outside of decode, key, convert and latestBy.*offsets 0 to \d+ of partition 0 of topic killers/,
    )
    expect(node.stderr).not.toContain('hidden-word')
    expect(node.stderr).not.toMatch(/^ {4}at /m)
  },
)

it('a healthy node that is killed again and again, or suspended, buries nothing', { timeout: 180_000 }, async () => {
  const node = new Supervised('d', '1s')
  await node.running()
  for (let round = 0; round < 3; round++) {
    await feed.publish(
      0,
      Array.from({ length: 300 }, (_, n) => good(round * 300 + n)),
    )
    node.kill('SIGKILL')
    await node.running()
  }
  await goodOnesArrive(900, 60_000)
  const { starts } = node
  node.kill('SIGSTOP')
  await sleep(3000)
  node.kill('SIGCONT')
  await feed.publish(
    1,
    Array.from({ length: 100 }, (_, n) => good(900 + n)),
  )
  await goodOnesArrive(1000, 30_000)
  expect([await letters(), node.starts]).toEqual([[], starts])
})
