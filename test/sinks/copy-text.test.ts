import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import { decodeField } from '../../src/sinks/postgres-table/copy-text.ts'
import type { ColumnType } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { rowEncoder } from '../../src/sinks/postgres-table/row-encoder.ts'
import { planTable } from '../../src/sinks/postgres-table/table-plan.ts'
import { copyExamples, copyLengths, copyText, readCopyText } from '../support/copy-texts.ts'

function encoderOf(type: ColumnType): (value: unknown) => string {
  const encode = rowEncoder('t', planTable({ table: 't', columns: { c: type } }).columns)
  return (value) => encode({ c: value })
}

describe('a row as COPY text', () => {
  it('keeps every text that Postgres can hold, in one line without low control characters', () => {
    const encode = encoderOf('text')
    const text = fc.string({
      unit: fc.oneof(
        fc.constantFrom('\\', '\t', '\n', '\r', 'N', 'x', '0', '\u0001', '\b', '\v', '😀', 'é'),
        fc.string({ unit: 'binary' }),
      ),
      maxLength: 80,
    })
    fc.assert(
      fc.property(text, (value) => {
        fc.pre(!value.includes('\0'))
        const field = encode(value)
        expect(decodeField(field)).toBe(value)
        // oxlint-disable-next-line no-control-regex
        expect(field).not.toMatch(/[\0-\x0a\r]/)
      }),
    )
  })

  describe('is read back by an independent reader of COPY text', () => {
    const { columns } = planTable({ table: 't', columns: { a: 'text', b: 'text?', j: 'json' } })
    const encode = rowEncoder('t', columns)
    const isReadBack = (rows: readonly { a: string; b: string | null }[]) => {
      const lines = rows.map(({ a, b }) => encode({ a, b, j: { [a]: [b] } }))
      expect(readCopyText(lines.map((line) => `${line}\n`).join(''))).toEqual(rows.map(({ a, b }) => [a, b, JSON.stringify({ [a]: [b] })]))
      expect(lines.map((line) => line.split('\t').map(decodeField))).toEqual(rows.map(({ a, b }) => [a, b, JSON.stringify({ [a]: [b] })]))
    }

    it('with one special part at each place of each length', () => {
      for (const text of copyExamples) isReadBack([{ a: text, b: text }])
    })

    it('whatever the texts are', () => {
      const row = fc.record({ a: copyText(), b: fc.option(copyText()) })
      fc.assert(
        fc.property(fc.array(row, { maxLength: 4 }), (rows) => isReadBack(rows)),
        { numRuns: 500 },
      )
    })

    it.each([
      ['U+0000', '\0'],
      ['the first half of a pair', '\ud83d'],
      ['the second half of a pair', '\ude00'],
      ['halves the wrong way round', '\ude00\ud83d'],
    ])('and %s is refused at each place of each length', (_, part) => {
      for (const length of copyLengths) {
        for (let before = 0; before <= length; before++) {
          for (const among of ['a', '\\']) {
            const text = among.repeat(before) + part + among.repeat(length - before)
            expect(() => encode({ a: text, b: null, j: 0 }), JSON.stringify(text)).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB' }))
          }
        }
      }
    })
  })

  it('joins the fields by tabs, key columns first', () => {
    const { columns } = planTable({
      table: 't',
      columns: { a: 'int?', k: 'text', b: 'boolean', j: 'bigint' },
      upsertOn: ['j', 'k'],
    })
    expect(rowEncoder('t', columns)({ a: undefined, b: false, k: '\\N', j: -0 })).toBe('0\t\\\\N\t\\N\tf')
  })

  it.each<[ColumnType, unknown, string]>([
    ['int', -2147483648, '-2147483648'],
    ['int', -0, '0'],
    ['bigint', 9007199254740991, '9007199254740991'],
    ['bigint', -(2n ** 63n), '-9223372036854775808'],
    ['double', 1e-300, '1e-300'],
    ['numeric', '-12.50', '-12.50'],
    ['numeric', 1.5e-9, '0.0000000015'],
    ['numeric', -1.25e22, '-12500000000000000000000'],
    ['numeric', 10n ** 30n, `1${'0'.repeat(30)}`],
    ['timestamptz', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['json', { a: '"\n' }, '{"a":"\\\\"\\\\n"}'],
    ['json', null, 'null'],
    ['json?', null, '\\N'],
  ])('encodes %s %s', (type, value, field) => {
    expect(encoderOf(type)(value)).toBe(field)
  })

  it.each<[ColumnType, unknown]>([
    ['int', 2147483648],
    ['int', 1.5],
    ['int', '1'],
    ['int', 1n],
    ['int', undefined],
    ['bigint', 2 ** 53],
    ['bigint', 2n ** 63n],
    ['text', 'a\0'],
    ['text', '\ud800'],
    ['text', `${'a'.repeat(100)}\udc00`],
    ['text', 7],
    ['text', null],
    ['boolean', 1],
    ['double', Number.NaN],
    ['double', Infinity],
    ['numeric', '1e5'],
    ['numeric', ''],
    ['timestamptz', new Date(Number.NaN)],
    ['timestamptz', new Date(8.64e15)],
    ['timestamptz', '2020-01-01'],
    ['json', undefined],
    ['json', { a: 1n }],
  ])('refuses %s %s as a bad job and names the column', (type, value) => {
    const encode = encoderOf(type)
    expect(() => encode(value)).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB', message: expect.stringContaining('"c"') }))
  })

  it.each([null, undefined, 'row', 7])('refuses %s as a row', (job) => {
    const encode = rowEncoder('t', planTable({ table: 't', columns: { c: 'int?' } }).columns)
    try {
      encode(job)
      expect.unreachable()
    } catch (error) {
      expect(isForebayError(error, 'FB_BAD_JOB')).toBe(true)
    }
  })
})
