import { describe, expect, it } from 'vitest'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { planTable, quotedTable } from '../../src/sinks/postgres-table/table-plan.ts'

const base = { table: 't', columns: { k: 'text', n: 'int', b: 'boolean' } } as const

describe('a table plan', () => {
  it('puts key columns first and merges what is not said by last', () => {
    const plan = planTable({ ...base, upsertOn: ['n'], merge: { b: 'first' } })
    expect(plan.columns.map(({ name, isKey, merge }) => [name, isKey, merge])).toEqual([
      ['n', true, 'last'],
      ['k', false, 'last'],
      ['b', false, 'first'],
    ])
  })

  it('finds rows again by what is declared, by the key, or by partition and offset of their event', () => {
    const position = { source_partition: 'int', source_offset: 'bigint' } as const
    expect(planTable(base).identity).toEqual([])
    expect(planTable({ ...base, identity: ['n'] }).identity).toEqual(['n'])
    expect(planTable({ ...base, upsertOn: ['k'] }).identity).toEqual(['k'])
    expect(planTable({ ...base, columns: { ...base.columns, ...position } }).identity).toEqual(['source_partition', 'source_offset'])
    expect(planTable({ ...base, columns: { ...position, source_offset: 'bigint?' } }).identity).toEqual([])
  })

  it('quotes a name whatever it holds', () => {
    expect(quotedTable(planTable({ ...base, table: 'My "own".Ta ble' }))).toBe('"My ""own"""."Ta ble"')
  })

  it.each<[string, Partial<Record<keyof PostgresTableDefinition, unknown>>]>([
    ['upsertOn names "z"', { upsertOn: ['z'] }],
    ['merge names "z"', { upsertOn: ['k'], merge: { z: 'last' } }],
    ['which is a key', { upsertOn: ['k'], merge: { k: 'last' } }],
    ['merge needs upsertOn', { merge: { n: 'add' } }],
    [
      'depends on how events fell into flushes; declare it numeric',
      { columns: { k: 'int', d: 'double' }, upsertOn: ['k'], merge: { d: 'add' } },
    ],
    ['merge mode "constructor"', { upsertOn: ['k'], merge: { n: 'constructor' as 'add' } }],
    ['does not fit its type numeric', { columns: { k: 'int', d: 'numeric' }, upsertOn: ['k'], merge: { d: 'add-approximate' } }],
    ['does not fit its type boolean', { upsertOn: ['k'], merge: { b: 'add' } }],
    ['none of first', { upsertOn: ['k'], merge: { b: 'sum' } }],
    ['must not be nullable', { columns: { k: 'text?', n: 'int' }, upsertOn: ['k'] }],
    ['key column "k" is double', { columns: { k: 'double' }, upsertOn: ['k'] }],
    ['has the type "float"', { columns: { k: 'float' } }],
    ['at least one column', { columns: {} }],
    ['at least one column', { upsertOn: [] }],
    ['twice', { upsertOn: ['k', 'k'] }],
    ['identity names "z"', { identity: ['z'] }],
    ['identity column "b" must not be nullable', { columns: { b: 'text?' }, identity: ['b'] }],
    ['identity column "d" is double', { columns: { d: 'double' }, identity: ['d'] }],
    ['identity names a column twice', { identity: ['k', 'k'] }],
    ['identity needs at least one', { identity: [] }],
    ['identity is for tables without upsertOn', { upsertOn: ['k'], identity: ['k'] }],
    ['schema.table', { table: 'a.b.c' }],
    ['schema.table', { table: '' }],
  ])('refuses a definition: %s', (sentence, change) => {
    expect(() => planTable({ ...base, ...change } as PostgresTableDefinition)).toThrow(
      expect.objectContaining({ code: 'FB_PIPELINE', message: expect.stringContaining(sentence) }),
    )
  })
})
