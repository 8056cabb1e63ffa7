/** What each column type takes, as what text, and what it refuses: values that Postgres would change without a word. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeField } from '../../src/sinks/postgres-table/copy-text.ts'
import { columnTypes, scalarTypes } from '../../src/sinks/postgres-table/column-types.ts'
import type { ColumnType } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { rowEncoder } from '../../src/sinks/postgres-table/row-encoder.ts'
import { planTable } from '../../src/sinks/postgres-table/table-plan.ts'
import { dayText, timestamptzText, timestampText, timeText } from '../../src/sinks/postgres-table/time-values.ts'

function encoderOf(type: ColumnType): (value: unknown) => string {
  const encode = rowEncoder('t', planTable({ table: 't', columns: { c: type } }).columns)
  return (value) => encode({ c: value })
}

const bytes = Uint8Array.from([0, 9, 10, 92, 255])

describe('a value of a column', () => {
  it.each<[ColumnType, unknown, string]>([
    ['int2', -32768, '-32768'],
    ['int2', -0, '0'],
    ['int8', '-9223372036854775808', '-9223372036854775808'],
    ['bigint', '007', '7'],
    ['float4', 0.1, '0.1'],
    ['float4', 0.10000000149011612, '0.10000000149011612'],
    ['float4', -0, '-0'],
    ['float4', 1e-45, '1e-45'],
    ['float4', 3.4028235e38, '3.4028235e+38'],
    ['double', -0, '-0'],
    ['float8', 5e-324, '5e-324'],
    ['numeric(5,2)', '-0999.990', '-0999.990'],
    ['numeric(5,2)', 999.99, '999.99'],
    ['numeric(3)', 999n, '999'],
    ['varchar(3)', '😀😀😀', '😀😀😀'],
    ['varchar(3)', 'a\\\t', 'a\\\\\\t'],
    ['enum(open|on hold)', 'on hold', 'on hold'],
    ['uuid', '6ECD8C99-4036-403D-BF84-CF8400F67836', '6ecd8c99-4036-403d-bf84-cf8400f67836'],
    ['date', '2024-02-29', '2024-02-29'],
    ['date', '0001-01-01', '0001-01-01'],
    ['time', '09:30', '09:30:00'],
    ['time', '23:59:59.999999', '23:59:59.999999'],
    ['time', '09:30:00.500000000', '09:30:00.5'],
    ['time', '24:00:00', '24:00:00'],
    ['time(0)', '09:30:00.000', '09:30:00'],
    ['timestamp', new Date(0), '1970-01-01T00:00:00.000'],
    ['timestamp', '2026-11-28 09:30:00.000001', '2026-11-28T09:30:00.000001'],
    ['timestamp', '2026-11-28T09:30', '2026-11-28T09:30:00.000'],
    ['timestamptz', '2026-11-28T09:30:00.000001Z', '2026-11-28T09:30:00.000001Z'],
    ['timestamptz', '2026-11-28T00:30:00.123456+05:30', '2026-11-27T19:00:00.123456Z'],
    ['timestamptz', '2026-11-27 20:30:00-03', '2026-11-27T23:30:00.000Z'],
    ['timestamptz', '0001-01-01T00:00:00-0100', '0001-01-01T01:00:00.000Z'],
    ['timestamptz(0)', new Date(1000), '1970-01-01T00:00:01.000Z'],
    ['json', [null, '\u0000'], '[null,"\\\\u0000"]'],
    ['jsonb', '\\u0000', '"\\\\\\\\u0000"'],
    ['bytea', bytes, '\\\\x00090a5cff'],
    ['bytea', Buffer.from(bytes).subarray(1, 3), '\\\\x090a'],
    ['bytea', new Uint8Array(), '\\\\x'],
    ['inet', '10.0.0.1/32', '10.0.0.1'],
    ['inet', '10.0.0.1/8', '10.0.0.1/8'],
    ['inet', 'FE80:0::1/64', 'fe80::1/64'],
    ['inet', '::ffff:1.2.3.4', '::ffff:102:304'],
    ['int[]', [], '{}'],
    ['int[]', [1, null, -0], '{1,NULL,0}'],
    [
      'int[][]',
      [
        [1, 2],
        [null, 4],
      ],
      '{{1,2},{NULL,4}}',
    ],
    ['text[]', ['', 'a"b', '\\', '{,}', 'NULL', '\n', null], '{"","a\\\\"b","\\\\\\\\","{,}","NULL","\\n",NULL}'],
    ['bytea[]', [bytes], '{"\\\\\\\\x00090a5cff"}'],
    ['jsonb[]', [{ a: '"' }, null], '{"{\\\\"a\\\\":\\\\"\\\\\\\\\\\\"\\\\"}",NULL}'],
    ['enum(a|b)[]?', ['b'], '{"b"}'],
    ['timestamptz[]', [new Date(0)], '{1970-01-01T00:00:00.000Z}'],
    ['int[]?', null, '\\N'],
  ])('of %s %o is %s', (type, value, field) => {
    expect(encoderOf(type)(value)).toBe(field)
  })

  it.each<[ColumnType, unknown, string]>([
    ['int2', 32768, 'from -32768 to 32767'],
    ['int2', 1.5, 'whole numbers'],
    ['int2', Number.NaN, 'whole numbers'],
    ['int', 1.5, 'whole numbers'],
    ['bigint', '9223372036854775808', '64 bits'],
    ['bigint', '1.0', '64 bits'],
    ['bigint', '', '64 bits'],
    ['float4', 0.123456789, 'declare it double'],
    ['float4', 0.100000001, 'declare it double'],
    ['float4', 16777217, 'declare it double'],
    ['float4', 1e39, 'declare it double'],
    ['float4', 1e-46, 'declare it double'],
    ['float4', Number.NaN, 'finite'],
    ['double', -Infinity, 'finite'],
    ['double', '1', 'finite'],
    ['numeric(5,2)', '1000', 'at most 3 digits before the point and 2 behind it'],
    ['numeric(5,2)', 0.001, 'at most 3 digits'],
    ['numeric', `1${'0'.repeat(131_072)}`, 'at most 131072 digits'],
    ['numeric', `0.${'1'.repeat(16_384)}`, '16383 behind it'],
    ['numeric', 'NaN', 'finite'],
    ['varchar(3)', 'abc ', 'at most 3 characters'],
    ['varchar(3)', '😀😀😀😀', 'at most 3 characters'],
    ['varchar(3)', '\0', 'U+0000'],
    ['enum(open|shut)', 'ajar', 'one of "open", "shut"'],
    ['enum(open|shut)', '', 'one of'],
    ['uuid', '{6ecd8c99-4036-403d-bf84-cf8400f67836}', 'such as'],
    ['date', '2023-02-29', 'days that exist'],
    ['date', '0000-01-01', 'days that exist'],
    ['date', '10000-01-01', 'days that exist'],
    ['date', '2026-11-28T00:00:00Z', 'days that exist'],
    ['date', new Date(0), 'such as "2026-11-28"'],
    ['date', 'infinity', 'days that exist'],
    ['time', '24:00:01', 'such as "09:30:00"'],
    ['time', '09:30:60', 'such as "09:30:00"'],
    ['time', '09:30:00Z', 'without a zone'],
    ['time', '09:30:00.0000001', 'at most 6 digits'],
    ['time(3)', '09:30:00.0001', 'at most 3 digits'],
    ['timestamp', '2026-11-28T09:30:00Z', 'without a zone'],
    ['timestamp', '2026-11-28', 'such as'],
    ['timestamp', '2026-11-28T24:00:00', 'such as'],
    ['timestamp', 'infinity', 'such as'],
    ['timestamp(0)', new Date(1), 'at most 0 digits'],
    ['timestamptz', '2026-11-28T09:30:00', 'with a zone'],
    ['timestamptz', '2026-11-28T09:30:00.1234567Z', 'at most 6 digits'],
    ['timestamptz', '2026-11-28T09:30:00+16:00', 'such as'],
    ['timestamptz', '0001-01-01T00:00:00+01:00', 'years 1 to 9999'],
    ['timestamptz', '9999-12-31T23:30:00-01:00', 'years 1 to 9999'],
    ['timestamptz', 1e12, 'such as'],
    ['timestamptz(2)', new Date(1001), 'at most 2 digits'],
    ['json', { a: [Number.NaN] }, 'JSON cannot say NaN'],
    ['json', Infinity, 'JSON cannot say Infinity'],
    ['jsonb', ['\0'], 'U+0000'],
    ['jsonb', { a: '\ud800' }, 'half a surrogate pair'],
    ['jsonb', '\\\0', 'U+0000'],
    ['bytea', 'text', 'Uint8Arrays'],
    ['bytea', [1, 2], 'Uint8Arrays'],
    ['bytea', new Uint16Array(1), 'Uint8Arrays'],
    ['inet', '10.0.0.1/33', 'such as'],
    ['inet', '10.0.0', 'such as'],
    ['inet', 'fe80::1%eth0', 'such as'],
    ['inet', '10.0.0.1/08', 'such as'],
    ['int[]', 1, 'it takes arrays'],
    ['int[]', [1, 1.5], 'at [1] it takes whole numbers'],
    ['int[]', [undefined], 'at [0]'],
    // oxlint-disable-next-line no-sparse-arrays
    ['int[]', [1, , 3], 'at [1]'],
    ['int[]', [[1]], 'at [0] it takes whole numbers'],
    ['int[][]', [1], 'at [0] it takes an array'],
    ['int[][]', [[1], [1, 2]], 'of one length'],
    ['int[][]', [[], []], 'not empty'],
    ['int[][]', [[1], null], 'at [1] it takes an array'],
    ['text[]', ['a', 'b\0'], 'U+0000'],
    ['enum(a|b)[]', ['c'], 'at [0] it takes one of'],
    ['text[]', { length: 1, 0: 'a' }, 'it takes arrays'],
  ])('of %s cannot be %o: %s', (type, value, sentence) => {
    const encode = encoderOf(type)
    expect(() => encode(value)).toThrow(
      expect.objectContaining({ code: 'FB_BAD_JOB', message: expect.stringMatching(/^Column "c" \(.*\) of table t cannot take /) }),
    )
    expect(() => encode(value)).toThrow(sentence)
  })

  it('of any type is refused when it is of another type of JavaScript, and never changed', () => {
    const odd = [undefined, null, {}, [], () => 1, Symbol('s'), new Map(), 7.25, true, 10n ** 40n, new Date(Number.NaN)]
    const takes: Partial<Record<string, (value: unknown) => boolean>> = {
      float4: (value) => value === 7.25,
      double: (value) => value === 7.25,
      numeric: (value) => value === 7.25 || typeof value === 'bigint',
      boolean: (value) => value === true,
    }
    for (const type of scalarTypes.filter((one) => one !== 'json' && one !== 'jsonb')) {
      const declared = type === 'varchar' ? 'varchar(9)' : type === 'enum' ? 'enum(a|b)' : type
      for (const value of odd) {
        if (takes[type]?.(value) === true) continue
        expect(() => encoderOf(declared)(value), `${type} ${typeof value}`).toThrow(expect.objectContaining({ code: 'FB_BAD_JOB' }))
      }
    }
  })
})

describe('times as text', () => {
  const utc = fc.date({ min: new Date('0001-01-02T00:00:00Z'), max: new Date('9999-12-30T00:00:00Z'), noInvalidDate: true })
  const micros = fc.integer({ min: 0, max: 999 })

  it('name the same moment in every zone, and sort as moments do', () => {
    const moment = fc.record({ at: utc, micro: micros, zone: fc.integer({ min: -959, max: 959 }) })
    const textOf = ({ at, micro, zone }: { at: Date; micro: number; zone: number }) => {
      const local = new Date(at.getTime() + zone * 60_000).toISOString().slice(0, 23)
      const [hours, minutes] = [Math.floor(Math.abs(zone) / 60), Math.abs(zone) % 60].map((part) => String(part).padStart(2, '0'))
      return timestamptzText(`${local}${String(micro).padStart(3, '0')}${zone < 0 ? '-' : '+'}${hours}:${minutes}`, 6)!
    }
    fc.assert(
      fc.property(moment, moment, (a, b) => {
        const [left, right] = [textOf(a), textOf(b)]
        expect(left.slice(0, 23)).toBe(a.at.toISOString().slice(0, 23))
        expect(left.slice(23)).toBe(a.micro === 0 ? 'Z' : `${String(a.micro).padStart(3, '0')}Z`)
        const order = a.at.getTime() - b.at.getTime() || a.micro - b.micro
        const [l, r] = [left.replace('Z', ''), right.replace('Z', '')]
        expect(l < r ? -1 : l > r ? 1 : 0).toBe(Math.sign(order))
      }),
    )
  })

  it('are days that JavaScript knows, and no others', () => {
    const part = (max: number, digits: number) => fc.integer({ min: 0, max }).map((n) => String(n).padStart(digits, '0'))
    fc.assert(
      fc.property(part(9999, 4), part(13, 2), part(32, 2), (year, month, date) => {
        const text = `${year}-${month}-${date}`
        const ms = Date.parse(`${text}T00:00:00Z`)
        const exists = year !== '0000' && !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text)
        expect(dayText(text)).toBe(exists ? text : undefined)
      }),
      { numRuns: 2000 },
    )
  })

  it('are none for any other text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(
          [dayText(text), timeText(text, 6), timestampText(text, 6), timestamptzText(text, 6)].filter((one) => one !== undefined),
        ).toEqual([])
      }),
    )
  })
})

describe('a float4', () => {
  it('is every number that one gives back, and is given back as it is', () => {
    const encode = encoderOf('float4')
    const float = new Float32Array(1)
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        float[0] = Number(decodeField(encode(value)))
        expect(Object.is(float[0], value)).toBe(true)
      }),
    )
    // As Postgres prints one: the shortest decimal.
    fc.assert(
      fc.property(fc.integer({ min: -999_999, max: 999_999 }), fc.integer({ min: -30, max: 30 }), (digits, exponent) => {
        const value = Number(`${digits}e${exponent}`)
        expect(Number(encode(value))).toBe(value)
      }),
    )
  })
})

it('every type says what it is for in one line of the documentation', () => {
  for (const type of scalarTypes) expect(columnTypes[type].note).not.toMatch(/\n|\.$/)
})
