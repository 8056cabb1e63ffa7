import { describe, expect, it } from 'vitest'
import { parsePoint, pointText } from '../../src/replay/replay-point.ts'
import { checkRequest, offsetCount, rangeOf, sinceBeginning } from '../../src/replay/replay-range.ts'
import type { RangeRequest } from '../../src/replay/replay-range.ts'

const facts = { partition: 3, startOffset: 100n, floor: 499n, fromOffset: 200n, toOffset: 300n }
const request = (from: string, to?: string): RangeRequest => ({
  from: parsePoint(from, '--from'),
  to: to === undefined ? undefined : parsePoint(to, '--to'),
  partition: 3,
})
const bounds = (from: string, to?: string) => {
  const { firstOffset, lastOffset, isCut } = rangeOf(request(from, to), facts)
  return { firstOffset, lastOffset, isCut }
}
const time = '2026-01-31T09:30:00Z'

describe('A point', () => {
  it.each(['earliest', 'committed', '0', '9223372036854775807'])('is %s as it is written', (text) => {
    expect(pointText(parsePoint(text, '--from'))).toBe(text)
  })

  it('is a time with its zone', () => {
    expect(parsePoint('2026-01-31T10:30:00.250+01:00', '--to')).toEqual({ kind: 'time', timeMs: Date.parse('2026-01-31T09:30:00.250Z') })
  })

  it.each(['2026-01-31T09:30:00', '2026-01-31', 'yesterday', '-1', '1e3', '9223372036854775808', 'latest', ''])('is not %s', (text) => {
    expect(() => parsePoint(text, '--from')).toThrow(expect.objectContaining({ code: 'FB_USAGE' }))
  })

  it('is no earliest for an end, and says what a time lacks', () => {
    expect(() => parsePoint('earliest', '--to')).toThrow('--to takes committed, an offset')
    expect(() => parsePoint('2026-01-31T09:30', '--from')).toThrow('is not a time with its zone')
    expect(() => parsePoint('2026-02-31T09:30:00Z', '--to')).toThrow('its day does not exist')
  })
})

describe('A range', () => {
  it('begins at its beginning and ends before its end', () => {
    expect(bounds('150', '160')).toEqual({ firstOffset: 150n, lastOffset: 159n, isCut: false })
    expect(bounds(time, time)).toEqual({ firstOffset: 200n, lastOffset: 299n, isCut: false })
    expect(bounds('earliest')).toEqual({ firstOffset: 100n, lastOffset: 499n, isCut: false })
  })

  it('never goes beyond the floor, and says so', () => {
    expect(bounds('400', '900')).toEqual({ firstOffset: 400n, lastOffset: 499n, isCut: true })
    expect(bounds('earliest', 'committed')).toEqual({ firstOffset: 100n, lastOffset: 499n, isCut: false })
  })

  it('is empty where there is nothing between its ends', () => {
    for (const [from, to] of [['committed'], ['600'], ['150', '150'], ['450', time]] as const)
      expect(offsetCount(rangeOf(request(from, to), facts))).toBe(0)
  })

  it('refuses an offset that the log no longer holds, but not a time or earliest', () => {
    expect(() => rangeOf(request('99'), facts)).toThrow(expect.objectContaining({ code: 'FB_RETENTION_PASSED' }))
    expect(rangeOf(request(time), { ...facts, fromOffset: 50n }).firstOffset).toBe(100n)
  })

  it('needs a partition for an offset, and ends in their order', () => {
    expect(() => checkRequest({ ...request('5'), partition: undefined })).toThrow('name it with --partition')
    expect(() => checkRequest({ ...request('earliest', '5'), partition: undefined })).toThrow('name it with --partition')
    expect(() => checkRequest(request('5', '4'))).toThrow('--to lies before --from')
    expect(() => checkRequest({ ...request('earliest', time), partition: undefined })).not.toThrow()
  })

  it('is compared only above where the pipeline began', () => {
    const range = rangeOf(request('earliest'), facts)
    expect(sinceBeginning(range, undefined)).toBe(range)
    expect(sinceBeginning(range, 99n)).toBe(range)
    expect(sinceBeginning(range, 150n)).toMatchObject({ firstOffset: 151n, lastOffset: 499n })
    expect(sinceBeginning(range, range.firstOffset)).toMatchObject({ firstOffset: 101n, lastOffset: 499n })
    expect(offsetCount(sinceBeginning(range, 700n))).toBe(0)
  })
})
