import type { Sink } from 'forebay'

/** Rows of a table, written by SQL of one's own in the transaction of the flush: every job exactly once. */
export function auditTable(): Sink<{ readonly key: string; readonly n: number }> {
  return {
    kind: 'audit-table',
    label: 'table audit',
    delivery: 'exactly-once',
    open: () => ({
      async write({ sql }, batch) {
        const rows = JSON.stringify([...batch].map(({ id, row }) => ({ id, ...(row as object) })))
        await sql`insert into audit (id, key, n)
          select id, upper(key), n from jsonb_to_recordset(${rows}::jsonb) as row (id text, key text, n int)`
      },
    }),
  }
}
