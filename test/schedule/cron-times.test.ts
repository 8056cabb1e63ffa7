import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import nodeCron from 'node-cron'
import { parseCron } from '../../src/schedule/cron-expression.ts'
import { CronTimes } from '../../src/schedule/cron-times.ts'

const hourMs = 3_600_000
const newYork = 'America/New_York'

function timesOf(expression: string, timezone: string): CronTimes {
  const parsed = parseCron(expression)
  if ('problem' in parsed) throw new Error(parsed.problem)
  return new CronTimes(parsed.value, timezone)
}

/** Every time of (from, to], found by asking for the next one. */
function walk(times: CronTimes, from: string, to: string): string[] {
  const found: string[] = []
  let at: number | undefined = Date.parse(from)
  while ((at = times.next(at)) !== undefined && at <= Date.parse(to)) found.push(new Date(at).toISOString().replace('.000', ''))
  return found
}

describe('Times of a cron expression', () => {
  it('are those of the zone’s calendar, weekdays only', () => {
    const times = timesOf('0 5 16 * * 1-5', newYork)
    expect(walk(times, '2026-11-19T00:00:00Z', '2026-11-24T00:00:00Z')).toEqual([
      '2026-11-19T21:05:00Z',
      '2026-11-20T21:05:00Z',
      '2026-11-23T21:05:00Z',
    ])
  })

  it('keep their local time over both changes of clocks', () => {
    const times = timesOf('0 30 9 * * *', newYork)
    expect(walk(times, '2026-03-07T00:00:00Z', '2026-03-10T00:00:00Z')).toEqual([
      '2026-03-07T14:30:00Z',
      '2026-03-08T13:30:00Z',
      '2026-03-09T13:30:00Z',
    ])
    expect(walk(times, '2026-10-31T00:00:00Z', '2026-11-03T00:00:00Z')).toEqual([
      '2026-10-31T13:30:00Z',
      '2026-11-01T14:30:00Z',
      '2026-11-02T14:30:00Z',
    ])
  })

  it('come once, at the change itself, when their local time is skipped', () => {
    const change = '2026-03-08T07:00:00Z'
    expect(walk(timesOf('0 30 2 * * *', newYork), '2026-03-08T00:00:00Z', '2026-03-09T00:00:00Z')).toEqual([change])
    expect(walk(timesOf('0 */15 2 * * *', newYork), '2026-03-08T00:00:00Z', '2026-03-09T00:00:00Z')).toEqual([change])
    expect(walk(timesOf('0 0,30 1-3 * * *', newYork), '2026-03-08T00:00:00Z', '2026-03-09T00:00:00Z')).toEqual([
      '2026-03-08T06:00:00Z',
      '2026-03-08T06:30:00Z',
      change,
      '2026-03-08T07:30:00Z',
    ])
    // Midnight itself is skipped in Beirut.
    expect(walk(timesOf('0 0 0 * * *', 'Asia/Beirut'), '2026-03-28T00:00:00Z', '2026-03-29T12:00:00Z')).toEqual(['2026-03-28T22:00:00Z'])
  })

  it('come once, at the first of the two, when their local time occurs twice', () => {
    expect(walk(timesOf('0 30 1 * * *', newYork), '2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z')).toEqual(['2026-11-01T05:30:00Z'])
    expect(walk(timesOf('0 0,30 0-2 * * *', newYork), '2026-11-01T02:00:00Z', '2026-11-02T00:00:00Z')).toEqual([
      '2026-11-01T04:00:00Z',
      '2026-11-01T04:30:00Z',
      '2026-11-01T05:00:00Z',
      '2026-11-01T05:30:00Z',
      '2026-11-01T07:00:00Z',
      '2026-11-01T07:30:00Z',
    ])
  })

  it('follow real time over both changes when every hour is named', () => {
    const times = timesOf('0 */20 * * * *', newYork)
    expect(walk(times, '2026-03-08T06:00:00Z', '2026-03-08T08:00:00Z')).toHaveLength(6)
    expect(walk(times, '2026-11-01T04:00:00Z', '2026-11-01T07:00:00Z')).toHaveLength(9)
    const lordHowe = walk(timesOf('0 0 * * * *', 'Australia/Lord_Howe'), '2026-04-04T12:00:00Z', '2026-04-04T18:00:00Z')
    // There the clocks go back by half an hour: the gap between two full hours is an hour and a half, once.
    expect(lordHowe).toEqual([
      '2026-04-04T13:00:00Z',
      '2026-04-04T14:00:00Z',
      '2026-04-04T15:30:00Z',
      '2026-04-04T16:30:00Z',
      '2026-04-04T17:30:00Z',
    ])
  })

  it('are those of node-cron, second by second, when every hour is named', () => {
    const starts = ['2026-03-08T06:58:00Z', '2026-11-01T05:58:00Z', '2026-12-31T23:58:00Z', '2026-06-15T12:00:00Z'].map(Date.parse)
    const field = (max: number) => fc.oneof(fc.constant('*'), fc.constant('*/7'), fc.integer({ min: 0, max }).map(String))
    fc.assert(
      fc.property(
        field(59),
        field(59),
        fc.constantFrom('*', '1-5', '0'),
        fc.constantFrom('*', 'L', '1,8'),
        fc.constantFrom(...starts),
        (s, m, week, day, start) => {
          const expression = `${s} ${m} * ${day} * ${week}`
          const task = nodeCron.createTask(expression, () => undefined, { timezone: newYork })
          void task.destroy()
          const wanted: number[] = []
          for (let at = start + 1000; at <= start + 130_000; at += 1000) if (task.match(new Date(at))) wanted.push(at)
          expect(timesOf(expression, newYork).latest(start, start + 130_000, 1000)).toEqual(wanted)
        },
      ),
      { numRuns: 25 },
    )
  })

  it('are the same forwards and backwards, rising, and each in its window', () => {
    const zones = [newYork, 'UTC', 'Europe/Berlin', 'Asia/Beirut', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'America/Sao_Paulo']
    const expressions = ['0 */5 9-16 * * 1-5', '0 0 0 * * *', '30 15 */2 * * *', '0 30 1-3 * * *', '0 59 23 L * *']
    const year = Date.parse('2026-01-01T00:00:00Z')
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.constantFrom(...expressions),
        fc.integer({ min: 0, max: 365 * 24 }),
        fc.integer({ min: 1, max: 72 }),
        (zone, expression, hour, hours) => {
          const times = timesOf(expression, zone)
          const [from, to] = [year + hour * hourMs, year + (hour + hours) * hourMs]
          const forward: number[] = []
          for (let at = times.next(from); at !== undefined && at <= to; at = times.next(at)) forward.push(at)
          expect(times.latest(from, to, 100_000)).toEqual(forward)
          expect(forward).toEqual([...new Set(forward)].toSorted((a, b) => a - b))
          expect(times.latest(from, to, 2)).toEqual(forward.slice(-2))
        },
      ),
      { numRuns: 80 },
    )
  })

  it('come on leap days, and not at all when the next one is more than eight years away', () => {
    expect(walk(timesOf('0 0 12 29 2 *', 'UTC'), '2026-01-01T00:00:00Z', '2033-01-01T00:00:00Z')).toEqual([
      '2028-02-29T12:00:00Z',
      '2032-02-29T12:00:00Z',
    ])
    // A February with five Mondays comes in 2044.
    expect(timesOf('0 0 12 * 2 1#5', 'UTC').next(Date.parse('2026-01-01T00:00:00Z'))).toBeUndefined()
  })
})
