import { describe, expect, it } from 'vitest'
import { parseLogPoint, parseTime } from '../../src/events/log-point.ts'

describe('A point in the log', () => {
  it('is a word, an offset or a time', () => {
    const words = ['earliest', 'committed'] as const
    expect(parseLogPoint('earliest', words)).toEqual({ kind: 'earliest' })
    expect(parseLogPoint('0', words)).toEqual({ kind: 'offset', offset: 0n })
    expect(parseLogPoint('9223372036854775807', words)).toEqual({ kind: 'offset', offset: 2n ** 63n - 1n })
    expect(parseLogPoint('2026-01-31T09:30:00Z', words)).toEqual({ kind: 'time', timeMs: Date.UTC(2026, 0, 31, 9, 30) })
    for (const text of ['latest', '', '-1', '9223372036854775808', '1e3']) expect(parseLogPoint(text, words), text).toBeUndefined()
  })

  it.each([
    ['2026-01-31T09:30Z', '2026-01-31T09:30:00.000Z'],
    ['2026-01-31T09:30:05.5Z', '2026-01-31T09:30:05.500Z'],
    ['2026-01-31T09:30:05.123456789+01:00', '2026-01-31T08:30:05.123Z'],
    ['2026-01-31T23:30:00-0130', '2026-02-01T01:00:00.000Z'],
    ['2028-02-29T00:00:00Z', '2028-02-29T00:00:00.000Z'],
  ])('reads the time %s', (text, iso) => {
    expect(new Date(parseTime(text)!).toISOString()).toBe(iso)
  })

  it.each([
    '2026-02-31T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-04-31T00:00:00+02:00',
    '2026-00-10T00:00:00Z',
    '2026-13-10T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-31T25:00:00Z',
    '2026-01-31T10:60:00Z',
    '2026-01-31T10:00:00+25:00',
    '2026-01-31T10:00:00',
    '2026-01-31',
    'yesterday',
  ])('does not take %s for another time', (text) => {
    expect(parseTime(text)).toBeUndefined()
  })
})
