/**
 * What a failure of Postgres means for forebay: the SQLSTATE decides the code, and with it the retry policy.
 */
import pg from 'pg'
import { databaseRefusal, databaseTlsRefusal } from './database-refusal.ts'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import { sqlStateMeaning } from './sql-states.ts'

/**
 * Another connection may help: a standby or a primary that became one (it says 25006, or 0A000 at BEGIN), and prepared statements
 * that no longer fit a table (0A000), or are not there because a pooler changed the connection.
 */
const staleStates: readonly string[] = ['25006', '0A000', '26000', '42P05']

/** Whether the connection on which `error` was raised cannot be used again, so that a COMMIT on it has an unknown outcome. */
export function isConnectionLost(error: unknown): boolean {
  if (isForebayError(error)) return error.cause !== undefined && isConnectionLost(error.cause)
  if (!(error instanceof pg.DatabaseError)) return true
  const state = error.code ?? ''
  const isEnded = error.severity === 'FATAL' || error.severity === 'PANIC'
  return isEnded || staleStates.includes(state) || state.startsWith('08') || state.startsWith('57P')
}

/**
 * `error` as a ForebayError; one that is none yet gets its code from its SQLSTATE (`database/sql-states.ts`), and anything without one (a
 * broken socket, a timeout) is FB_DATABASE_UNREACHABLE. `doing` completes "Postgres failed while …".
 */
export function databaseError(error: unknown, doing: string): ForebayError {
  if (isForebayError(error)) return error
  const tls = databaseTlsRefusal(error, doing)
  if (tls !== undefined) return tls
  if (!(error instanceof pg.DatabaseError)) {
    return new ForebayError('FB_DATABASE_UNREACHABLE', `Postgres did not answer while ${doing}: ${sentenceOf(error)}`, { cause: error })
  }
  const refusal = databaseRefusal(error, doing, describe(error))
  if (refusal !== undefined) return refusal
  const { code } = sqlStateMeaning(error.code ?? '', error.constraint)
  return new ForebayError(code, failureSentence(error, doing), { cause: error })
}

/** What Postgres says of a failure: of an error, or of one that a block of code caught. */
export interface Said {
  readonly code: string
  readonly message: string
  readonly detail: string
  readonly hint: string
  readonly constraint: string
}

/** The sentence of `databaseError`, of a failure that refuses nobody. */
export function failureSentence(said: { readonly [Part in keyof Said]?: Said[Part] | undefined }, doing: string): string {
  const { remedy } = sqlStateMeaning(said.code ?? '', said.constraint)
  return `Postgres failed while ${doing}: ${describe(said)}${remedy === undefined ? '' : `; ${remedy}`}`
}

function describe(said: { readonly [Part in keyof Said | 'where']?: string | undefined }): string {
  const where = said.where?.split('\n')[0]
  const parts = [said.message, said.detail, where, said.hint].filter((part) => part)
  return `${parts.join('; ')} (SQLSTATE ${said.code ?? 'unknown'})`
}
