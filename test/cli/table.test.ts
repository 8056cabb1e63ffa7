import { describe, expect, it } from 'vitest'
import { tableText } from '../../src/cli/table.ts'

const empty = { table: 't', columns: {}, optional: {}, unfit: [], notes: [], keys: [], problem: null }

describe('the text of a table', () => {
  it('is TypeScript that says the names and types as they are, whatever they hold', () => {
    const names = [
      'plain',
      '$1',
      'two words',
      "it's",
      'a"b',
      'back\\slash',
      'line\nbreak',
      '\u2028',
      '1st',
      '__proto__',
      'constructor',
      'é',
      '',
    ]
    const columns = Object.fromEntries(names.map((name, i) => [name, i % 2 === 0 ? `enum(${name}|x)` : 'int?']))
    const text = tableText({ ...empty, table: "it's\\\n", columns, keys: [["it's", '__proto__']] })
    const postgresTable = (table: string, options: { columns: object }) => ({ table, names: Object.entries(options.columns) })
    // oxlint-disable-next-line no-new-func
    const read = new Function('postgresTable', `return [${text}][0]`)(postgresTable) as ReturnType<typeof postgresTable>
    expect(read.table).toBe("it's\\\n")
    expect(new Map(read.names)).toEqual(new Map(Object.entries(columns)))
    expect(text).toContain("  // upsertOn: ['it\\'s', '__proto__'],\n")
  })

  it('keeps what is left out in comments of one line', () => {
    const text = tableText({ ...empty, unfit: [{ column: 'a\nb', type: 'x\ny', reason: 'no type' }], optional: { 'c\nd': 'int' } })
    expect(text.split('\n').filter((line) => !/^( *\/\/|postgresTable|  columns|  \}|\}\),|$)/.test(line))).toEqual([])
  })
})
