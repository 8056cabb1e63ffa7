import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { errorCodes } from '../../src/errors.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import {
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
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'
import { StartCommand } from '../support/start-command.ts'

const topic = 'signalled'
const module = pathToFileURL(join(packageRoot, 'test/support/live-node.ts')).href
const pipeline = `import { itemsPipeline } from ${JSON.stringify(module)}\nexport default itemsPipeline({ topic: ${JSON.stringify(topic)} })\n`
/** What leaving without a drain ends with: others go on from the watermarks. */
const leftCode = errorCodes.FB_FENCED.exitCode

let database: TestDatabase
let feed: Feed
let locker: pg.Client
beforeEach(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  feed = await postgresFeed(database.url, topic)
  locker = new pg.Client({ connectionString: database.url })
  await locker.connect()
})
afterEach(async () => {
  await locker.end()
  await feed[Symbol.asyncDispose]()
  await database.drop()
})

/** A node whose flushes wait for a lock, so that it cannot drain. */
async function stuckNode(drain: string): Promise<StartCommand> {
  const command = new StartCommand({ url: database.url, pipeline, drain })
  await feed.publish(0, itemValues(0, 50))
  await feed.publish(1, itemValues(1, 50))
  await floorsReachEnd(database.url, feed.events)
  await locker.query('begin; lock table items in access exclusive mode')
  await feed.publish(0, itemValues(0, 50))
  await feed.publish(1, itemValues(1, 50))
  await expect
    .poll(
      async () =>
        (await database.query(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)).length,
      {
        timeout: 10_000,
      },
    )
    .toBeGreaterThan(0)
  return command
}

/** Another node goes on from the watermarks: every row once. */
async function nothingIsLost(): Promise<void> {
  await locker.query('rollback')
  await using node = await startNode(itemsPipeline({ topic }), { url: database.url })
  await floorsReachEnd(database.url, feed.events)
  await node.stop()
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
}

it('leaves at once at a second signal, with its exit code, and loses nothing', async () => {
  await using command = await stuckNode('60s')
  command.child.kill('SIGTERM')
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(command.child.exitCode).toBeNull()
  command.child.kill('SIGTERM')
  expect(await command.exited).toBe(leftCode)
  expect(command.stderr).toMatch(/second signal: leaving at once/)
  await nothingIsLost()
}, 60_000)

it('leaves when its clean stop takes longer than node.drain, with its exit code, and loses nothing', async () => {
  await using command = await stuckNode('1s')
  command.child.kill('SIGTERM')
  expect(await command.exited).toBe(leftCode)
  expect(command.stderr).toMatch(/longer than node.drain \(1s\)/)
  await nothingIsLost()
}, 60_000)
