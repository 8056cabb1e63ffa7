import { schemaSql } from '../../src/ledger/schema-sql.ts'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/launch/package-root.ts'
import { discardPostgres, type PostgresHandle, startPostgres } from '../../src/launch/postgres-server.ts'
import { createSchema } from '../../src/ledger/schema.ts'
import { commandFolder } from '../support/forebay-command.ts'
import {
  ask,
  createItemTables,
  differenceOf,
  type Feed,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
  startNode,
} from '../support/live-node.ts'
import { createTestDatabase, testPool, type TestDatabase } from '../support/postgres-database.ts'
import { StartCommand } from '../support/start-command.ts'

const topic = 'refusing'

/** The address with another user, password or database. */
function urlWith(url: string, change: { user?: string; password?: string; database?: string }): string {
  const changed = new URL(url)
  if (change.user !== undefined) changed.username = change.user
  if (change.password !== undefined) changed.password = change.password
  if (change.database !== undefined) changed.pathname = `/${change.database}`
  return changed.href
}

/** What `forebay start` says and ends with on this database. */
async function startCommand(url: string): Promise<{ code: number | null; stderr: string }> {
  await using command = new StartCommand({ url })
  return { code: await command.exited, stderr: command.stderr }
}

describe('a database that lets nobody in', () => {
  let server: PostgresHandle
  const dir = join(tmpdir(), `forebay-refusals-${randomUUID()}`)
  beforeAll(async () => {
    server = await startPostgres({ dir })
  })
  afterAll(async () => {
    await server?.stop()
    discardPostgres(dir)
  })

  it.each([
    ['a wrong password', (url: string) => urlWith(url, { password: 'wrong' }), /SQLSTATE 28P01.*password of database.url/],
    ['a user that is not there', (url: string) => urlWith(url, { user: 'nobody' }), /SQLSTATE 28.*user or the password/],
    [
      'a database that is not there',
      (url: string) => urlWith(url, { database: 'nowhere' }),
      /"nowhere" does not exist.*create the database/,
    ],
  ])('%s is a refusal, for ledger, event log and command alike', async (_, change, sentence) => {
    const url = change(server.url)
    const refused = { code: 'FB_DATABASE_REFUSED', message: expect.stringMatching(sentence) }
    await using pool = testPool(url)
    await expect(pool.use('asking', (client) => client.query('select 1'))).rejects.toMatchObject(refused)
    await expect(startNode(itemsPipeline({ topic }), { url })).rejects.toMatchObject(refused)
    const { code, stderr } = await startCommand(url)
    expect(stderr).toMatch(/^FB_DATABASE_REFUSED: /m)
    expect(stderr).not.toMatch(/check that it runs/)
    expect(code).toBe(78)
  })

  it('one without the right to make the schema says what is missing', async () => {
    for (const text of [
      `create user poor password 'poor'`,
      'create database poors',
      'revoke all on database poors from public',
      'grant connect on database poors to poor',
    ])
      await ask(server.url, text)
    const url = urlWith(server.url, { user: 'poor', password: 'poor', database: 'poors' })
    await using feed = await postgresFeed(urlWith(server.url, { database: 'poors' }), topic)
    await feed.publish(0, itemValues(0, 1))
    await expect(startNode(itemsPipeline({ topic }), { url })).rejects.toMatchObject({
      code: 'FB_DATABASE_REFUSED',
      message: expect.stringMatching(/permission denied.*SQLSTATE 42501.*grant the user/),
    })
  })

  it('one without a free connection says so, and is tried again', async () => {
    await ask(server.url, `create user many password 'many' connection limit 2`)
    const url = urlWith(server.url, { user: 'many', password: 'many' })
    const held = [new pg.Client({ connectionString: url }), new pg.Client({ connectionString: url })]
    for (const client of held) await client.connect()
    try {
      await using pool = testPool(url)
      const full = { code: 'FB_DATABASE_FULL', policy: 'retry', exitCode: 75, message: expect.stringMatching(/SQLSTATE 53300.*poolMax/) }
      await expect(pool.use('asking', (client) => client.query('select 1'))).rejects.toMatchObject(full)
      expect(await startCommand(url)).toMatchObject({ code: 75, stderr: expect.stringMatching(/^FB_DATABASE_FULL: /m) })
    } finally {
      for (const client of held) await client.end()
    }
  })
})

describe('a role with little', () => {
  const role = `app_${process.pid}`
  let database: TestDatabase
  let url = ''
  beforeAll(async () => {
    database = await createTestDatabase()
    await ask(database.url, `create role ${role} login password 'app'`)
    url = urlWith(database.url, { user: role, password: 'app' })
  })
  afterAll(async () => {
    await ask(database.url, `drop owned by ${role} cascade; drop role ${role}`)
    await database.drop()
  })

  it('makes the ledger in a schema that somebody else made, and each right that is missing is named', async () => {
    const open = async () => {
      await using pool = testPool(url)
      return await pool.use('opening', createSchema).catch((error: unknown) => error)
    }
    const name = new URL(url).pathname.slice(1)
    expect(await open()).toMatchObject({
      code: 'FB_DATABASE_REFUSED',
      message: expect.stringContaining(`grant create on database "${name}" to "${role}"`),
    })
    await ask(database.url, 'create schema forebay')
    const wanted = `grant usage, create on schema forebay to "${role}"`
    expect(await open()).toMatchObject({ code: 'FB_DATABASE_REFUSED', message: expect.stringContaining(wanted) })
    await ask(database.url, wanted)
    expect(await open()).toMatch(/^[0-9a-f-]{36}$/)
    await ask(database.url, `revoke all on all tables in schema forebay from ${role}; alter table forebay.deployment owner to postgres`)
    await ask(database.url, `revoke all on forebay.deployment from ${role}`)
    const rows = `grant select, insert, update, delete on all tables in schema forebay to "${role}"`
    expect(await open()).toMatchObject({ code: 'FB_DATABASE_REFUSED', message: expect.stringContaining(rows) })
    await ask(database.url, 'drop schema forebay cascade')
  })

  it('runs a whole pipeline with the rights of config/postgres-rights.sql; what takes more is refused in words', async () => {
    await createItemTables(database.url)
    await using feed = await postgresFeed(database.url, topic)
    await ask(database.url, schemaSql(0))
    const rights = readFileSync(join(packageRoot, 'config/postgres-rights.sql'), 'utf8')
    const named = { forebay_app: role, trades: 'items', candles: 'totals' }
    const script = Object.entries(named).reduce((sql, [from, to]) => sql.replaceAll(new RegExp(`\\b${from}\\b`, 'g'), to), rights)
    await ask(database.url, script.replace(`create role ${role} login;`, ''))
    {
      await using node = await startNode(itemsPipeline({ topic }), { url })
      await feed.publish(0, itemValues(0, 50))
      await feed.publish(0, ['not JSON', JSON.stringify({ key: 'k', n: -1 })])
      await floorsReachEnd(database.url, feed.events)
      expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
      expect((await ask(database.url, 'select from forebay.dead_letters')).length).toBeGreaterThan(1)
      await node.stop()
    }
    using folder = commandFolder({ topic }, { url })
    const { findings } = await folder.json<{ findings: { severity: string; area: string; what: string }[] }>(0, 'doctor')
    expect(findings.filter(({ area, severity }) => area === 'database' && severity === 'error')).toEqual([])
    for (const [args, what] of [
      [['replay', '--task', 'item', '--into', 'items_again', '--from', 'earliest'], /permission denied for schema public/],
      [['tune', '--quick'], /grant create on database/],
    ] as const) {
      const { code, stderr } = await folder.run(...args)
      expect([code, stderr]).toEqual([78, expect.stringMatching(what)])
    }
    await ask(database.url, 'revoke insert on items from public')
    await ask(database.url, `revoke insert on items from ${role}`)
    const said = /does not let this role INSERT the column "source_partition"; GRANT INSERT ON items to it/
    await expect(startNode(itemsPipeline({ topic }), { url })).rejects.toMatchObject({
      code: 'FB_CATALOGUE',
      message: expect.stringMatching(said),
    })
    const after = await folder.json<typeof findings extends infer T ? { findings: T } : never>(1, 'doctor')
    expect(after.findings).toContainEqual(expect.objectContaining({ severity: 'error', what: expect.stringMatching(said) }))
  })
})

describe('a ledger that is damaged under a running node', () => {
  let database: TestDatabase
  let feed: Feed
  beforeAll(async () => {
    database = await createTestDatabase()
    await createItemTables(database.url)
    feed = await postgresFeed(database.url, topic)
  })
  afterAll(async () => {
    await feed?.[Symbol.asyncDispose]()
    await database?.drop()
  })

  it('halts its partitions and blocks its tasks while a table is away, tells why, and goes on when it is back', async () => {
    await using node = await startNode(itemsPipeline({ topic }), { url: database.url })
    await feed.publish(0, itemValues(0, 20))
    await floorsReachEnd(database.url, feed.events)
    await ask(database.url, 'alter table forebay.floors rename to floors_away')
    await feed.publish(0, itemValues(0, 20))
    const seen = async () => {
      const { partitions, tasks, isReady, reasons } = await node.status()
      return [
        partitions.find(({ partition }) => partition === 0)?.haltedReason,
        tasks.find(({ task }) => task === 'item')?.blockedReason,
        isReady,
        reasons.join(),
      ]
    }
    await expect
      .poll(seen, { timeout: 15_000 })
      .toEqual([
        expect.stringMatching(/floors.*does not exist/),
        expect.stringMatching(/floors.*does not exist/),
        false,
        expect.stringMatching(/task item: .*floors.*does not exist/),
      ])
    await ask(database.url, 'alter table forebay.floors_away rename to floors')
    await floorsReachEnd(database.url, feed.events)
    await expect.poll(async () => (await node.status()).isReady, { timeout: 15_000 }).toBe(true)
    expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
    await node.stop()
  })

  it('stops the node when a floor is gone, and says whose', async () => {
    await using node = await startNode(itemsPipeline({ topic }), { url: database.url })
    await feed.publish(0, itemValues(0, 5))
    await floorsReachEnd(database.url, feed.events)
    await ask(database.url, 'delete from forebay.floors where partition = 0')
    await feed.publish(0, itemValues(0, 5))
    await expect(node.ended).resolves.toMatchObject({
      code: 'FB_DATABASE_WRONG',
      message: expect.stringMatching(/"items" has no partition 0/),
    })
  })
})
