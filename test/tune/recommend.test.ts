import { describe, expect, it } from 'vitest'
import { checkMemory } from '../../src/node/memory-bound.ts'
import { sizeText } from '../../src/text/units.ts'
import { recommendTasks } from '../../src/tune/recommend.ts'
import { gridChoiceOf, recommendGrid } from '../../src/tune/recommend-grid.ts'
import { channelBytesMax } from '../../src/sinks/web-socket/latest-values.ts'
import { Quantiles } from '../../src/tune/quantiles.ts'
import { nodeSettings } from '../support/live-node.ts'
import { eventsMeasured, flushes, measured, taskMeasured } from './measured.ts'

const grid = { queues: 2, segmentBytesMax: 131_072, windowSegmentsMax: 10_000, lingerMs: 5 }
const adviceFor = (all: ReturnType<typeof measured>, everyMs = 15) => {
  const wishes = all.tasks.map(({ task }) => ({ task, everyMs }))
  return recommendTasks(all, grid, wishes)
}

describe('The advice for tasks', () => {
  it.each([
    [2, 5],
    [4, 10],
    [7, 15],
    [40, 100],
  ])('gives flushes of %i ms an interval of %i ms: they take half of it at most', (flushMs, everyMs) => {
    expect(adviceFor(measured(1000, [taskMeasured('a', flushes(flushMs, 0))])).tasks[0]!.everyMs).toBe(everyMs)
  })

  it('asks a slow database for longer intervals and promises less headroom', () => {
    const fast = adviceFor(measured(1000, [taskMeasured('a', flushes(3, 0.003))]))
    const slow = adviceFor(measured(1000, [taskMeasured('a', flushes(20, 0.3))]))
    expect(slow.tasks[0]!.everyMs).toBeGreaterThan(fast.tasks[0]!.everyMs)
    expect(slow.headroom).toBeLessThan(fast.headroom)
    expect(slow.tasks[0]!.predicted.p50Ms!).toBeGreaterThan(fast.tasks[0]!.predicted.p50Ms!)
  })

  it('looks at the busiest rate, not at the mean one', () => {
    const tasks = [taskMeasured('a', flushes(1, 0.2))]
    const calm = adviceFor(measured(1000, tasks))
    const busy = adviceFor(measured(1000, tasks, { events: eventsMeasured(1000, { peakPerSecond: 2400 }) }))
    expect(busy.tasks[0]!.everyMs).toBeGreaterThan(calm.tasks[0]!.everyMs)
  })

  it.each([100, 1000, 60_000])('leaves a cadence of %i ms as the author wants it', (everyMs) => {
    expect(adviceFor(measured(1000, [taskMeasured('a', flushes(2, 0))]), everyMs).tasks[0]!.everyMs).toBe(everyMs)
  })

  it('lengthens a wanted cadence that the database does not bear', () => {
    expect(adviceFor(measured(100, [taskMeasured('a', flushes(400, 0))]), 100).tasks[0]!.everyMs).toBe(1000)
  })

  it('pushes no oftener than clients get frames', () => {
    expect(adviceFor(measured(1000, [taskMeasured('p', flushes(0.01, 0), 'push')])).tasks[0]!.everyMs).toBe(10)
  })

  it('takes no interval that timers cannot keep', () => {
    const all = measured(1000, [taskMeasured('a', flushes(1, 0))], { timerLateMs: new Quantiles([0, 12]) })
    expect(adviceFor(all).tasks[0]!.everyMs).toBe(25)
  })

  it('leaves room on the database for all tables together', () => {
    const alone = adviceFor(measured(1000, [taskMeasured('a', flushes(7, 0))]))
    const three = adviceFor(
      measured(
        1000,
        ['a', 'b', 'c'].map((task) => taskMeasured(task, flushes(7, 0))),
      ),
    )
    const busy = three.tasks.reduce((sum, { predicted }) => sum + predicted.utilisation, 0)
    expect(busy).toBeLessThanOrEqual(0.7)
    expect(three.tasks[0]!.everyMs).toBeGreaterThan(alone.tasks[0]!.everyMs)
  })

  it('says of a database that cannot keep up that it does not', () => {
    const { tasks, headroom } = adviceFor(measured(10_000, [taskMeasured('a', flushes(5, 1))]))
    expect(tasks[0]!.predicted.p50Ms).toBeNull()
    expect(headroom).toBeLessThan(0.11)
  })

  it('ends batches where larger ones bring little, and none that takes a second', () => {
    const knee = adviceFor(measured(100, [taskMeasured('a', flushes(10, 0.01))])).tasks[0]!
    // 10 ms and 0.01 ms a row: 20,000 rows go at 95% of the most, 5,000 at 87% of that.
    expect(knee.rowsMax).toBe(20_000)
    const slow = adviceFor(measured(100, [taskMeasured('a', flushes(10, 0.5))])).tasks[0]!
    expect(slow.rowsMax).toBeLessThanOrEqual(1000)
    expect(knee.bytesMax).toBe(2 * 1024 * 1024)
  })
})

describe('The advice for the grid', () => {
  const settings = (members: number, more = {}) => {
    const names = Array.from({ length: members }, (_, i) => `127.0.0.1:${5701 + i}`)
    const own = nodeSettings({ url: 'postgres://x' })
    return { ...own, grid: { ...own.grid, mode: 'embedded' as const, members: names, backups: 1, memberHeapMb: 512, lingerMs: 5, ...more } }
  }
  const timed = (msPerKib: number) => {
    const sizes = [1, 64, 128, 512, 1024].map((kib) => ({ size: kib * 1024, ms: new Quantiles([0.2 + kib * msPerKib]) }))
    return { append: sizes, delivery: sizes }
  }
  const advise = (perSecond: number, of: ReturnType<typeof settings>, eventLinesBytesMax = 200, msPerKib = 0.003, sinkBytes = 0) =>
    recommendGrid({ events: eventsMeasured(perSecond, { lineBytesPerEvent: 200 }), grid: timed(msPerKib) }, of, {
      eventLinesBytesMax,
      isRoutingFree: true,
      sinkBytes,
    })

  it.each([
    [1, 1],
    [3, 2],
    [9, 5],
  ])('gives %i nodes %i queues a partition: two for each node', (nodes, queues) => {
    expect(advise(1000, settings(nodes)).queues).toBe(queues)
  })

  it('takes more queues and larger segments for more bytes', () => {
    const calm = advise(1000, settings(3))
    const busy = advise(2_000_000, settings(3), 200, 0.02)
    expect(busy.segmentBytesMax).toBeGreaterThan(calm.segmentBytesMax)
    expect(busy.queues).toBeGreaterThan(calm.queues)
  })

  it('makes segments as large as the largest event needs', () => {
    expect(sizeText(advise(1000, settings(3), 300_000).segmentBytesMax)).toBe('384KiB')
  })

  it('never advises rings that would not fit the advised heap', () => {
    for (const perSecond of [1, 1000, 100_000, 3_000_000]) {
      for (const members of [1, 2, 3]) {
        const { memberHeapMb, worstCase } = advise(perSecond, settings(members))
        expect(worstCase.memberBytes!).toBeLessThanOrEqual(memberHeapMb * 1024 * 1024 * 0.8)
      }
    }
  })

  it('counts the values of channels in the worst case, as start does', () => {
    const of = settings(1, { mode: 'local', members: [] })
    const { worstCase, queues, segmentBytesMax, capacity } = advise(1000, of, 200, 0.003, 2 * channelBytesMax)
    const advised = { ...of, grid: { ...of.grid, queues, segmentBytesMax, capacity } }
    expect(worstCase.nodeBytes).toBe(checkMemory(advised, eventsMeasured(1000).partitions, { sinkBytes: 2 * channelBytesMax }).nodeBytes)
    expect(worstCase.nodeBytes).toBeGreaterThan(advise(1000, of).worstCase.nodeBytes)
  })

  it('keeps queues and segments that are set when it may not change the routing', () => {
    const of = settings(3, { queues: 7, segmentBytesMax: 1 << 20 })
    const all = { events: eventsMeasured(1000), grid: timed(0.003) }
    const { queues, segmentBytesMax, memberHeapMb } = recommendGrid(all, of, {
      eventLinesBytesMax: 200,
      isRoutingFree: false,
      sinkBytes: 0,
    })
    expect([queues, segmentBytesMax]).toEqual([7, 1 << 20])
    expect(memberHeapMb).toBeGreaterThanOrEqual(512)
  })

  it.each([
    [1, 1, 1],
    [3, 0, 1],
    [3, 2, 2],
    [2, 3, 1],
  ])('asks %i members with %i backups for %i', (members, present, backups) => {
    expect(advise(1000, settings(members, { backups: present })).backups).toBe(backups)
  })

  it('is what the model takes', () => {
    expect(gridChoiceOf({ queues: 2, capacity: 144, segmentBytesMax: 1, lingerMs: 3 })).toMatchObject({
      windowSegmentsMax: 64,
      lingerMs: 3,
    })
  })
})
