/**
 * What a failure of Postgres means for forebay: the SQLSTATE decides the code, and with it the retry policy.
 */
import pg from 'pg'
import { databaseRefusal } from '../database-refusal.ts'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'

/** Exceptions of the table below: five characters win over two. */
const codeByState: Readonly<Record<string, ErrorCode>> = {
  '08': 'FB_DATABASE_UNREACHABLE',
  // A row met twice by one upsert, a trigger that raises, a check option, an index entry that is too large: the fault of some row.
  '21': 'FB_BAD_JOB',
  '22': 'FB_BAD_JOB',
  '23': 'FB_BAD_JOB',
  '44': 'FB_BAD_JOB',
  '54': 'FB_BAD_JOB',
  P0: 'FB_BAD_JOB',
  '25': 'FB_DATABASE_UNREACHABLE',
  // A statement failed, its failure was swallowed, and the transaction was used further.
  '25P02': 'FB_INTERNAL',
  '40': 'FB_DATABASE_UNREACHABLE',
  '53': 'FB_DATABASE_UNREACHABLE',
  '55P03': 'FB_DATABASE_UNREACHABLE',
  '57': 'FB_DATABASE_UNREACHABLE',
  '58': 'FB_DATABASE_UNREACHABLE',
  XX: 'FB_DATABASE_UNREACHABLE',
}

/** Read only: a standby, or a primary that became one; another connection may find the new primary. */
const readOnlyState = '25006'

/** Whether the connection on which `error` was raised cannot be used again, so that a COMMIT on it has an unknown outcome. */
export function isConnectionLost(error: unknown): boolean {
  if (isForebayError(error)) return error.cause !== undefined && isConnectionLost(error.cause)
  if (!(error instanceof pg.DatabaseError)) return true
  const state = error.code ?? ''
  return (
    error.severity === 'FATAL' || error.severity === 'PANIC' || state === readOnlyState || state.startsWith('08') || state.startsWith('57P')
  )
}

/**
 * `error` as a ForebayError; one that is none yet gets its code from its SQLSTATE, anything without one (a broken socket, a
 * timeout) is FB_DATABASE_UNREACHABLE, and an unknown state FB_SCHEMA: it stops the task instead of flooding dead letters.
 * `doing` completes "Postgres failed while …".
 */
export function databaseError(error: unknown, doing: string): ForebayError {
  if (isForebayError(error)) return error
  if (!(error instanceof pg.DatabaseError)) {
    return new ForebayError('FB_DATABASE_UNREACHABLE', `Postgres did not answer while ${doing}: ${sentenceOf(error)}`, { cause: error })
  }
  const refusal = databaseRefusal(error, doing, describe(error))
  if (refusal !== undefined) return refusal
  const state = error.code ?? ''
  const code = codeByState[state] ?? codeByState[state.slice(0, 2)] ?? 'FB_SCHEMA'
  return new ForebayError(code, `Postgres failed while ${doing}: ${describe(error)}`, { cause: error })
}

function describe(error: pg.DatabaseError): string {
  const parts = [error.message]
  if (error.detail) parts.push(error.detail)
  if (error.where) parts.push(error.where.split('\n')[0] ?? '')
  if (error.hint) parts.push(error.hint)
  return `${parts.join('; ')} (SQLSTATE ${error.code ?? 'unknown'})`
}
