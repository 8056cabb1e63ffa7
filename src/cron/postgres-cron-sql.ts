/**
 * The statements of one cron run: in its transaction, one at a time, and only while the run lasts.
 */
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import { sqlOf } from '../database/sql.ts'
import type { Sql } from '../database/sql.ts'

export interface CronSql {
  readonly sql: Sql
  /** Later statements throw: they would land in somebody else's transaction. */
  close(): void
}

/** `timeoutMs`: how long the client waits for one statement. */
export function openCronSql(client: pg.ClientBase, timeoutMs: number): CronSql {
  let isOpen = true
  const sql = sqlOf(async (text, values) => {
    if (!isOpen) throw new ForebayError('FB_BAD_JOB', 'sql is used after its cron run has ended: await every statement')
    const result = await client.query<pg.QueryResultRow>({
      text,
      values: [...values],
      queryMode: 'extended',
      query_timeout: timeoutMs,
    } as pg.QueryConfig)
    return result.rows
  })
  return { sql, close: () => void (isOpen = false) }
}
