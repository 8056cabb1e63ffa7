import { schemaSql } from '../../src/ledger/schema-sql.ts'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { schemaSteps, schemaVersion } from '../../src/ledger/schema-steps.ts'

// Add the sum of a new step; never change one: ledgers in the field have gone through these very statements.
const sums = ['27ce257ea0008386', '01e9168c78e65420', '3aa38166750f3e5e', '4e76ecddee7af4d8', '7cb388010617e578', '1b3922cd1f5281e5']

describe('the migrations of the schema', () => {
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
