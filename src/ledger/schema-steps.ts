/**
 * The tables of the ledger, in the order in which they came to be: `migrations/0001.sql` and so on. Everything is in the schema `forebay`;
 * what else the database holds belongs to the user.
 *
 * **To add a table or a column, add the next file.** Its first line says for people what it brings; its number is the version of the schema
 * that it makes of the one before, so `schemaVersion`, the upgrade of older ledgers and new ledgers follow by themselves.
 *
 * A file that is on main never changes (`test/ledger/schema.test.ts` knows their sums): other ledgers have gone through it. It only adds,
 * since nodes of the release before may still run: a column is nullable or has a constant default, nothing is renamed, dropped or
 * rewritten. No parameters, no BEGIN: all missing files run in one transaction under the schema's lock.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { ForebayError } from '../errors.ts'

export interface SchemaStep {
  /** Completes "it brings …". */
  readonly brings: string
  readonly sql: string
}

const folder = new URL('./migrations/', import.meta.url)
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.sql'))
  .toSorted()

/** Step n makes a ledger of version n of one of version n - 1. */
export const schemaSteps: readonly SchemaStep[] = files.map((name, index) => {
  const [, brings, sql] = /^-- brings (.+)\n([^]+)$/.exec(readFileSync(new URL(name, folder), 'utf8')) ?? []
  if (brings === undefined || sql === undefined || name !== `${String(index + 1).padStart(4, '0')}.sql`)
    throw new ForebayError('FB_INTERNAL', `Migration ${name} is out of order, or its first line does not say what it brings.`)
  return { brings, sql: sql.trim() }
})

/** A ledger of a higher version was made by a newer forebay and is left alone. */
export const schemaVersion = schemaSteps.length
