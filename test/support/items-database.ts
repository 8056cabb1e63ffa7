/** What most live tests on items begin with: a database of their own with the tables of the items, and a feed into its event log. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { type PostgresFeed, createItemTables, postgresFeed } from './live-node.ts'
import { type TestDatabase, createTestDatabase } from './postgres-database.ts'

interface ItemsDatabase {
  readonly url: string
  readonly query: TestDatabase['query']
  readonly feed: PostgresFeed
}

interface Choice {
  /** Whether all tests of the file share it. Default: each has its own. */
  readonly isShared?: boolean
  /** Default 2. */
  readonly partitions?: number
  /** Events that the log keeps. Default: all. */
  readonly retentionEvents?: number
}

/** Registers hooks that make it before a test, or before all, and take it away after the hooks that are registered later. */
export function itemsDatabase(topic: string, { isShared = false, ...options }: Choice = {}): ItemsDatabase {
  let database: TestDatabase
  let feed: PostgresFeed
  const [before, after] = isShared ? [beforeAll, afterAll] : [beforeEach, afterEach]
  before(async () => {
    database = await createTestDatabase()
    await createItemTables(database.url)
    feed = await postgresFeed(database.url, topic, options)
  })
  after(async () => {
    await feed[Symbol.asyncDispose]()
    await database.drop()
  })
  return {
    get url() {
      return database.url
    },
    get query() {
      return database.query
    },
    get feed() {
      return feed
    },
  }
}
