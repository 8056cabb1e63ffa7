import { ForebayError } from '../errors.ts'
import { sqlStateMeaning } from './sql-states.ts'
import { tlsRefusal } from './tls-refusal.ts'

/**
 * FB_DATABASE_REFUSED or FB_DATABASE_FULL when Postgres answered, but does not let this user do it, or has no room left; undefined
 * for any other failure. `described` is what Postgres said, `doing` completes "Postgres refused …".
 */
export function databaseRefusal(error: unknown, doing: string, described: string): ForebayError | undefined {
  const state = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined
  if (typeof state !== 'string') return undefined
  const { code, remedy } = sqlStateMeaning(state, undefined)
  if (code !== 'FB_DATABASE_REFUSED' && code !== 'FB_DATABASE_FULL') return undefined
  const what = code === 'FB_DATABASE_FULL' ? 'has no room left for' : 'refused'
  return new ForebayError(code, `Postgres ${what} ${doing}: ${described}; ${remedy}.`, { cause: error })
}

const tlsNames = {
  ca: 'sslrootcert in database.url',
  cert: 'sslcert and sslkey in database.url',
  name: 'the host of database.url',
  on: 'sslmode in database.url',
}
/** The one sentence of `pg` without a code: the server answered that it speaks no TLS. */
const noTls = 'The server does not support SSL connections'

/** FB_DATABASE_TLS when the database and this node do not agree on TLS; undefined for any other failure. */
export function databaseTlsRefusal(error: unknown, doing: string): ForebayError | undefined {
  const reason =
    error instanceof Error && error.message === noTls
      ? 'the server speaks no TLS; take away sslmode in database.url, or switch ssl on in the server'
      : tlsRefusal(error, tlsNames)
  if (reason === undefined) return undefined
  return new ForebayError('FB_DATABASE_TLS', `Postgres could not be connected to while ${doing}: ${reason}.`, { cause: error })
}
