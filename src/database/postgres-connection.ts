/**
 * What every connection to the ledger's database is, before anybody uses it: bounded by timeouts, of a database that holds any text,
 * and ours alone for as long as it lasts.
 *
 * A pooler in between may lend a connection for one transaction only. Then what belongs to a session is lost or somebody else's:
 * timeouts, prepared statements, the locks of commands, replays and cron tasks. It is recognised by the server's process: a pooler invents the process
 * number that it tells at login, and when a second connection holds a transaction, the first is given another process, or shares one.
 */
import pg from 'pg'
import { ForebayError } from '../errors.ts'

export interface ConnectionTimeouts {
  /** Longest single statement, a COPY included. */
  readonly statementTimeoutMs: number
  readonly lockTimeoutMs: number
  readonly idleInTransactionTimeoutMs: number
}

/** Connections that hold a transaction while the first is asked again, so often each time: a busy pooler may deal it the same one twice. */
const holders = 3
const looks = 20
const protocolViolation = '08P01'

/** The server's process behind a connection, as it was at its start. */
const processes = new WeakMap<pg.ClientBase, number>()

/**
 * Sets a new connection up. `connect` makes another one, to find out about a pooler; it is not called where there is none.
 * Throws FB_DATABASE_REFUSED for a pooler that changes connections between transactions, and for a database that is not in UTF-8.
 */
export async function setUpConnection(
  client: pg.ClientBase,
  { statementTimeoutMs, lockTimeoutMs, idleInTransactionTimeoutMs }: ConnectionTimeouts,
  connect: () => Promise<pg.Client>,
): Promise<void> {
  // Not as parameters of the login: poolers refuse those.
  const results = (await client.query(
    `set statement_timeout = ${statementTimeoutMs}; set lock_timeout = ${lockTimeoutMs};
     set idle_in_transaction_session_timeout = ${idleInTransactionTimeoutMs};
     select pg_backend_pid() as process, current_setting('server_encoding') as encoding, current_database() as database`,
  )) as unknown as pg.QueryResult<{ process: number; encoding: string; database: string }>[]
  const { process, encoding, database } = results.at(-1)!.rows[0]!
  if (encoding !== 'UTF8') throw notUnicode(database, encoding)
  processes.set(client, process)
  const told = (client as { processID?: unknown }).processID
  if (told !== process && (await isShared(client, process, connect))) throw sharedConnection()
}

/** A connection of its own, whose loss between two statements is told by the next. Throws what pg throws. */
export async function connectClient(connection: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(connection)
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch (error) {
    await client.end().catch(() => undefined)
    throw error
  }
}

/** Throws FB_DATABASE_REFUSED when `process`, read in a transaction of `client`, is not the one that it began with. */
export function checkProcess(client: pg.ClientBase, process: number): void {
  const before = processes.get(client)
  if (before !== undefined && before !== process) throw sharedConnection()
}

async function isShared(client: pg.ClientBase, process: number, connect: () => Promise<pg.Client>): Promise<boolean> {
  const others: pg.Client[] = []
  try {
    for (let i = 0; i < holders; i++) {
      const other = await connect()
      others.push(other)
      await other.query('begin')
      if ((await processOf(other)) === process) return true
      for (let look = 0; look < looks; look++) if ((await processOf(client)) !== process) return true
    }
    return false
  } catch (error) {
    // A pooler that lends a connection for one statement lets nobody begin a transaction.
    if (error instanceof pg.DatabaseError && error.code === protocolViolation) return true
    throw error
  } finally {
    await Promise.all(others.map((other) => other.end().catch(() => undefined)))
  }
}

async function processOf(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ process: number }>('select pg_backend_pid() as process')
  return rows[0]!.process
}

function sharedConnection(): ForebayError {
  return new ForebayError(
    'FB_DATABASE_REFUSED',
    'Between this program and Postgres stands a pooler that changes the connection from one transaction to the next, so that locks, timeouts and prepared statements are lost; let it keep a connection for a whole session (pgbouncer: pool_mode = session), or name the server itself in database.url.',
  )
}

function notUnicode(database: string, encoding: string): ForebayError {
  return new ForebayError(
    'FB_DATABASE_REFUSED',
    `Database "${database}" keeps text in ${encoding}, which cannot hold every character of an event, nor of its dead letter; create one with ENCODING 'UTF8' TEMPLATE template0 and name it in database.url.`,
  )
}
