/** Ten things broken in one running cluster, each named by `forebay explain`; and what the other commands show of it. */
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import pg from 'pg'
import { parse, stringify } from 'yaml'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Explanation } from '../../src/inspect/explanation.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import { builtCommand } from '../support/built.ts'
import { Launched } from '../support/launched.ts'

const partition = 0
const place = `trades/${partition}`

let cluster: Launched
let database: pg.Client

beforeAll(async () => {
  cluster = new Launched('cluster', ['--nodes', '2', '--rate', '200', '--fresh'])
  await cluster.running()
  database = await connect('the test')
  await cluster.until('rows are written', 60_000, async () => (await cluster.rows()) > 1000)
})
afterAll(async () => {
  await database?.end().catch(() => undefined)
  await cluster?.[Symbol.asyncDispose]()
})

async function connect(name: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: cluster.run.postgres, application_name: name })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** A command in the folder of the cluster, as a person runs it. */
function forebay(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [builtCommand, ...args], { cwd: cluster.dir, timeout: 50_000, maxBuffer: 1 << 24 }, (error, out, err) =>
      done({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out, err }),
    )
  })
}

async function explain(...args: string[]): Promise<Explanation> {
  const { code, out, err } = await forebay('explain', ...args, '--json')
  expect([code, err]).toEqual([0, ''])
  return (JSON.parse(out) as Explanation[])[0]!
}

/** Asks again until it tells of `cause`, there or behind it: what is broken needs a moment to show. */
async function named(cause: string, ...args: string[]): Promise<Explanation> {
  const seen: string[] = []
  for (const deadlineMs = Date.now() + 40_000; Date.now() < deadlineMs; await sleep(500)) {
    const found = await explain(...args)
    if (found.cause === cause || found.because?.cause === cause || found.because?.because?.cause === cause) return found
    seen.push(`${found.cause}: ${found.sentence}`)
  }
  throw new Error(`explain never named ${cause}:\n${seen.join('\n')}`)
}

const textOf = (of: Explanation) => JSON.stringify(of)

/** Every partition is owned and near its end again, by the nodes' own pages. */
async function caughtUp(): Promise<void> {
  await cluster.until('the partitions are near their end again', 60_000, async () => {
    const pages = await Promise.all(
      cluster.run.http.map((url) => fetch(`${url}/status`, { signal: AbortSignal.timeout(2000) }).catch(() => undefined)),
    )
    const statuses = (await Promise.all(pages.map((page) => page?.json().catch(() => undefined)))) as (NodeStatus | undefined)[]
    const partitions = statuses.flatMap((status) => status?.partitions ?? [])
    return partitions.length === 4 && partitions.every(({ lagEvents }) => lagEvents !== null && lagEvents < 500)
  })
}

function signal(pids: readonly number[], name: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) process.kill(pid, name)
}

it('is well to begin with, for status, explain, queues show, topics and doctor', async () => {
  const status = await forebay('status')
  expect([status.code, status.out]).toEqual([0, expect.stringMatching(/all well[\s\S]*node-1[\s\S]*node-2[\s\S]*storeTrade/)])
  expect((await explain(`${place}@1`)).cause).toBe('committed')
  const copy = await forebay('queues', 'show', '0/1', '--jobs', '2', '--json')
  expect(JSON.parse(copy.out)).toMatchObject({
    queue: '0/1',
    overwritten: expect.any(Number),
    segments: expect.arrayContaining([expect.objectContaining({ isReadable: true })]),
  })
  expect((await forebay('topics', 'verify')).code).toBe(0)
  const { code, out } = await forebay('doctor')
  expect([code, out]).toEqual([0, expect.stringContaining('ok    grid: rings hold 144 entries')])
  expect(out).toMatch(/ok +grid: Hazelcast 5\.\d+\.\d+ on every member/)
  expect(out).toMatch(/ok +event log: no event of topic trades is from the future/)
})

it('runs as npx --no-install forebay in the folder of the package, after the launch command', async () => {
  const runFile = join(cluster.dir, '.forebay', 'run.json')
  const words = ['--no-install', 'forebay', 'status', '--run-file', runFile, '--json']
  const out = await new Promise<string>((done, refuse) => {
    execFile('npx', words, { cwd: packageRoot, timeout: 50_000, maxBuffer: 1 << 24 }, (error, text) =>
      error === null ? done(text) : refuse(error),
    )
  })
  expect(JSON.parse(out)).toMatchObject({ pipeline: 'stock-ticks', nodes: [{ state: 'ready' }, { state: 'ready' }] })
})

it('names a missing table, and a full queue behind it', async () => {
  await database.query('alter table trades rename to trades_away')
  try {
    const found = await named('missing-table', place)
    expect(found).toMatchObject({ task: 'storeTrade', floor: expect.stringMatching(/^\d+$/), reader: expect.stringMatching(/^node-[12]/) })
    expect(textOf(found)).toMatch(/trades.*does not exist/)
    const { log } = found
    const full = await named('queue-full', `${place}@${BigInt(log!.endOffset) + 300n}`).catch(() => named('queue-full', place))
    expect(textOf(full)).toMatch(/is full \(64 segments/)
  } finally {
    await database.query('alter table trades_away rename to trades')
  }
  await caughtUp()
})

it('names a locked row and who holds it', async () => {
  const operator = await connect('psql of an operator')
  await operator.query('begin')
  await operator.query(`select from forebay.watermarks where partition = ${partition} for update`)
  try {
    expect(textOf(await named('row-locked', place))).toMatch(/psql of an operator|lock timeout/)
  } finally {
    await operator.end()
  }
  await caughtUp()
})

it('names a slow sink and the statement that takes the time', async () => {
  await database.query(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(5); return null; end $$;
    create trigger slow after insert on trades for each statement execute function slow()`)
  try {
    expect(textOf(await named('slow-sink', place))).toMatch(/task storeTrade.*(PgSleep|p99)/)
  } finally {
    await database.query('drop trigger slow on trades; drop function slow')
  }
  await caughtUp()
})

it('tells where a poison event went', async () => {
  const kafka = new Kafka({ brokers: [...cluster.run.kafka!], logLevel: logLevel.NOTHING })
  const producer = kafka.producer()
  await producer.connect()
  const [told] = await producer.send({
    topic: 'trades',
    messages: [{ partition, key: 'X', value: 'this is no JSON', headers: { line: '1' } }],
  })
  const [large] = await producer.send({ topic: 'trades', messages: [{ partition, key: 'X', value: 'x'.repeat(3 << 20) }] })
  await producer.disconnect()
  const found = await named('dead-lettered', `${place}@${told!.baseOffset}`)
  expect(found.deadLetters).toMatchObject([{ task: null }])
  expect(found.mend).toMatch(/dead-letters show \d+/)
  await named('dead-lettered', `${place}@${large!.baseOffset}`)
  const { rows } = await database.query(
    'select error, octet_length(payload) as bytes, is_payload_cut from forebay.dead_letters where "offset" = $1',
    [large!.baseOffset],
  )
  const error = expect.stringMatching(
    /^the event has 3145738 bytes with its key and headers, more than events\.eventBytesMax \(1048576\)/,
  ) as string
  expect(rows).toEqual([{ error, bytes: 65_536, is_payload_cut: true }])
})

it('names suspended nodes', async () => {
  const nodes = cluster.pids('node')
  signal(nodes, 'SIGSTOP')
  try {
    expect((await named('node-suspended', place)).mend).toMatch(/kill -CONT \d+/)
    expect(await forebay('status')).toMatchObject({ code: 69, out: expect.stringContaining('is suspended: process') })
  } finally {
    signal(nodes, 'SIGCONT')
  }
  await caughtUp()
})

it('names a lost grid', async () => {
  const members = cluster.pids('member')
  signal(members, 'SIGSTOP')
  try {
    expect((await named('grid-lost', place)).unseen.join()).toContain('the grid')
  } finally {
    for (const pid of members) {
      try {
        process.kill(pid, 'SIGCONT')
      } catch {
        // Its node has replaced it meanwhile.
      }
    }
  }
  await caughtUp()
})

it('names a dead database, and says what else it could not see', async () => {
  const [server] = cluster.pids('postgres')
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(server)], { encoding: 'utf8' })
  const pids = [server!, ...children.trim().split(/\s+/).map(Number)]
  signal(pids, 'SIGSTOP')
  try {
    expect((await named('database-away', place)).unseen.join()).toContain('the database')
    expect(await forebay('doctor')).toMatchObject({
      code: 1,
      out: expect.stringMatching(/error database: Postgres did not answer[\s\S]*ok +grid/),
    })
  } finally {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGCONT')
      } catch {
        // A backend that ended.
      }
    }
  }
  await caughtUp()
})

it('refuses to start on a topic that is not as wanted, and apply mends it', async () => {
  const file = join(cluster.dir, '.forebay', 'cluster', 'wanted.yaml')
  const values = parse(readFileSync(cluster.run.config[0]!, 'utf8')) as { events: object; node: object }
  const wanted = { ...values, events: { ...values.events, topic: { replayWindow: '300h' } }, node: { ...values.node, port: 0 } }
  writeFileSync(file, stringify(wanted), { mode: 0o600 })
  expect(await forebay('start', '-c', file)).toMatchObject({ code: 78, err: expect.stringContaining('forebay topics apply') })
  expect(await forebay('topics', 'plan', '-c', file)).toMatchObject({
    code: 0,
    out: expect.stringMatching(/- retentionMs: 168h\n\+ retentionMs: 375h/),
  })
  expect((await forebay('topics', 'apply', '-c', file)).code).toBe(0)
  expect((await forebay('topics', 'verify', '-c', file)).code).toBe(0)
})

it('names what retention has passed', async () => {
  await database.query('alter table trades rename to trades_away')
  await named('missing-table', place)
  await sleep(12_000)
  const admin = new Kafka({ brokers: [...cluster.run.kafka!], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.fetchTopicOffsets('trades')
  await admin.deleteTopicRecords({ topic: 'trades', partitions: [{ partition, offset: '-1' }] })
  await admin.disconnect()
  const found = await named('retention-passed', place)
  expect(found.sentence).toMatch(/the floor is \d+ and the log begins at \d+/)
  expect(found.next).toContain('never skips')
  await database.query('alter table trades_away rename to trades')
})

it('names another epoch, when only nodes of another routing run', async () => {
  await database.query(`insert into forebay.epochs (pipeline, epoch, version, fingerprint)
    select pipeline, epoch + 1, version, jsonb_set(fingerprint, '{queues}', '5') from forebay.epochs order by epoch desc limit 1`)
  expect((await named('wrong-epoch', 'trades/1')).sentence).toMatch(/epoch 2 \(version 1\) is active.*queues/)
  expect((await explain('trades/1')).notes.join()).toMatch(/queues: the active epoch has 5, this configuration 2/)
})
