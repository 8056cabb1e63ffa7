/** A node inside a process of one's own. */
import { resolve } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startNode } from '../../src/start-node.ts'
import { ConfigFolder } from '../support/commands.ts'
import {
  type Feed,
  createItemTables,
  differenceOf,
  floorsReachEnd,
  itemsPipeline,
  itemValues,
  noDifference,
  postgresFeed,
} from '../support/live-node.ts'
import { createTestDatabase, type TestDatabase } from '../support/postgres-database.ts'

const folder = new ConfigFolder()
let database: TestDatabase
let feed: Feed

beforeAll(async () => {
  database = await createTestDatabase()
  await createItemTables(database.url)
  feed = await postgresFeed(database.url, 'items')
})
afterAll(async () => {
  await feed?.[Symbol.asyncDispose]()
  await database?.drop()
  folder.remove()
})

const config = (pipeline?: string) =>
  folder.write('own', { url: database.url, grid: { mode: 'local' }, ...(pipeline === undefined ? {} : { pipeline }) })

it.each([
  ['the pipeline of the configuration', undefined],
  ['a pipeline that is handed over', itemsPipeline({ topic: 'items' })],
])('runs %s until its signal, and has flushed everything then', async (_what, pipeline) => {
  const stop = new AbortController()
  const node = await startNode({ config: config(), signal: stop.signal, ...(pipeline === undefined ? {} : { pipeline }) })
  expect(await (await fetch(`${node.url}/status`)).json()).toMatchObject({ pipeline: 'items' })
  expect(node.waitsFor).toBeUndefined()
  await feed.publish(0, itemValues(0, 50))
  await floorsReachEnd(database.url, feed.events)
  stop.abort()
  await node.done
  expect(await differenceOf(database.url, feed.events)).toEqual(noDifference)
})

it('throws what forbids the start, and leaves nothing running', async () => {
  const { signal } = new AbortController()
  const missing = resolve(folder.dir, 'nothing.ts')
  await expect(startNode({ config: config(missing), signal })).rejects.toMatchObject({ code: 'FB_PIPELINE' })
  await expect(startNode({ config: resolve(folder.dir, 'none.yaml'), signal })).rejects.toMatchObject({ code: 'FB_CONFIG' })
  await database.query('alter table items rename to moved')
  await expect(startNode({ config: config(), signal })).rejects.toMatchObject({ code: 'FB_CATALOGUE' })
  await database.query('alter table moved rename to items')
  await expect(startNode({ config: config(), signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow('stopped')
})
