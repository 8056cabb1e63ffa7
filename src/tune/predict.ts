/**
 * The model behind `forebay tune`: measurements and settings to latencies. Pure; the same input gives the same figures.
 *
 * The latency of a row, from the time of its record to its commit, is the sum of
 *
 *   fetch      the record reaches the owner of its partition: as measured on the topic;
 *   linger     it waits for company: `linger` for the first arrival of a segment, evenly less for those that follow, and no longer
 *              than it takes to fill a segment; and as late as timers are. Events arrive in batches, as many as were seen;
 *   delivery   the segment is appended and read by another process: as measured, at the bytes it has by then;
 *   tick       the wait from a moment of its own to the next flush, and as late as timers are;
 *   flush      the transaction, as measured, at the rows that the period brought.
 *
 * The period is `every`; rows, bytes or half a window of segments bring a flush early, and the next tick comes all the same. It is longer when a flush takes
 * longer: the next one begins when the last has ended, and takes all that came meanwhile. Queueing is just that: near full use
 * period and batch grow together until the flush keeps up, or never, and then there is no figure. Bursts make larger segments and batches, at the
 * shares in which events met them. The more of the time other tasks flush, the nearer a flush is to what it takes beside theirs.
 * A node does one thing at a time, so a row waits for other work at each of its turns, the longer the more of its share of a core the
 * process uses (turns x slice x use / (1 - use)). Everything is that of one node that does it all, as after the others died.
 *
 * The parts are independent, so the sum is sampled at points that fill their space evenly.
 */
import type { EventMeasurement, Measurements, TaskMeasurement } from './measurements.ts'
import { Quantiles } from './quantiles.ts'
import { meanTimeAt, ratePerSecond, timeAt } from './series.ts'

export interface GridChoice {
  /** Of each partition. */
  readonly queues: number
  readonly segmentBytesMax: number
  readonly windowSegmentsMax: number
  readonly lingerMs: number
}

export interface TaskChoice {
  readonly everyMs: number
  readonly rowsMax: number
  readonly bytesMax: number
}

export interface Prediction {
  /** Null when flushes do not keep up: rows then wait longer and longer. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  /** From the beginning of a flush to the beginning of the next. */
  readonly periodMs: number
  /** Rows of a flush on average. */
  readonly rows: number
  /** Share of the time in which the task flushes. */
  readonly utilisation: number
  readonly rowsPerSecondMax: number
  /** `rowsPerSecondMax` over the rows that come. */
  readonly headroom: number
}

export interface ChosenTask {
  readonly of: TaskMeasurement
  readonly choice: TaskChoice
}

const points = 4096
const fixedPointRounds = 60

/** `rate`: events a second, default the mean one. Predictions are in the order of `tasks`. */
export function predict(
  measured: Omit<Measurements, 'tasks'>,
  grid: GridChoice,
  tasks: readonly ChosenTask[],
  rate: number = measured.events.perSecond,
): Prediction[] {
  const alone = tasks.map((task) => loadOf(measured.events, grid, task, rate, 1))
  const used = Math.min(
    useMax,
    processUse(
      measured,
      grid,
      alone.map(({ periodMs }, i) => ({ of: tasks[i]!.of, periodMs })),
      rate,
    ),
  )
  const turnMs = (measured.process.msPerSegment / 2 / measured.process.share) * (used / (1 - used))
  return tasks.map((task, index) => {
    const others = alone.reduce((sum, { utilisation }, other) => sum + (other === index ? 0 : utilisation), 0)
    const slowdown = 1 + (Math.max(1, task.of.contention) - 1) * Math.min(1, others)
    const load = loadOf(measured.events, grid, task, rate, slowdown)
    const perSecond = rate * task.of.jobsPerEvent
    const rowsPerSecondMax = ratePerSecond(task.of.flushes, task.choice.rowsMax) / slowdown
    const latency = load.keepsUp ? latencyOf(measured, grid, { ...load, of: task.of, slowdown, rate, turnMs }) : undefined
    return {
      p50Ms: latency?.at(0.5) ?? null,
      p99Ms: latency?.at(0.99) ?? null,
      periodMs: load.periodMs,
      rows: load.rows,
      utilisation: load.utilisation,
      rowsPerSecondMax,
      headroom: perSecond === 0 ? Number.POSITIVE_INFINITY : rowsPerSecondMax / perSecond,
    }
  })
}

/** How many times the rate could be, of tables that share one database; it is the same for any number of nodes. */
export function headroomOf({ tasks }: Pick<Measurements, 'tasks'>, predictions: readonly Prediction[]): number {
  return 1 / tasks.reduce((sum, { method }, i) => sum + (method === 'push' ? 0 : 1 / predictions[i]!.headroom), 0)
}

/** Settles of a partition in a second, while its windows are not half full; each has half the statements of a flush. */
const settlesPerSecond = 5
/** Times at which a row waits for the process: polled, sent, acknowledged and read, its tick, and the statements of its flush. */
const turns = 7
/** Nearer to full use the wait is endless on paper; in life segments and batches grow instead. */
const useMax = 0.8

/** How much of the processor time that the process gets a node of `tasks` needs; above 1 it falls behind. */
export function processUse(
  { events, process: { share, msPerSegment, msPerFlush } }: Pick<Measurements, 'events' | 'process'>,
  grid: GridChoice,
  tasks: readonly { readonly of: TaskMeasurement; readonly periodMs: number }[],
  rate: number = events.perSecond,
): number {
  const flushesPerMs = tasks.reduce((sum, { of, periodMs }) => sum + (of.method === 'push' ? 0 : 1 / periodMs), 0)
  const settlesPerMs = rate === 0 ? 0 : (events.partitions * settlesPerSecond) / 1000
  const segments = segmentsPerMs(events, grid, rate) * events.partitions * grid.queues
  return ((rate / 1000) * events.convertMsPerEvent + segments * msPerSegment + (flushesPerMs + settlesPerMs / 2) * msPerFlush) / share
}

interface Load {
  readonly periodMs: number
  readonly tickMs: number
  readonly rows: number
  readonly utilisation: number
  readonly keepsUp: boolean
}

/** How often a partition brings events, one or more at a time. */
function arrivalsPerMs({ partitions, batchesPerSecond }: EventMeasurement, rate: number): number {
  const events = rate / partitions / 1000
  // At a higher rate batches grow; they do not come oftener.
  return batchesPerSecond === null ? events : Math.min(events, batchesPerSecond / 1000)
}

function loadOf(events: EventMeasurement, grid: GridChoice, { of, choice }: ChosenTask, rate: number, slowdown: number): Load {
  const perMs = (rate * of.jobsPerEvent) / 1000
  const timeOf = (rows: number) => meanTimeAt(of.flushes, Math.max(1, rows)) * slowdown
  const earlyMs = Math.min(
    perMs === 0 ? Infinity : choice.rowsMax / perMs,
    perMs === 0 ? Infinity : choice.bytesMax / (perMs * Math.max(1, of.bytesPerJob)),
    Math.max(1, Math.floor(grid.windowSegmentsMax / 2)) / segmentsPerMs(events, grid, rate),
  )
  const wantedMs = Math.min(choice.everyMs, earlyMs)
  let periodMs = wantedMs
  for (let round = 0; round < fixedPointRounds; round++) periodMs = Math.max(wantedMs, timeOf(Math.min(choice.rowsMax, perMs * periodMs)))
  const rows = Math.min(perMs * periodMs, choice.rowsMax)
  return {
    periodMs,
    tickMs: choice.everyMs,
    rows,
    utilisation: Math.min(1, timeOf(rows) / periodMs),
    // At most `rowsMax` rows leave with a flush.
    keepsUp: perMs * periodMs <= choice.rowsMax * 1.0001,
  }
}

/** From a moment at `share` of an interval to the next flush, which may come early. */
function tickWait({ periodMs, tickMs }: Load, flushMs: number, share: number): number {
  if (periodMs >= tickMs) return Math.max(periodMs, flushMs) * share
  const momentMs = tickMs * share
  return Math.min(tickMs, (Math.floor(momentMs / periodMs) + 1) * periodMs) - momentMs
}

/** Segments of one queue. */
function segmentsPerMs(events: EventMeasurement, grid: GridChoice, rate: number): number {
  const ofPartition = rate / events.partitions / 1000
  if (ofPartition === 0) return 1e-9
  const ofQueue = ofPartition / grid.queues
  const cycleMs = grid.lingerMs + 1 / arrivalsPerMs(events, rate)
  const lingering = (1 - Math.exp(-ofQueue * cycleMs)) / cycleMs
  return Math.max(lingering, (ofQueue * events.lineBytesPerEvent) / grid.segmentBytesMax)
}

function latencyOf(
  { events, grid: measured, timerLateMs }: Omit<Measurements, 'tasks'>,
  grid: GridChoice,
  load: Load & { of: TaskMeasurement; slowdown: number; rate: number; turnMs: number },
): Quantiles {
  const { rows, of, slowdown, rate, turnMs } = load
  const ofPartition = rate / events.partitions / 1000
  const arrivals = arrivalsPerMs(events, rate)
  const sums: number[] = []
  for (let i = 0; i < points; i++) {
    const [fetch, company, lateLinger, delivery, phase, lateTick, flush, burst, busy] = pointAt(i) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    const factor = events.burst.at(burst)
    const perMs = ofPartition * factor
    const fillMs = grid.segmentBytesMax / Math.max(1e-9, (perMs / grid.queues) * events.lineBytesPerEvent)
    const lingerMs = Math.min(grid.lingerMs, fillMs)
    // Of the arrivals of a segment one is the first, and waits for all of it.
    const firstShare = 1 / (1 + arrivals * lingerMs)
    const lingered = company < firstShare ? lingerMs : (lingerMs * (company - firstShare)) / (1 - firstShare)
    const segmentBytes = Math.max(events.lineBytesPerEvent, (perMs / grid.queues) * lingerMs * events.lineBytesPerEvent)
    const flushMs = timeAt(of.flushes, Math.max(1, rows * factor), flush) * slowdown
    sums.push(
      (events.fetchMs?.at(fetch) ?? 0) +
        lingered +
        (lingerMs < grid.lingerMs ? 0 : timerLateMs.at(lateLinger)) +
        timeAt(measured.delivery, Math.min(grid.segmentBytesMax, segmentBytes), delivery) +
        tickWait(load, flushMs, phase) +
        timerLateMs.at(lateTick) +
        turns * turnMs * 2 * busy +
        flushMs,
    )
  }
  return new Quantiles(sums)
}

const strides = [2, 3, 5, 7, 11, 13, 17, 19, 23].map((prime) => Math.sqrt(prime) % 1)

/** Point `i` of a sequence that fills the unit cube of nine dimensions evenly. */
function pointAt(i: number): number[] {
  return strides.map((stride) => (0.5 + (i + 1) * stride) % 1)
}
