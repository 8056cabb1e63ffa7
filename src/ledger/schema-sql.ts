/** The SQL that brings the schema forebay up to date. */
import { schemaSteps } from './schema-steps.ts'
import pg from 'pg'

/** Any number that nobody else is likely to lock. */
export const schemaLock = '7020656002910148722'

export const lockSql = `select pg_advisory_xact_lock(${schemaLock})`

/** The SQL that brings a ledger of version `from` (0: none) to this forebay's, for whoever may run it; `grantee` may then use the tables. */
export function schemaSql(from: number, grantee?: string): string {
  const grants =
    grantee === undefined
      ? []
      : [
          `grant usage on schema forebay to ${pg.escapeIdentifier(grantee)}`,
          `grant select, insert, update, delete on all tables in schema forebay to ${pg.escapeIdentifier(grantee)}`,
        ]
  return `${['begin', lockSql, ...stepsAfter(from), ...grants, 'commit'].map((sql) => sql.trim().replace(/;$/, '')).join(';\n')};\n`
}

export function stepsAfter(version: number): string[] {
  return schemaSteps.slice(version).flatMap(({ sql }, i) => [sql, `update forebay.deployment set schema_version = ${version + i + 1}`])
}
