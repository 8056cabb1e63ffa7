import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { arrayLimit, limitOf, parseDecimal, printDecimal, roundTo } from '../../src/sinks/postgres-table/field-limit.ts'

const limit = (type: string, typmod = -1, labels: string[] | null = null) => limitOf({ type, typmod, labels })
/** As the catalogue has it. */
const numeric = (precision: number, scale: number) => limit('numeric', ((precision << 16) | (scale & 0x7ff)) + 4)!

describe('what a column takes', () => {
  it.each<[string, ReturnType<typeof limit>, string[], string[]]>([
    ['varchar(3)', limit('varchar', 7), ['', 'abc', '\\tab', '😀😀😀', '\\x01\\\\a'], ['abcd', '\\tabc', '😀😀😀😀']],
    ['an enum', limit('mood', -1, ['calm', 'wild']), ['calm'], ['angry', '']],
    ['an enum of odd labels', limit('mood', -1, ['a\\', 'b\t']), ['a\\\\', 'b\\t'], ['a\\', 'b']],
    [
      'varchar(3)[]',
      arrayLimit(limit('varchar', 7)!),
      ['{}', '{"abc",NULL,"\\\\"a\\\\\\\\"}', '{{"a"},{"{,}"}}'],
      ['{"abcd"}', '{"a","\\\\"abc"}', '{{"a"},{"{,,}"}}'],
    ],
    ['numeric(5,2)[]', arrayLimit(numeric(5, 2)), ['{1,NULL,999.99}'], ['{1,1000}']],
    ['uuid', limit('uuid'), ['6ecd8c99-4036-403d-bf84-cf8400f67836'], ['6ECD8C99-4036-403d-bf84-cf8400f67836', 'x']],
    ['jsonb', limit('jsonb'), ['{"a":"\\\\n"}'], ['"\\\\u0000"', '"\\\\uD800"']],
    ['numeric(5,2)', numeric(5, 2), ['999.99', '-999.994', '0.001'], ['999.995', '1000', '-1000.00']],
    ['numeric(2,4)', numeric(2, 4), ['0.0099', '0'], ['0.01', '0.00995', '1']],
    ['numeric(2,-1)', numeric(2, -1), ['994', '-994.9', '0'], ['995', '1000']],
  ])('%s', (_, of, fitting, odd) => {
    expect(fitting.filter((field) => !of!.fits!(field))).toEqual([])
    expect(odd.filter((field) => of!.fits!(field))).toEqual([])
  })

  it('is everything where nothing limits it', () => {
    for (const type of ['text', 'varchar', 'bpchar', 'numeric', 'json', 'bool', 'float8']) expect(limit(type)).toBeUndefined()
  })

  it('rounds half away from zero, at any scale', () => {
    expect(
      [
        ['0.004', 2],
        ['0.005', 2],
        ['-0.005', 2],
        ['15', -1],
        ['-14', -1],
        ['7', 2],
      ].map(([field, scale]) => printDecimal(roundTo(parseDecimal(field as string), scale as number))),
    ).toEqual(['0.00', '0.01', '-0.01', '20', '-10', '7.00'])
    fc.assert(
      fc.property(fc.integer({ min: -1e9, max: 1e9 }), fc.integer({ min: -3, max: 3 }), (units, scale) => {
        const rounded = roundTo({ units: BigInt(units), scale: 3 }, scale)
        const step = 10 ** (3 - scale)
        expect(Number(rounded.units)).toBe(Math.sign(units) * Math.floor(Math.abs(units) / step + 0.5) + 0)
      }),
    )
  })
})
