/**
 * A small pool of connections to Postgres, for the ledger and for whoever checks a table at start.
 *
 * Every connection carries timeouts on both sides: the server ends a statement, a wait for a lock and an idle transaction; the
 * client gives up on a server that no longer answers. A connection that broke is destroyed, never handed out again, and
 * its error never reaches the process.
 */
import pg from 'pg'
import { databaseConnection } from './database-url.ts'
import { connectClient, setUpConnection } from './postgres-connection.ts'
import type { ConnectionTimeouts } from './postgres-connection.ts'
import { databaseError, isConnectionLost } from './postgres-error.ts'

export interface PostgresPoolOptions extends ConnectionTimeouts {
  readonly url: string
  /** Shown in pg_stat_activity. */
  readonly applicationName: string
  /** Connections at most; a caller beyond them waits up to `connectTimeoutMs`. */
  readonly connectionsMax: number
  readonly connectTimeoutMs: number
}

/** How much longer than the server the client waits before it takes the server for dead. */
const silenceGraceMs = 2_000
const endTimeoutMs = 5_000

export class PostgresPool {
  readonly #pool: pg.Pool
  #isEnded = false

  constructor(options: PostgresPoolOptions) {
    const connection: pg.ClientConfig = {
      ...databaseConnection(options.url),
      application_name: options.applicationName,
      connectionTimeoutMillis: options.connectTimeoutMs,
      keepAlive: true,
      query_timeout: options.statementTimeoutMs + silenceGraceMs,
    }
    this.#pool = new pg.Pool({
      ...connection,
      max: options.connectionsMax,
      idleTimeoutMillis: 60_000,
      // The pool waits for it, though its types do not say so.
      // oxlint-disable-next-line typescript/no-misused-promises
      onConnect: (client) => setUpConnection(client, options, () => connectClient(connection)),
    })
    // A connection lost between two statements has nobody else to tell: the next statement on it fails and says so.
    this.#pool.on('error', ignore)
    this.#pool.on('connect', (client) => client.on('error', ignore))
  }

  /**
   * Lends a connection to `body`. When `body` throws, an open transaction is rolled back, and a broken connection destroyed.
   * Throws what `body` threw, as a ForebayError whose sentence says that it was met while `doing`.
   */
  async use<T>(doing: string, body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#connect(doing)
    try {
      const result = await body(client)
      client.release()
      return result
    } catch (error) {
      await giveBack(client, error)
      throw databaseError(error, doing)
    }
  }

  async #connect(doing: string): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect()
    } catch (error) {
      throw databaseError(error, doing)
    }
  }

  /** Waits for connections that are in use, but not for ever. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isEnded) return
    this.#isEnded = true
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, endTimeoutMs)
    })
    await Promise.race([this.#pool.end().catch(ignore), timeout])
    clearTimeout(timer)
  }
}

async function giveBack(client: pg.PoolClient, error: unknown): Promise<void> {
  if (isConnectionLost(error)) return client.release(true)
  try {
    await client.query('rollback')
    client.release()
  } catch {
    client.release(true)
  }
}

function ignore(): void {}
