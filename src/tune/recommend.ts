/**
 * What `forebay tune` advises for the tasks, from what was measured. Pure.
 *
 * A task whose author wants it every 100 ms or more has its cadence for its meaning, and keeps it while the database bears it. A faster one
 * is fast for the sake of latency, and gets the shortest interval of which, at the busiest rate seen, flushes take half at most,
 * also the slow ones (p95), and which is twice as long as timers are late (p99). Pushes never come below 10 ms: clients get no more frames. Then the
 * busiest tasks get longer intervals until all tables together keep one connection busy for at most 70% of the time.
 *
 * Where nothing fits, the longest interval up to 10 s is taken, since large flushes carry most, and the headroom says so.
 */
import type { Measurements, TaskMeasurement } from './measurements.ts'
import { headroomOf, predict, processUse } from './predict.ts'
import type { ChosenTask, GridChoice, Prediction, TaskChoice } from './predict.ts'
import { rateAt, timeAt } from './series.ts'

export interface TaskWish {
  readonly task: string
  /** As the pipeline says it. */
  readonly everyMs: number
}

export interface TaskAdvice extends TaskChoice {
  readonly task: string
  readonly predicted: Prediction
}

export interface Advice {
  readonly tasks: readonly TaskAdvice[]
  /** How many times the mean rate the database could carry, all tables together; below 1 it falls behind, however many nodes there are. */
  readonly headroom: number
  /** Of the processor time that one process gets here, what one node needs that does it all; above 1 it takes more nodes. */
  readonly processUse: number
}

/** Intervals that are considered, and those of the charts. */
export const intervals = [
  5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 3000, 5000, 7500, 10_000,
] as const

const slowMs = 100
const pushMsMin = 10
const busyShareMax = 0.5
const busyShareOfAllMax = 0.7
const flushMsMax = 1000
const rowsMaxLeast = 100
const rowsMaxMost = 50_000
const bytesMaxLeast = 64 * 1024
const bytesMaxMost = 8 * 1024 * 1024
const kneeShare = 0.9

/** `wishes` in the order of the measured tasks. */
export function recommendTasks(measured: Measurements, grid: GridChoice, wishes: readonly TaskWish[]): Advice {
  const limits = measured.tasks.map((of) => limitsOf(of, measured))
  const chosen = measured.tasks.map((of, i): ChosenTask => {
    const everyMs = intervalOf(of, measured, wishes[i]!.everyMs)
    return { of, choice: { everyMs, ...limits[i]! } }
  })
  relieve(chosen, measured, grid)
  return adviceOf(measured, grid, chosen)
}

/** The same cadences and limits, predicted for another grid. */
export function predictedWith(measured: Measurements, grid: GridChoice, { tasks }: Advice): Advice {
  return adviceOf(
    measured,
    grid,
    measured.tasks.map((of, i) => ({ of, choice: tasks[i]! })),
  )
}

function adviceOf(measured: Measurements, grid: GridChoice, chosen: readonly ChosenTask[]): Advice {
  const predictions = predict(measured, grid, chosen)
  const use = processUse(
    measured,
    grid,
    chosen.map(({ of }, i) => ({ of, periodMs: predictions[i]!.periodMs })),
  )
  const tasks = chosen.map(({ of, choice }, i) => ({ ...choice, task: of.task, predicted: predictions[i]! }))
  return { tasks, headroom: headroomOf(measured, predictions), processUse: use }
}

function intervalOf(of: TaskMeasurement, { events, timerLateMs }: Measurements, wantedMs: number): number {
  const leastMs = wantedMs >= slowMs ? wantedMs : of.method === 'push' ? pushMsMin : 0
  const peakPerMs = (events.peakPerSecond * of.jobsPerEvent) / 1000
  const resolutionMs = 2 * timerLateMs.at(0.99)
  const fits = (everyMs: number) =>
    everyMs >= leastMs &&
    everyMs >= resolutionMs &&
    timeAt(of.flushes, Math.max(1, peakPerMs * everyMs), 0.95) * Math.max(1, of.contention) <= busyShareMax * everyMs
  const candidates = [...new Set([...intervals, wantedMs])].toSorted((a, b) => a - b)
  return candidates.find(fits) ?? Math.max(leastMs, intervals.at(-1)!)
}

/** Lengthens the interval of the busiest task until all tables together leave room, or none can be lengthened. */
function relieve(chosen: ChosenTask[], measured: Measurements, grid: GridChoice): void {
  for (let round = 0; round < intervals.length * chosen.length; round++) {
    const busy = predict(measured, grid, chosen, measured.events.peakPerSecond).map(({ utilisation }, i) =>
      chosen[i]!.of.method === 'push' ? 0 : utilisation,
    )
    if (busy.reduce((sum, share) => sum + share, 0) <= busyShareOfAllMax) return
    const longer = chosen.map(({ choice }) => intervals.find((everyMs) => everyMs > choice.everyMs))
    const order = busy.map((_, i) => i).toSorted((a, b) => busy[b]! - busy[a]!)
    const busiest = order.find((i) => busy[i]! > 0 && longer[i] !== undefined)
    if (busiest === undefined) return
    const { of, choice } = chosen[busiest]!
    chosen[busiest] = { of, choice: { ...choice, everyMs: longer[busiest]! } }
  }
}

/** The batch from which on larger ones bring little, and that one second carries: a flush larger than that is worth no waiting. */
function limitsOf(of: TaskMeasurement, { events }: Measurements): Pick<TaskChoice, 'rowsMax' | 'bytesMax'> {
  const quick = of.flushes.filter(({ ms }) => ms.at(0.95) <= flushMsMax)
  const usable = quick.length > 0 ? quick : of.flushes.slice(0, 1)
  const best = Math.max(...usable.map(({ size }) => rateAt(of.flushes, size)))
  const knee = usable.find(({ size }) => rateAt(of.flushes, size) >= kneeShare * best)!.size
  // A burst should not be cut into flushes smaller than it need be: what comes in a quarter of a second.
  const burstRows = (events.peakPerSecond * of.jobsPerEvent) / 4
  const largest = usable.at(-1)!.size
  const rowsMax = rounded(Math.min(rowsMaxMost, Math.max(rowsMaxLeast, knee, Math.min(burstRows, largest))))
  const bytes = 2 ** Math.ceil(Math.log2(Math.max(1, rowsMax * of.bytesPerJob)))
  return { rowsMax, bytesMax: Math.min(bytesMaxMost, Math.max(bytesMaxLeast, bytes)) }
}

/** To two digits. */
function rounded(value: number): number {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1)
  return Math.ceil(value / unit) * unit
}
