import { ForebayError } from './errors.ts'
import type { ErrorCode } from './errors.ts'

/** By SQLSTATE, five characters or the class: the code, and what to do. */
const refusals: Readonly<Record<string, readonly [code: ErrorCode, remedy: string]>> = {
  '28': ['FB_DATABASE_REFUSED', 'correct the user or the password of database.url, or let that user in (pg_hba.conf)'],
  '3D000': ['FB_DATABASE_REFUSED', 'create the database, or correct its name in database.url'],
  '42501': ['FB_DATABASE_REFUSED', 'grant the user of database.url what is missing'],
  '53300': ['FB_DATABASE_FULL', 'raise the max_connections of the server, or lower database.poolMax of the nodes'],
}

/**
 * FB_DATABASE_REFUSED or FB_DATABASE_FULL when Postgres answered, but let this user, or one more connection, not in; undefined for
 * any other failure. `described` is what Postgres said, `doing` completes "Postgres refused …".
 */
export function databaseRefusal(error: unknown, doing: string, described: string): ForebayError | undefined {
  const state = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined
  if (typeof state !== 'string') return undefined
  const refusal = refusals[state] ?? refusals[state.slice(0, 2)]
  if (refusal === undefined) return undefined
  const [code, remedy] = refusal
  const what = code === 'FB_DATABASE_FULL' ? 'had no connection left for' : 'refused'
  return new ForebayError(code, `Postgres ${what} ${doing}: ${described}; ${remedy}.`, { cause: error })
}
