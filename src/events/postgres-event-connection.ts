import pg from 'pg'
import { databaseRefusal, databaseTlsRefusal } from '../database/database-refusal.ts'
import { databaseConnection } from '../database/database-url.ts'
import { ForebayError, sentenceOf } from '../errors.ts'

/** Where the database of an event log is. */
export interface PostgresEventDatabase {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string
  /** Most connections of the pool. Default 4. */
  readonly connectionsMax?: number
}

const connectTimeoutMs = 5_000
const statementTimeoutMs = 15_000
const undefinedTable = '42P01'
const undefinedSchema = '3F000'

/** How every connection of an event log is set up: no statement may last for ever, on either side. */
export function connectionSettings(url: string): pg.ClientConfig {
  return {
    ...databaseConnection(url),
    application_name: 'forebay event log',
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: statementTimeoutMs + 2_000,
    keepAlive: true,
  }
}

export function eventPool(database: PostgresEventDatabase): pg.Pool {
  const pool = new pg.Pool({
    ...connectionSettings(database.url),
    max: database.connectionsMax ?? 4,
    // Not as parameters of the login: poolers refuse those.
    // The pool waits for it, though its types do not say so.
    // oxlint-disable-next-line typescript/no-misused-promises
    onConnect: async (client) => {
      await client.query(
        `set statement_timeout = ${statementTimeoutMs}; set lock_timeout = ${statementTimeoutMs}; set idle_in_transaction_session_timeout = ${statementTimeoutMs}`,
      )
    },
  })
  // A lost idle connection is replaced at the next query, which tells of any lasting trouble.
  pool.on('error', () => undefined)
  return pool
}

/**
 * A database failure as forebay's: FB_TOPIC_MISSING when the tables are not there, FB_DATABASE_REFUSED or FB_DATABASE_FULL when it
 * lets nobody in, FB_EVENT_LOG_UNREACHABLE otherwise.
 */
export function postgresFailure(error: unknown, doing: string): ForebayError {
  if (error instanceof ForebayError) return error
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined
  if (code === undefinedTable || code === undefinedSchema) {
    return new ForebayError('FB_TOPIC_MISSING', `the database has no event log yet (${doing}); create the topic first`, { cause: error })
  }
  const tls = databaseTlsRefusal(error, doing)
  if (tls !== undefined) return tls
  const refusal = databaseRefusal(error, doing, `${sentenceOf(error)} (SQLSTATE ${String(code)})`)
  if (refusal !== undefined) return refusal
  return new ForebayError(
    'FB_EVENT_LOG_UNREACHABLE',
    `the event log's database failed while ${doing}: ${sentenceOf(error)}; check that it runs`,
    {
      cause: error,
    },
  )
}
