/** A database of its own for a test file, in the server whose URL the live set-up gives in FOREBAY_TEST_POSTGRES_URL. */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { PostgresPool } from '../../src/database/postgres-pool.ts'

export interface TestDatabase {
  readonly url: string
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  drop(): Promise<void>
}

/** `options`: of `create database`, such as its locale. */
export async function createTestDatabase(options = ''): Promise<TestDatabase> {
  const server = process.env['FOREBAY_TEST_POSTGRES_URL']
  if (server === undefined) throw new Error('FOREBAY_TEST_POSTGRES_URL is not set: the live set-up starts a Postgres and names it there')
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await once(server, `create database ${name} ${options}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  return {
    url: url.href,
    query: async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) => (await client.query<Row>(text, values)).rows,
    drop: async () => {
      await client.end()
      await once(server, `drop database ${name} with (force)`)
    },
  }
}

export function testPool(url: string, lockTimeoutMs = 5_000): PostgresPool {
  return new PostgresPool({
    url,
    applicationName: 'forebay-test',
    connectionsMax: 6,
    connectTimeoutMs: 5_000,
    statementTimeoutMs: 10_000,
    lockTimeoutMs,
    idleInTransactionTimeoutMs: 10_000,
  })
}

async function once(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
