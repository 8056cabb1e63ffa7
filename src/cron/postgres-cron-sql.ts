/**
 * The statements of one cron run: in its transaction, one at a time, and only while the run lasts.
 */
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import type { Sql } from '../pipeline/pipeline.ts'

export interface CronSql {
  readonly sql: Sql
  /** Later statements throw: they would land in somebody else's transaction. */
  close(): void
}

/** `timeoutMs`: how long the client waits for one statement. */
export function openCronSql(client: pg.ClientBase, timeoutMs: number): CronSql {
  let isOpen = true
  const ask = async (text: string, values: readonly unknown[]) => {
    if (!isOpen) throw new ForebayError('FB_BAD_JOB', 'sql is used after its cron run has ended: await every statement')
    refuseTransactionWords(text)
    // The extended protocol takes one statement only, so none can hide behind another.
    const result = await client.query<pg.QueryResultRow>({
      text,
      values: [...values],
      queryMode: 'extended',
      query_timeout: timeoutMs,
    } as pg.QueryConfig)
    return result.rows
  }
  const sql = (text: TemplateStringsArray | string, ...rest: unknown[]) => {
    const rows = typeof text === 'string' ? ask(text, (rest[0] ?? []) as unknown[]) : ask(numbered(text), rest)
    // A statement that nobody awaits fails the run at its end; it must not end the process.
    rows.catch(() => undefined)
    return rows
  }
  return { sql: sql as Sql, close: () => void (isOpen = false) }
}

/** The parts of a template with `$1`, `$2` … between them. */
function numbered(parts: readonly string[]): string {
  return parts.reduce((text, part, i) => `${text}$${i}${part}`)
}

const leadingComments = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/
const endsTransaction =
  /^(?:begin|start\s+transaction|commit|end|abort|rollback(?!\s+(?:work\s+|transaction\s+)?to\b)|prepare\s+transaction)\b/i

function refuseTransactionWords(text: string): void {
  const [word] = endsTransaction.exec(text.replace(leadingComments, '')) ?? []
  if (word === undefined) return
  throw new ForebayError(
    'FB_BAD_JOB',
    `a cron run is one transaction of its own, which "${word.toLowerCase()}" would begin or end: leave it out, and throw to roll back`,
  )
}
