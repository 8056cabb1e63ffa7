import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { columnTypes, isSeenTo, parseColumnType, scalarTypes, typeText } from '../../src/sinks/postgres-table/column-types.ts'
import type { MergeMode, ScalarType } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { planTable } from '../../src/sinks/postgres-table/table-plan.ts'

/** A declaration of each type, as the documentation names it. */
const nameOf = (type: ScalarType) => ({ varchar: 'varchar(n)', enum: 'enum(a|b)' })[type as string] ?? type
const declared = (type: ScalarType) => nameOf(type).replace('(n)', '(9)') as 'int'

function hasMode(type: ScalarType, merge: MergeMode): boolean {
  try {
    planTable({ table: 't', columns: { k: 'int', c: declared(type) }, upsertOn: ['k'], merge: { c: merge } })
    return true
  } catch {
    return false
  }
}

describe('the table of column types', () => {
  it('is the one in the README', () => {
    const rows = scalarTypes.map((type) => {
      const { aliases, held, value, note, isKey } = columnTypes[type]
      const names = [nameOf(type), ...aliases].map((name) => `\`${name}\``).join(', ')
      const uses = [
        isKey ? 'key' : '',
        hasMode(type, 'min') ? 'min, max' : '',
        hasMode(type, 'add') ? 'add' : hasMode(type, 'add-approximate') ? 'add-approximate' : '',
      ]
      return [names, held.join(', '), value, note, uses.filter((use) => use !== '').join(', ')]
        .join(' | ')
        .replaceAll(/(?<=\w)\|(?=\w)/g, '\\|')
    })
    const text = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8')
    const lines = [
      '| type | column of the table | value | what it takes | key, merge modes |',
      '|---|---|---|---|---|',
      ...rows.map((row) => `| ${row} |`),
    ]
    expect(text).toContain(lines.join('\n'))
  })

  it('names every type once, and holds it in a type of its own', () => {
    const names = scalarTypes.flatMap((type) => [type, ...columnTypes[type].aliases])
    expect(new Set(names).size).toBe(names.length)
    const advised = scalarTypes.filter((type) => !['varchar', 'json'].includes(type)).map((type) => columnTypes[type].held[0])
    expect(new Set(advised).size).toBe(advised.length)
  })
})

describe('a declared type', () => {
  it.each([
    ['int', 'int', false],
    ['int4[]?', 'int[]', true],
    ['varchar(40)', 'varchar(40)', false],
    ['numeric(12,2)[][]', 'numeric(12,2)[][]', false],
    ['numeric(12, 2)', 'numeric(12,2)', false],
    ['decimal(5)?', 'numeric(5)', true],
    ['enum(open|on hold)?', 'enum(open|on hold)', true],
    ['enum(a?[]|b)c))?', 'enum(a?[]|b)c))', true],
    ['timestamptz(3)', 'timestamptz(3)', false],
  ])('%s is %s', (text, name, isNullable) => {
    const shape = parseColumnType(text)!
    expect([typeText(shape), shape.isNullable]).toEqual([name, isNullable])
  })

  it.each([
    '',
    '?',
    'string',
    'varchar',
    'varchar(0)',
    'varchar(-1)',
    'varchar(a)',
    'int(4)',
    'numeric(0)',
    'numeric(2,3)',
    'numeric(1,2,3)',
    'time(7)',
    'enum',
    'enum()',
    'enum(a||b)',
    'enum(a|a)',
    'int[][][]',
    'int?[]',
    'int []',
    'constructor',
  ])('%j is none', (text) => {
    expect(parseColumnType(text)).toBeUndefined()
  })

  it('is known to be safe in columns that take all of it', () => {
    const of = (text: string) => parseColumnType(text)!
    expect(isSeenTo(of('int'), 'bigint')).toBe(true)
    expect(isSeenTo(of('int[]'), 'bigint[]')).toBe(true)
    expect(isSeenTo(of('int[]'), 'bigint')).toBe(false)
    expect(isSeenTo(of('text'), 'character varying(3)')).toBe(false)
    expect(isSeenTo(of('timestamp'), 'timestamp(3) without time zone')).toBe(true)
    expect(isSeenTo(of('enum(a|b)'), 'mood')).toBe(false)
    expect(isSeenTo(of('bigint'), 'positive')).toBe(false)
  })
})
