/** Measurements made up for tests: everything takes no time but what a test says. */
import type { EventMeasurement, FlushMethod, Measurements, Sized, TaskMeasurement } from '../../src/tune/measurements.ts'
import { Quantiles } from '../../src/tune/quantiles.ts'

export const nothing = new Quantiles([0])

/** A flush of n rows takes `fixedMs` and `perRowMs` each. */
export function flushes(fixedMs: number, perRowMs: number): Sized[] {
  return [1, 10, 100, 1000, 5000, 20_000].map((size) => ({ size, ms: new Quantiles([fixedMs + perRowMs * size]) }))
}

export function taskMeasured(task: string, series: readonly Sized[], method: FlushMethod = 'copy'): TaskMeasurement {
  return { task, method, jobsPerEvent: 1, bytesPerJob: 60, flushes: series, contention: 1 }
}

export function eventsMeasured(perSecond: number, more: Partial<EventMeasurement> = {}): EventMeasurement {
  return {
    partitions: 4,
    perSecond,
    peakPerSecond: perSecond,
    burst: new Quantiles([1]),
    fetchMs: null,
    batchesPerSecond: null,
    bytesPerEvent: 100,
    lineBytesPerEvent: 100,
    convertMsPerEvent: 0.01,
    sampled: 1000,
    ...more,
  }
}

export function measured(perSecond: number, tasks: readonly TaskMeasurement[], more: Partial<Measurements> = {}): Measurements {
  const free = [1024, 131_072].map((size) => ({ size, ms: nothing }))
  return {
    events: eventsMeasured(perSecond),
    tasks,
    grid: { append: free, delivery: free },
    timerLateMs: nothing,
    process: { share: 1, msPerSegment: 0, msPerFlush: 0 },
    ...more,
  }
}
