import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rowEncoder } from '../../src/sinks/postgres-table/row-encoder.ts'
import { RowMerger } from '../../src/sinks/postgres-table/merge.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { planTable } from '../../src/sinks/postgres-table/table-plan.ts'

function merged(definition: Omit<PostgresTableDefinition, 'kind' | 'table'>, jobs: readonly object[], rowsMax = 1000): (string | null)[][] {
  const { columns } = planTable({ table: 't', ...definition })
  const encode = rowEncoder('t', columns)
  const merger = new RowMerger(columns)
  const half = Math.floor(jobs.length / 2)
  for (const some of [jobs.slice(0, half), jobs.slice(half)]) merger.add(Buffer.from(some.map((job) => `${encode(job)}\n`).join('')))
  return [...merger.batches(rowsMax)].flatMap((batch) => batch[0]!.map((_, row) => batch.map((column) => column[row]!)))
}

describe('merging rows by key', () => {
  it('gives one row a key, sorted, whatever characters the keys hold', () => {
    const jobs = ['b\t', 'a\\', 'b\t', 'a\n', 'é'].map((k, n) => ({ k, n }))
    const rows = merged({ columns: { k: 'text', n: 'int' }, upsertOn: ['k'] }, jobs)
    expect(new Map(rows.map(([k, n]) => [k, n]))).toEqual(
      new Map([
        ['b\t', '2'],
        ['a\\', '1'],
        ['a\n', '3'],
        ['é', '4'],
      ]),
    )
    expect(merged({ columns: { k: 'text' }, upsertOn: ['k'] }, [{ k: 'z' }, { k: '' }, { k: 'z' }], 1)).toEqual([[''], ['z']])
  })

  it('keeps the first and the last job of the order they came in', () => {
    const jobs = [
      { k: 1, f: null, l: 'a' },
      { k: 1, f: 'x', l: 'b' },
      { k: 1, f: 'y', l: null },
    ]
    expect(merged({ columns: { k: 'int', f: 'text?', l: 'text?' }, upsertOn: ['k'], merge: { f: 'first' } }, jobs)).toEqual([
      ['1', 'x', null],
    ])
  })

  it('adds exactly where small numbers add up to more than a double holds', () => {
    const jobs = Array.from({ length: 11 }, () => ({ k: 1, n: 999_999_999_999_999 }))
    expect(merged({ columns: { k: 'int', n: 'bigint' }, upsertOn: ['k'], merge: { n: 'add' } }, jobs)).toEqual([['1', '10999999999999989']])
  })

  it('adds, and takes the least and the greatest, exactly as bigints do', () => {
    const value = fc.oneof(
      fc.bigInt(-(2n ** 62n), 2n ** 62n),
      fc.bigInt(-20n, 20n),
      fc.constantFrom(null, 999_999_999_999_999n, 9_007_199_254_740_991n),
    )
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 8 }), (values) => {
        const jobs = values.map((n) => ({ k: 't', a: n, b: n, c: n }))
        const rows = merged(
          { columns: { k: 'text', a: 'bigint?', b: 'bigint?', c: 'bigint?' }, upsertOn: ['k'], merge: { a: 'add', b: 'min', c: 'max' } },
          jobs,
        )
        const known = values.filter((n) => n !== null)
        const [least, ...others] = known
        const expected =
          least === undefined
            ? [null, null, null]
            : [
                String(known.reduce((sum, n) => sum + n, 0n)),
                String(others.reduce((a, b) => (b < a ? b : a), least)),
                String(others.reduce((a, b) => (b > a ? b : a), least)),
              ]
        expect(rows).toEqual([['t', ...expected]])
      }),
    )
  })

  it('adds decimals without rounding and orders them by value', () => {
    const jobs = ['0.1', '-0.25', '10', '0.100'].map((n) => ({ k: 1, a: n, b: n, c: n }))
    const rows = merged(
      { columns: { k: 'int', a: 'numeric', b: 'numeric', c: 'numeric' }, upsertOn: ['k'], merge: { a: 'add', b: 'min', c: 'max' } },
      jobs,
    )
    expect(rows).toEqual([['1', '9.950', '-0.25', '10']])
  })

  it('orders text by its UTF-8 bytes, as the collation "C" does', () => {
    const jobs = ['\uffff', '\u{10000}', 'b', 'B'].map((t) => ({ k: 1, a: t, b: t }))
    expect(merged({ columns: { k: 'int', a: 'text', b: 'text' }, upsertOn: ['k'], merge: { a: 'max', b: 'min' } }, jobs)).toEqual([
      ['1', '\u{10000}', 'B'],
    ])
  })

  it('calls a sum beyond a double a bad job', () => {
    const jobs = [
      { k: 1, d: 1.7e308 },
      { k: 1, d: 1.7e308 },
    ]
    expect(() => merged({ columns: { k: 'int', d: 'double' }, upsertOn: ['k'], merge: { d: 'add-approximate' } }, jobs)).toThrow(
      expect.objectContaining({ code: 'FB_BAD_JOB' }),
    )
  })
})
