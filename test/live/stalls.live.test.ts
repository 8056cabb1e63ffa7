/** Things that stop a node's work on real servers: each is named in its status within seconds, and a healthy node says nothing. */
import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, ResourcePatternTypes, logLevel } from 'kafkajs'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startKafka } from '../../src/launch/kafka-server.ts'
import { provisionJars } from '../../src/launch/maven-jars.ts'
import { serversFolder } from '../../src/launch/package-root.ts'
import type { ServerHandle } from '../../src/launch/server.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import { kafkaHarness } from '../ports/event-log-harness.ts'
import { eventually } from '../support/grid-cluster.ts'
import { freePort } from '../support/free-port.ts'
import {
  ask,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
} from '../support/live-node.ts'
import type { Feed, LiveNode, PublishedEvent } from '../support/live-node.ts'
import { createTestDatabase } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

/** Ten seconds, and what a loaded machine needs to answer. */
const namedMs = 15_000

/** Feeds one event to every partition each `everyMs` until the test is over. */
function trickle(feed: Feed, everyMs = 250): () => Promise<void> {
  const over = new AbortController()
  const running = (async () => {
    while (!over.signal.aborted) {
      for (const partition of [0, 1]) await feed.publish(partition, itemValues(partition, 1))
      await sleep(everyMs, undefined, { signal: over.signal }).catch(() => undefined)
    }
  })()
  return async () => {
    over.abort()
    await running
  }
}

/** The first status that `isNamed`, and how it answers whether it is ready. */
async function named(node: LiveNode, what: string, isNamed: (status: NodeStatus) => boolean): Promise<NodeStatus> {
  let last: NodeStatus | undefined
  for (const endMs = Date.now() + namedMs; Date.now() < endMs; await sleep(200)) {
    last = await node.status()
    if (!isNamed(last)) continue
    const ready = await fetch(`${node.url}/readyz`)
    expect([ready.status, ((await ready.json()) as { reasons: string[] }).reasons.length > 0]).toEqual([503, true])
    return last
  }
  throw new Error(`the node never named ${what}: ${JSON.stringify({ ...last, counters: undefined, latency: undefined }, null, 1)}`)
}

async function wellAgain(node: LiveNode): Promise<void> {
  for (const endMs = Date.now() + 40_000; Date.now() < endMs; await sleep(200)) {
    const { isReady, troubles, stalls } = await node.status()
    if (isReady && troubles.length === 0 && stalls.length === 0) return
  }
  throw new Error(`the node is not well again: ${JSON.stringify((await node.status()).reasons)}`)
}

interface Healthy {
  readonly database: TestDatabase
  readonly feed: Feed
  readonly node: LiveNode
  readonly stop: () => Promise<void>
  readonly sinceMs: number
}

let healthy: Healthy

beforeAll(async () => {
  const database = await createTestDatabase()
  await createItemTables(database.url)
  const feed = await postgresFeed(database.url, 'healthy')
  const node = await startNode(itemsPipeline({ topic: 'healthy' }), { url: database.url })
  healthy = { database, feed, node, stop: trickle(feed), sinceMs: Date.now() }
}, 60_000)
afterAll(async () => {
  await healthy?.stop()
  await healthy?.node[Symbol.asyncDispose]()
  await healthy?.feed[Symbol.asyncDispose]()
  await healthy?.database.drop()
}, 60_000)

describe('a database', () => {
  let database: TestDatabase
  let feed: Feed
  let node: LiveNode
  let stop: () => Promise<void>

  beforeAll(async () => {
    database = await createTestDatabase()
    await createItemTables(database.url)
    feed = await postgresFeed(database.url, 'stalled')
    node = await startNode(itemsPipeline({ topic: 'stalled' }), { url: database.url })
    stop = trickle(feed)
  }, 60_000)
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]()
    await feed?.[Symbol.asyncDispose]()
    await database?.drop()
  }, 60_000)

  it('with a locked row: the floor that stands is named with the transaction that holds it', async () => {
    const holder = new pg.Client({ connectionString: database.url, application_name: 'somebody' })
    await holder.connect()
    await holder.query("begin; select * from forebay.watermarks where task = 'item' for update")
    const { stalls } = await named(node, 'the lock', ({ stalls: found }) => found.some(({ cause }) => cause === 'row-locked'))
    expect(stalls[0]?.sentence).toMatch(/has waited .* for a lock .*"somebody"/)
    await holder.query('rollback')
    await holder.end()
    await wellAgain(node)
  }, 60_000)

  it('with a missing table', async () => {
    await ask(database.url, 'alter table items rename to elsewhere')
    const { tasks } = await named(node, 'the table', ({ tasks: found }) => found.some(({ blockedReason }) => blockedReason !== null))
    expect(tasks.find(({ task }) => task === 'item')).toMatchObject({ lastErrorCode: 'FB_SCHEMA' })
    await ask(database.url, 'alter table elsewhere rename to items')
    await wellAgain(node)
  }, 60_000)

  it('with a full disk', async () => {
    await using disk = await fullDisk(database.url)
    const { troubles } = await named(node, 'the disk', ({ troubles: found }) => found.some(({ code }) => code === 'FB_DATABASE_FULL'))
    expect(troubles.find(({ kind }) => kind === 'flush')).toMatchObject({ form: 'fails', places: ['task item'], standsStill: true })
    expect(troubles.find(({ kind }) => kind === 'flush')?.sentence).toMatch(/No space left on device.*SQLSTATE 53100/)
    await disk.free()
    await wellAgain(node)
  }, 60_000)

  it('has every row once in the end', async () => {
    await stop()
    await floorsReachEnd(database.url, feed.events)
    expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
  }, 60_000)
})

/**
 * The table of items in a tablespace on a small file system of its own that is full. Where this process may not mount one, the
 * table refuses rows as a full disk does.
 */
async function fullDisk(url: string): Promise<{ free(): Promise<void> } & AsyncDisposable> {
  const [server] = await ask<{ dir: string }>(url, "select current_setting('data_directory') as dir")
  // Beside its data, where the server may enter.
  const dir = mkdtempSync(join(dirname(server!.dir), 'small-disk-'))
  if (!isMounted(dir)) return refusedSpace(url)
  const data = join(dir, 'space')
  const filler = join(dir, 'filler')
  const free = async () => rmSync(filler, { force: true })
  const end = async () => {
    await free()
    await ask(url, 'alter table items set tablespace pg_default')
    await ask(url, 'checkpoint')
    await ask(url, 'drop tablespace if exists small').finally(() => {
      // Processes of the server keep its files open for a while.
      execFileSync('umount', ['-l', dir])
      rmSync(dir, { recursive: true, force: true })
    })
  }
  try {
    const { uid, gid } = statSync(server!.dir)
    mkdirSync(data, { mode: 0o700 })
    for (const folder of [dir, data]) chownSync(folder, uid, gid)
    await ask(url, `create tablespace small location '${data}'`)
    await ask(url, 'alter table items set tablespace small')
    fill(filler)
    return { free, [Symbol.asyncDispose]: end }
  } catch (error) {
    await end()
    throw error
  }
}

function isMounted(dir: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dir], { stdio: 'ignore' })
    return true
  } catch {
    rmSync(dir, { recursive: true })
    return false
  }
}

async function refusedSpace(url: string): Promise<{ free(): Promise<void> } & AsyncDisposable> {
  await ask(
    url,
    `create function no_space() returns trigger language plpgsql as
       $$begin raise 'No space left on device' using errcode = '53100'; end$$;
     create trigger no_space before insert on items for each row execute function no_space()`,
  )
  const free = async () => void (await ask(url, 'drop function if exists no_space cascade'))
  return { free, [Symbol.asyncDispose]: free }
}

function fill(file: string): void {
  try {
    writeFileSync(file, Buffer.alloc(8 << 20))
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC')
  }
}

describe('a topic that may not be read', () => {
  const dir = mkdtempSync(join(tmpdir(), 'forebay-acl-'))
  const topic = 'allowed'
  const published: PublishedEvent[] = []
  let kafka: ServerHandle
  let guarded: string

  beforeAll(async () => {
    const port = await freePort()
    guarded = `127.0.0.1:${port}`
    kafka = await startKafka({
      dir: join(dir, 'kafka'),
      jars: (await provisionJars(serversFolder)).kafka,
      heapMb: 384,
      settings: { 'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer', 'super.users': 'User:ANONYMOUS' },
      listeners: [
        {
          name: 'LOGIN',
          protocol: 'SASL_PLAINTEXT',
          port,
          settings: {
            'sasl.enabled.mechanisms': 'PLAIN',
            'plain.sasl.jaas.config': 'org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="reader-secret";',
          },
        },
      ],
    })
  }, 120_000)
  afterAll(async () => {
    await kafka?.stop()
    rmSync(dir, { recursive: true, force: true })
  }, 60_000)

  it('halts the partitions with offset, reason and remedy, and they go on when the right comes back', async () => {
    const admin = new Kafka({ brokers: [kafka.address], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    const harness = await kafkaHarness([kafka.address], topic)
    const publish = async () => {
      for (const partition of [0, 1]) {
        const values = itemValues(partition, 5)
        const before = published.filter((event) => event.partition === partition).length
        await harness.publish(partition, values, Date.now())
        published.push(...values.map((value, n) => ({ partition, offset: BigInt(before + n), value: Buffer.from(value) })))
      }
    }
    const right = (operation: AclOperationTypes) => ({
      resourceType: AclResourceTypes.TOPIC,
      resourceName: topic,
      resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: 'User:reader',
      host: '*',
      operation,
      permissionType: AclPermissionTypes.ALLOW,
    })
    await admin.createAcls({ acl: [right(AclOperationTypes.READ), right(AclOperationTypes.DESCRIBE)] })
    const database = await createTestDatabase()
    await createItemTables(database.url)
    const login = { mechanism: 'plain' as const, username: 'reader', password: 'reader-secret' }
    const events = {
      kind: 'kafka' as const,
      brokers: [guarded],
      clientId: 'acl',
      group: undefined,
      fetchBytesMax: 1 << 20,
      inflatedBytesMax: 1 << 24,
      login,
    }
    const node = await startNode(itemsPipeline({ topic }), { url: database.url, events })
    await publish()
    await floorsReachEnd(database.url, published)

    await admin.deleteAcls({ filters: [right(AclOperationTypes.READ)] })
    const isHalted = ({ partitions }: NodeStatus) =>
      [0, 1].every((n) => partitions.find(({ partition }) => partition === n)?.haltedCode === 'FB_EVENT_LOG_REFUSED')
    const { partitions } = await named(node, 'the right that is missing', isHalted)
    expect(partitions.find(({ partition }) => partition === 0)?.haltedReason).toMatch(
      /refused this node while reading partition 0 of topic allowed from offset 5: .*\(TOPIC_AUTHORIZATION_FAILED\); allow this user to read/,
    )
    // Looked at again every few seconds, and shown as halted all the while.
    for (let look = 0; look < 12; look++, await sleep(500)) expect(isHalted(await node.status())).toBe(true)

    await publish()
    await admin.createAcls({ acl: [right(AclOperationTypes.READ)] })
    await floorsReachEnd(database.url, published)
    // What lag tools show is refused as well, which holds nothing up.
    await eventually('the node is ready', async () => (await node.status()).isReady)
    const { troubles } = await node.status()
    expect(troubles).toMatchObject([{ kind: 'commit', form: 'fails', code: 'FB_EVENT_LOG_REFUSED', standsStill: false }])
    const group = { ...right(AclOperationTypes.READ), resourceType: AclResourceTypes.GROUP, resourceName: 'items' }
    await admin.createAcls({ acl: [group] })
    await publish()
    await wellAgain(node)
    await floorsReachEnd(database.url, published)
    expect(await differenceOf(database.url, published)).toEqual(noDifference)
    await node.stop()
    await harness.stop()
    await admin.disconnect()
    await database.drop()
  }, 120_000)
})

it('a healthy node names nothing for a minute', async () => {
  const { node, sinceMs } = healthy
  do {
    const { isReady, reasons, troubles, stalls, misfits } = await node.status()
    expect({ isReady, reasons, troubles, stalls, misfits }).toEqual({ isReady: true, reasons: [], troubles: [], stalls: [], misfits: [] })
    await sleep(500)
  } while (Date.now() - sinceMs < 60_000)
  const { counters } = await node.status()
  expect([counters.troubles, counters.stalls, counters.deadEvents, counters.deadLetters]).toEqual([0, 0, 0, 0])
}, 90_000)
