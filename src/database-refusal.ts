import { ForebayError } from './errors.ts'
import { sqlStateMeaning } from './sql-states.ts'

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
