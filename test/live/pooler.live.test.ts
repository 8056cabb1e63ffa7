/** Databases that are not as the ledger needs them: behind a pooler, or not in UTF-8. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectClient, setUpConnection, checkProcess } from '../../src/database/postgres-connection.ts'
import { PostgresSession, sessionLock } from '../../src/ledger/postgres-session.ts'
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
import { startPooler } from '../support/test-pooler.ts'

const topic = 'pooled'
const refused = {
  code: 'FB_DATABASE_REFUSED',
  exitCode: 78,
  message: expect.stringMatching(/pooler that changes the connection.*pool_mode = session/),
}
let database: TestDatabase
let feed: Feed

beforeAll(async () => {
  database = await createTestDatabase()
  feed = await postgresFeed(database.url, topic)
})
afterAll(async () => {
  await feed?.[Symbol.asyncDispose]()
  await database?.drop()
})

describe('a pooler', () => {
  it('that lends connections for a transaction is recognised, by nodes and commands, also while others use it', async () => {
    await using pooler = await startPooler(database.url, 'transaction')
    const others = await Promise.all(Array.from({ length: 4 }, () => connectClient({ connectionString: pooler.url })))
    let isOver = false
    const busy = others.map(async (client) => {
      while (!isOver) await client.query('select pg_sleep(0.001)')
    })
    try {
      for (let i = 0; i < 3; i++) {
        await using pool = testPool(pooler.url)
        await expect(pool.use('asking', (client) => client.query('select 1'))).rejects.toMatchObject(refused)
      }
      await using session = new PostgresSession({
        url: pooler.url,
        applicationName: 'forebay-test',
        statementTimeoutMs: 5000,
        lockTimeoutMs: 1000,
        lock: { key: sessionLock('pooler'), busy: 'busy' },
      })
      await expect(session.open('asking')).rejects.toMatchObject(refused)
    } finally {
      isOver = true
      await Promise.allSettled(busy)
      await Promise.all(others.map((client) => client.end().catch(() => undefined)))
    }
    await expect(startNode(itemsPipeline({ topic }), { url: pooler.url })).rejects.toMatchObject(refused)
    using folder = commandFolder({ topic }, { url: pooler.url })
    const { code, stdout } = await folder.run('doctor')
    expect([code, stdout]).toEqual([1, expect.stringMatching(/database: .*pooler that changes the connection/)])
  })

  it('that keeps a connection for a session works: timeouts hold, and a node applies everything once', async () => {
    await createItemTables(database.url)
    await using pooler = await startPooler(database.url, 'session')
    await using pool = testPool(pooler.url)
    const shown = await pool.use('asking', (client) =>
      client.query(
        `select array[current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')] as set`,
      ),
    )
    expect(shown.rows).toEqual([{ set: ['10s', '5s', '10s'] }])
    await using node = await startNode(itemsPipeline({ topic }), { url: pooler.url })
    await feed.publish(0, itemValues(0, 100))
    await floorsReachEnd(database.url, feed.events)
    expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
    await node.stop()
  })

  it('that changes connections later is noticed by the process of the server', async () => {
    const client = await connectClient({ connectionString: database.url })
    const another = () => Promise.reject(new Error('nobody stands between'))
    try {
      await setUpConnection(client, { statementTimeoutMs: 1000, lockTimeoutMs: 1000, idleInTransactionTimeoutMs: 1000 }, another)
      const { rows } = await client.query<{ process: number }>('select pg_backend_pid() as process')
      expect(() => checkProcess(client, rows[0]!.process)).not.toThrow()
      expect(() => checkProcess(client, rows[0]!.process + 1)).toThrow(expect.objectContaining(refused))
    } finally {
      await client.end()
    }
  })
})

describe('a database that is not in UTF-8', () => {
  it.each(['LATIN1', 'SQL_ASCII'])('%s is refused by start and doctor, before a dead letter could not be written', async (encoding) => {
    const name = `odd_${randomUUID().slice(0, 8)}`
    await ask(database.url, `create database ${name} encoding '${encoding}' locale 'C' template template0`)
    const url = new URL(database.url)
    url.pathname = `/${name}`
    const said = new RegExp(`Database "${name}" keeps text in ${encoding}.*ENCODING 'UTF8'`)
    try {
      await using _ = await postgresFeed(url.href, topic)
      await expect(startNode(itemsPipeline({ topic }), { url: url.href })).rejects.toMatchObject({
        code: 'FB_DATABASE_REFUSED',
        message: expect.stringMatching(said),
      })
      using folder = commandFolder({ topic }, { url: url.href })
      expect((await folder.run('doctor')).stdout).toMatch(said)
    } finally {
      await ask(database.url, `drop database ${name} with (force)`)
    }
  })
})
