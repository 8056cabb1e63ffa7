import { describe, expect, it } from 'vitest'
import { headroomOf, predict, processUse } from '../../src/tune/predict.ts'
import type { GridChoice, TaskChoice } from '../../src/tune/predict.ts'
import { Quantiles } from '../../src/tune/quantiles.ts'
import { eventsMeasured, flushes, measured, taskMeasured } from './measured.ts'

const grid: GridChoice = { queues: 2, segmentBytesMax: 131_072, windowSegmentsMax: 10_000, lingerMs: 0 }
const every = (everyMs: number, more: Partial<TaskChoice> = {}): TaskChoice => ({ everyMs, rowsMax: 50_000, bytesMax: 1 << 30, ...more })

function one(all: ReturnType<typeof measured>, choice: TaskChoice, of: GridChoice = grid) {
  return predict(all, of, [{ of: all.tasks[0]!, choice }])[0]!
}

describe('The model of tune', () => {
  it.each([10, 100, 1000])('lets a row wait evenly in an interval of %i ms when nothing else takes time', (everyMs) => {
    const { p50Ms, p99Ms } = one(measured(1000, [taskMeasured('a', flushes(0, 0))]), every(everyMs))
    expect(p50Ms! / everyMs).toBeCloseTo(0.5, 1)
    expect(p99Ms! / everyMs).toBeCloseTo(0.99, 2)
  })

  it('adds fetch, linger, delivery, late timers and the flush', () => {
    const slow = [{ size: 1024, ms: new Quantiles([20]) }]
    const all = measured(4, [taskMeasured('a', flushes(30, 0))], {
      events: eventsMeasured(4, { fetchMs: new Quantiles([100]) }),
      grid: { append: slow, delivery: slow },
      timerLateMs: new Quantiles([2]),
    })
    // One event a second and partition: nearly each is the first of its segment.
    const { p50Ms } = one(all, every(40), { ...grid, lingerMs: 7 })
    expect(p50Ms).toBeCloseTo(100 + 7 + 2 + 20 + 20 + 2 + 30, 0)
  })

  it.each([
    ['each for itself, all wait the whole linger', 1, 10],
    ['a thousand a second, half of it on average', 1000, 5.5],
  ])('takes linger by how events arrive: %s', (_, batchesPerSecond, meanMs) => {
    const events = eventsMeasured(400_000, { batchesPerSecond, lineBytesPerEvent: 1, partitions: 1 })
    const all = measured(400_000, [taskMeasured('a', flushes(0, 0))], { events })
    const { p50Ms } = one(all, every(0.001), { ...grid, lingerMs: 10 })
    expect(Math.abs(p50Ms! - meanMs)).toBeLessThan(0.6)
  })

  it('flushes at the pace of the flush when that is longer than the interval', () => {
    const { periodMs, rows, p50Ms } = one(measured(1000, [taskMeasured('a', flushes(50, 0))]), every(10))
    expect(periodMs).toBeCloseTo(50)
    expect(rows).toBeCloseTo(50)
    expect(p50Ms).toBeCloseTo(75, 0)
  })

  it('lets batch and period grow until the flush keeps up', () => {
    // 10 ms and 0.5 ms a row at 1 row a ms: P = 10 + P / 2.
    const { periodMs, utilisation } = one(measured(1000, [taskMeasured('a', flushes(10, 0.5))]), every(5))
    expect(periodMs).toBeCloseTo(20, 1)
    expect(utilisation).toBeCloseTo(1)
  })

  it('has no figure when more rows come than go', () => {
    const { p50Ms, p99Ms, headroom } = one(measured(1000, [taskMeasured('a', flushes(10, 2))]), every(1000))
    expect([p50Ms, p99Ms]).toEqual([null, null])
    expect(headroom).toBeCloseTo(0.5, 1)
  })

  it.each([
    ['rowsMax', every(1000, { rowsMax: 100 }), grid],
    ['bytesMax', every(1000, { bytesMax: 6000 }), grid],
    ['half a window of segments', every(1000), { ...grid, windowSegmentsMax: 20, lingerMs: 5 }],
  ])('flushes before the interval is over by %s', (_, choice, of) => {
    const { periodMs, p99Ms } = one(measured(1000, [taskMeasured('a', flushes(0, 0))]), choice, of)
    expect(periodMs).toBeLessThan(201)
    expect(p99Ms).toBeLessThan(210)
    expect(periodMs).toBeGreaterThan(50)
  })

  it('feels bursts in the batch, at the share of the events that are in them', () => {
    const burst = new Quantiles([...Array.from({ length: 90 }, () => 0.1), ...Array.from({ length: 10 }, () => 50)])
    const tasks = [taskMeasured('a', flushes(0, 0.1))]
    const calm = one(measured(1000, tasks), every(20))
    const bursty = one(measured(1000, tasks, { events: eventsMeasured(1000, { burst }) }), every(20))
    expect(bursty.p99Ms!).toBeGreaterThan(calm.p99Ms! + 50)
    expect(Math.abs(bursty.p50Ms! - calm.p50Ms!)).toBeLessThan(5)
  })

  it('takes flushes for longer the more other tasks flush meanwhile', () => {
    const tasks = [{ ...taskMeasured('a', flushes(5, 0)), contention: 3 }, taskMeasured('b', flushes(9, 0))]
    const at = (otherEveryMs: number) =>
      predict(measured(1000, tasks), grid, [
        { of: tasks[0]!, choice: every(100) },
        { of: tasks[1]!, choice: every(otherEveryMs) },
      ])[0]!
    expect(at(10).p50Ms! - at(10_000).p50Ms!).toBeCloseTo(5 * 2 * 0.9, 0)
    expect(at(10).headroom).toBeLessThan(at(10_000).headroom)
  })

  it('lets rows wait for a process that gets little of the machine, and says that it falls behind', () => {
    const tasks = [taskMeasured('a', flushes(1, 0))]
    const at = (share: number) => measured(1000, tasks, { process: { share, msPerSegment: 0.4, msPerFlush: 1 } })
    const lingering = { ...grid, lingerMs: 5 }
    const [idle, busy] = [one(at(1), every(10), lingering), one(at(0.2), every(10), lingering)]
    expect(busy.p50Ms!).toBeGreaterThan(idle.p50Ms! + 20)
    const useOf = (share: number) => processUse(at(share), lingering, [{ of: tasks[0]!, periodMs: 10 }])
    expect(useOf(1)).toBeLessThan(1)
    expect(useOf(0.2)).toBeCloseTo(5 * useOf(1))
  })

  it('counts the headroom of tables that share a database', () => {
    const tasks = [taskMeasured('a', flushes(0, 0.1)), taskMeasured('b', flushes(0, 0.1)), taskMeasured('p', flushes(0, 0.0001), 'push')]
    const all = measured(1000, tasks)
    const predictions = predict(
      all,
      grid,
      tasks.map((of) => ({ of, choice: every(10) })),
    )
    expect(predictions[0]!.headroom).toBeCloseTo(10)
    expect(headroomOf(all, predictions)).toBeCloseTo(5)
  })
})
