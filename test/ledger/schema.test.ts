import { schemaSql } from '../../src/ledger/schema-sql.ts'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { schemaSteps, schemaVersion } from '../../src/ledger/schema-steps.ts'

// Add the sum of a new step; never change one: ledgers in the field have gone through these very statements.
const sums = ['287cf102901a7b93', 'ea1dbd55e326b706', '2ee986d9e82356c7', '801c0ac1f57244f5', '1d13c0c2798405a3', 'ee401c05f2bc9e67']

describe('the steps of the schema', () => {
  it('never change once they are out', () => {
    expect(schemaSteps.map(({ sql }) => createHash('sha256').update(sql).digest('hex').slice(0, 16))).toEqual(sums)
  })

  it('only add', () => {
    for (const { sql } of schemaSteps.slice(1)) expect(sql).not.toMatch(/\b(drop|rename|truncate|delete|alter column)\b/i)
  })

  it('are printed as one transaction that ends at the newest version', () => {
    const sql = schemaSql(1, 'an "app"')
    expect(sql.startsWith('begin;\nselect pg_advisory_xact_lock(')).toBe(true)
    expect(sql).not.toContain('create schema')
    expect(sql).toContain(`set schema_version = ${schemaVersion};`)
    expect(sql).toContain('to "an ""app""";')
    expect(sql.endsWith('commit;\n')).toBe(true)
  })
})
