/**
 * One connection for one operator's command, under a lock that lasts as long as the connection.
 *
 * States: *closed*, *open* (connected, the lock held). A connection that breaks takes its lock and its temporary tables with it;
 * the next use connects anew and takes the lock again, or finds that somebody else has it. Whatever the command writes
 * goes through this connection, so nothing is ever written without the lock.
 */
import { createHash } from 'node:crypto'
import pg from 'pg'
import { databaseConnection } from '../database/database-url.ts'
import { ForebayError, isForebayError } from '../errors.ts'
import { connectClient, setUpConnection } from '../database/postgres-connection.ts'
import { databaseError, isConnectionLost } from '../database/postgres-error.ts'
import { PostgresTransaction } from './postgres-transaction.ts'
import type { LetterOrigin } from './letter-lines.ts'

export interface PostgresSessionOptions {
  readonly url: string
  /** Shown in pg_stat_activity. */
  readonly applicationName: string
  readonly statementTimeoutMs: number
  readonly lockTimeoutMs: number
  readonly lock: {
    /** As `sessionLock` makes it. */
    readonly key: string
    /** Told to who comes second: what is under way, and what to do. */
    readonly busy: string
  }
  /** Commits before the disk has it: for work that is done again when it is forgotten. Default false. */
  readonly isLazy?: boolean
}

const connectTimeoutMs = 5_000
const silenceGraceMs = 2_000
const lockWaitMs = 3_000
const lockNotAvailable = '55P03'
const origin: LetterOrigin = { pipeline: '', epoch: 0, topic: '' }

/** Key of the advisory lock on `what`. */
export function sessionLock(what: string): string {
  return String(createHash('sha256').update(`forebay ${what}`).digest().readBigInt64BE())
}

export class PostgresSession implements AsyncDisposable {
  readonly #options: PostgresSessionOptions
  #client: pg.Client | undefined
  #isBroken = false
  #lives = 0

  /** Connects when first used. */
  constructor(options: PostgresSessionOptions) {
    this.#options = options
  }

  /** Counts connections: what was kept in temporary tables is gone when it has changed. */
  get lives(): number {
    return this.#lives
  }

  /** Connects and takes the lock if need be. Throws FB_FENCED when another process has it, FB_DATABASE_UNREACHABLE. */
  async open(doing: string): Promise<void> {
    await this.#opened(doing)
  }

  /** Lends the connection. Throws FB_FENCED when another process has the lock, and what `body` throws as a ForebayError. */
  async use<T>(doing: string, body: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    const client = await this.#opened(doing)
    try {
      return await body(client)
    } catch (error) {
      if (isLost(error)) this.#drop()
      else await client.query('rollback').catch(() => this.#drop())
      throw databaseError(error, doing)
    }
  }

  /** One transaction; `begin` are statements to follow BEGIN. An unknown outcome is FB_DATABASE_UNREACHABLE. */
  transact<T>(doing: string, body: (transaction: PostgresTransaction) => Promise<T>): Promise<T> {
    return this.use(doing, async (client) => {
      await client.query(
        `begin isolation level read committed read write;${this.#options.isLazy === true ? 'set local synchronous_commit = off;' : ''} set constraints all immediate`,
      )
      const transaction = new PostgresTransaction(client, origin, doing)
      try {
        const result = await body(transaction)
        transaction.close()
        await client.query('commit')
        return result
      } finally {
        transaction.close()
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => undefined)
  }

  async #opened(doing: string): Promise<pg.Client> {
    if (this.#client !== undefined && !this.#isBroken) return this.#client
    this.#drop()
    const { url, applicationName, statementTimeoutMs, lockTimeoutMs, lock } = this.#options
    const connection: pg.ClientConfig = {
      ...databaseConnection(url),
      application_name: applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: statementTimeoutMs + silenceGraceMs,
      keepAlive: true,
    }
    const client = new pg.Client(connection)
    client.on('error', () => {
      if (this.#client === client) this.#isBroken = true
    })
    try {
      await client.connect()
      const timeouts = { statementTimeoutMs, lockTimeoutMs, idleInTransactionTimeoutMs: 0 }
      await setUpConnection(client, timeouts, () => connectClient(connection))
      await takeLock(client, lock, lockTimeoutMs)
    } catch (error) {
      await client.end().catch(() => undefined)
      throw databaseError(error, doing)
    }
    this.#client = client
    this.#isBroken = false
    this.#lives++
    return client
  }

  #drop(): void {
    const client = this.#client
    this.#client = undefined
    // Its end is nobody's business: the server ends what the connection held.
    if (client !== undefined) void client.end().catch(() => undefined)
  }
}

/** Waits a moment: the server may not have noticed yet that the holder before was killed. */
async function takeLock(client: pg.Client, { key, busy }: PostgresSessionOptions['lock'], lockTimeoutMs: number): Promise<void> {
  await client.query(`set lock_timeout = ${lockWaitMs}`)
  try {
    await client.query('select pg_advisory_lock($1)', [key])
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === lockNotAvailable) throw new ForebayError('FB_FENCED', busy)
    throw error
  }
  await client.query(`set lock_timeout = ${lockTimeoutMs}`)
}

/** A ForebayError without a cause is the caller's own and says nothing about the connection. */
function isLost(error: unknown): boolean {
  if (isForebayError(error) && error.cause === undefined) return false
  return isConnectionLost(error)
}
