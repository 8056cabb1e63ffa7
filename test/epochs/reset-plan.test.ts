import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { definePipeline, json, postgresTable, webSocket } from '../../src/index.ts'
import { parseResetPoint, planReset } from '../../src/epochs/reset-plan.ts'
import type { PartitionState, ResetPlan, ResetWish } from '../../src/epochs/reset-plan.ts'

const { tasks } = definePipeline({
  name: 'p',
  source: { topic: 't', decode: json(z.object({ k: z.string(), n: z.int() })) },
  tasks: {
    row: { every: '1s', sink: postgresTable('my.rows', { columns: { k: 'text', n: 'int' } }), convert: ({ k, n }) => ({ k, n }) },
    sum: {
      every: '1s',
      sink: postgresTable('sums', { columns: { k: 'text', n: 'int' }, upsertOn: ['k'], merge: { n: 'add' } }),
      convert: ({ k, n }) => ({ k, n }),
    },
    last: {
      every: '1s',
      sink: postgresTable('lasts', { columns: { k: 'text', n: 'int' }, upsertOn: ['k'] }),
      convert: ({ k, n }) => ({ k, n }),
    },
    push: { every: '1s', sink: webSocket('c', { latestBy: (job: { k: string }) => job.k }), convert: ({ k }) => ({ k }) },
  },
})
const [row, sum, last, push] = tasks as [(typeof tasks)[0], (typeof tasks)[0], (typeof tasks)[0], (typeof tasks)[0]]

const state = (change: Partial<PartitionState> = {}): PartitionState => ({
  partition: 0,
  floor: 50n,
  appliedTo: 50n,
  range: { startOffset: 0n, endOffset: 100n },
  nextOffset: 0n,
  ...change,
})
const wish = (change: Partial<ResetWish> = {}): ResetWish => ({
  point: { kind: 'earliest' },
  partition: undefined,
  truncate: [],
  allowsDuplicates: false,
  skipsLost: false,
  ...change,
})
const changesOf = ({ partitions }: ResetPlan) => partitions.map(({ change, cut }) => [change, cut])

describe('A reset', () => {
  it('reads earliest, offsets and times with a zone, and nothing else', () => {
    expect(parseResetPoint('earliest')).toEqual({ kind: 'earliest' })
    expect(parseResetPoint('0')).toEqual({ kind: 'offset', offset: 0n })
    expect(parseResetPoint('2026-01-31T09:30:00.5+01:00')).toEqual({ kind: 'time', timeMs: Date.UTC(2026, 0, 31, 8, 30, 0, 500) })
    for (const text of ['latest', '-1', '2026-01-31', '2026-01-31T09:30:00', '2026-13-31T09:30:00Z', '99999999999999999999', ''])
      expect(() => parseResetPoint(text), text).toThrow(/--to takes earliest, an offset/)
  })

  it('goes back to the beginning of the log, to an offset of one partition, and to a time', () => {
    const all = wish({ allowsDuplicates: true })
    const states = [state(), state({ partition: 1, range: { startOffset: 7n, endOffset: 9n }, nextOffset: 7n, floor: 8n, appliedTo: 8n })]
    expect(changesOf(planReset(all, states, [row]))).toEqual([
      ['back', -1n],
      ['back', 6n],
    ])
    const one = { ...all, point: { kind: 'offset', offset: 20n } as const, partition: 0 }
    expect(changesOf(planReset(one, [state({ nextOffset: 20n }), state({ partition: 1 })], [row]))).toEqual([['back', 19n]])
    const time = { ...all, point: { kind: 'time', timeMs: 0 } as const }
    const mixed = [state({ nextOffset: 30n }), state({ partition: 1, nextOffset: 80n })]
    expect(changesOf(planReset(time, mixed, [row]))).toEqual([
      ['back', 29n],
      ['kept', 50n],
    ])
  })

  it('makes again what is applied above the floor when it goes to the floor itself', () => {
    const point = { kind: 'offset', offset: 51n } as const
    const at = { nextOffset: 51n, floor: 50n }
    expect(changesOf(planReset(wish({ point, allowsDuplicates: true }), [state({ ...at, appliedTo: 60n })], [row]))).toEqual([
      ['back', 50n],
    ])
    expect(() => planReset(wish({ point }), [state({ ...at, appliedTo: 60n })], [row])).toThrow(/--allow-duplicates/)
    expect(changesOf(planReset(wish({ point }), [state(at)], [row]))).toEqual([['kept', 50n]])
  })

  it('goes back to its floor where it stands before the point and tables are emptied of what queues wrote above it', () => {
    const time = { point: { kind: 'time', timeMs: 0 } } as const
    const states = [state({ nextOffset: 20n }), state({ partition: 1, nextOffset: 80n, appliedTo: 70n })]
    const plan = (change: Partial<ResetWish>) => changesOf(planReset(wish({ ...time, ...change }), states, [row]))
    expect(plan({ truncate: ['my.rows'] })).toEqual([
      ['back', 19n],
      ['back', 50n],
    ])
    expect(plan({ allowsDuplicates: true })).toEqual([
      ['back', 19n],
      ['kept', 50n],
    ])
  })

  it.each([
    [
      'an offset before the log begins',
      { point: { kind: 'offset', offset: 3n } },
      { nextOffset: 3n, range: { startOffset: 5n, endOffset: 9n }, floor: 6n },
      /begins at offset 5: offset 3 is gone/,
    ],
    [
      'an offset beyond the floor',
      { point: { kind: 'offset', offset: 60n } },
      { nextOffset: 60n },
      /floor 50: to begin at offset 60 would skip/,
    ],
    [
      'a time that every partition has yet to reach',
      { point: { kind: 'time', timeMs: 0 } },
      { nextOffset: 70n },
      /stands before 1970-01-01T00:00:00.000Z already/,
    ],
    ['a partition that is not there', { partition: 4 }, {}, /no partition 4; its partitions are 0 to 0/],
    [
      'a floor that the log has passed',
      {},
      { range: { startOffset: 60n, endOffset: 70n }, nextOffset: 60n },
      /floor is 50, but the log begins at 60: 9 offsets are gone.*--skip-lost/,
    ],
  ] as const)('refuses %s', (_, change, at, sentence) => {
    expect(() => planReset(wish({ allowsDuplicates: true, ...change }), [state(at as Partial<PartitionState>)], [row])).toThrow(sentence)
  })

  it('refuses an offset without a partition where there are several, and to empty a table for one of them', () => {
    const states = [state(), state({ partition: 1 })]
    expect(() => planReset(wish({ point: { kind: 'offset', offset: 0n } }), states, [row])).toThrow(/say which with --partition \(0 to 1\)/)
    expect(() => planReset(wish({ partition: 1, truncate: ['my.rows'] }), states, [row])).toThrow(/leave --partition out/)
  })

  it('asks for words before rows come twice, and for emptied tables before sums do, all at once', () => {
    const plan = (change: Partial<ResetWish>) => planReset(wish(change), [state()], [row, sum, last, push])
    expect(() => plan({})).toThrow(
      /Task sum adds up in table sums.*--truncate sums\.\nTask row inserts into table my\.rows.*--truncate my\.rows, or --allow-duplicates/,
    )
    expect(() => plan({ allowsDuplicates: true })).toThrow(/^Task sum[^\n]*$/)
    expect(() => plan({ truncate: ['sums'] })).toThrow(/^Task row[^\n]*$/)
    expect(plan({ truncate: ['sums'], allowsDuplicates: true }).warnings).toEqual([
      'my.rows will hold the rows above the cut twice',
      'lasts may show older values until the pipeline has caught up',
    ])
    expect(plan({ truncate: ['sums', 'my.rows', 'lasts', 'sums'] })).toMatchObject({
      truncations: ['"sums"', '"my"."rows"', '"lasts"'],
      warnings: [],
    })
    expect(planReset(wish(), [state()], [push]).warnings).toEqual([])
  })

  it('empties only tables of the pipeline', () => {
    expect(() => planReset(wish({ truncate: ['rows; drop table x'] }), [state()], [row])).toThrow(
      /No task .* writes table rows; drop table x; .* takes my\.rows/,
    )
  })

  it('says what an emptied table will not hold again', () => {
    const plan = planReset(
      wish({ truncate: ['my.rows'] }),
      [state({ range: { startOffset: 10n, endOffset: 90n }, nextOffset: 10n })],
      [row],
    )
    expect(plan.warnings).toEqual(['my.rows will hold nothing of what lies at or below the cut: partition 0 up to 9'])
  })

  it('gives up what the log no longer holds when that is said, and asks nothing of tables for it', () => {
    const lost = { range: { startOffset: 60n, endOffset: 70n }, nextOffset: 60n, appliedTo: 55n }
    const plan = planReset(wish({ skipsLost: true }), [state(lost)], [row, sum])
    expect(changesOf(plan)).toEqual([['ahead', 59n]])
    expect(plan.warnings).toEqual(['partition 0 gives up 9 offsets that the log no longer holds'])
  })

  it('gives up no more than what is gone, and asks nothing of tables that are not emptied', () => {
    const lost = state({ range: { startOffset: 60n, endOffset: 90n }, nextOffset: 60n, appliedTo: 80n })
    expect(planReset(wish({ skipsLost: true }), [lost], [row, sum]).partitions[0]).not.toHaveProperty('isAboveMadeAgain')
    const later = wish({ skipsLost: true, point: { kind: 'time', timeMs: 0 } })
    expect(() => planReset(later, [{ ...lost, nextOffset: 70n }], [row])).toThrow(expect.objectContaining({ code: 'FB_RETENTION_PASSED' }))
  })

  it('makes again what lies above a point gone ahead to when tables are emptied of it, and asks for words first', () => {
    const lost = state({ range: { startOffset: 60n, endOffset: 90n }, nextOffset: 60n, appliedTo: 80n })
    expect(() => planReset(wish({ skipsLost: true, truncate: ['my.rows'] }), [lost], [row, sum])).toThrow(/adds up/)
    const all = wish({ skipsLost: true, truncate: ['my.rows', 'sums'] })
    expect(planReset(all, [lost], [row, sum]).partitions).toMatchObject([{ change: 'ahead', cut: 59n, isAboveMadeAgain: true }])
    expect(planReset(all, [{ ...lost, appliedTo: 59n }], [row, sum]).partitions[0]).not.toHaveProperty('isAboveMadeAgain')
  })
})
