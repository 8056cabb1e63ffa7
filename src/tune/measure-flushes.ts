/** Measures whole flushes of every task by batch size, through a port that writes to scratch tables only. */
import type { Clock } from '../schedule/clock.ts'
import type { FlushMethod, Sized, TaskMeasurement } from './measurements.ts'
import { processorMs } from './processor.ts'
import { Quantiles } from './quantiles.ts'
import { goOn } from './tune-step.ts'
import type { StepOptions } from './tune-step.ts'

export interface FlushProbe {
  /** Flushes `rows` jobs of `task` as a node does, into its scratch table. Throws what the database throws. */
  flush(task: string, rows: number): Promise<void>
}

export interface ProbedTask {
  readonly task: string
  readonly method: FlushMethod
  readonly jobsPerEvent: number
  readonly bytesPerJob: number
  /** Rows of a flush at the present cadence. */
  readonly usualRows: number
}

const sizes = [1, 10, 100, 1000, 5000, 20_000, 50_000] as const
const roundsMax = 60
const roundsLeast = 3
/** Of large batches only a few: they fill a disk. */
const largeRows = 5000
const largeRoundsMax = 5
/** Larger batches would take longer still. */
const slowMs = 1500
/** Share of the time for flushes of all tasks at once. */
const togetherShare = 0.15

export async function measureFlushes(
  probe: FlushProbe,
  tasks: readonly ProbedTask[],
  clock: Clock,
  options: StepOptions,
): Promise<{ readonly tasks: TaskMeasurement[]; readonly msPerFlush: number }> {
  const { budgetMs, onStep } = options
  const flushes: Sized[][] = []
  for (const [index, { task, jobsPerEvent }] of tasks.entries()) {
    const onStepOfTask = (share: number) => onStep(`flushes of ${task}`, ((index + share) / tasks.length) * (1 - togetherShare))
    const taskBudgetMs = ((1 - togetherShare) * budgetMs) / tasks.length
    flushes.push(jobsPerEvent === 0 ? [idle] : await measureTask(probe, task, clock, { ...options, budgetMs: taskBudgetMs }, onStepOfTask))
  }
  const contention = await measureTogether(probe, tasks, flushes, clock, { ...options, budgetMs: togetherShare * budgetMs })
  onStep('flushes', 1)
  return {
    tasks: tasks.map(({ usualRows: _, ...task }, i) => ({ ...task, flushes: flushes[i]!, contention: contention[i]! })),
    msPerFlush: await processorMsOf(
      probe,
      tasks.find(({ method, jobsPerEvent }) => method !== 'push' && jobsPerEvent > 0),
    ),
  }
}

const processorRounds = 20

async function processorMsOf(probe: FlushProbe, table: ProbedTask | undefined): Promise<number> {
  if (table === undefined) return 0
  const usedMs = processorMs()
  for (let round = 0; round < processorRounds; round++) await probe.flush(table.task, sizes[0])
  return (processorMs() - usedMs) / processorRounds
}

/** A task of which the sample has no job costs nothing. */
const idle: Sized = { size: 1, ms: new Quantiles([0]) }

async function measureTask(
  probe: FlushProbe,
  task: string,
  clock: Clock,
  { budgetMs, signal }: StepOptions,
  onStep: (share: number) => void,
): Promise<Sized[]> {
  const series: Sized[] = []
  // Opens connections and prepares statements.
  for (let round = 0; round < roundsLeast; round++) await probe.flush(task, sizes[1])
  const startedMs = clock.now()
  for (const [step, size] of sizes.entries()) {
    const untilMs = startedMs + (budgetMs * (step + 1)) / sizes.length
    const most = size >= largeRows ? largeRoundsMax : roundsMax
    const took: number[] = []
    while (took.length < most && (took.length < roundsLeast || clock.now() < untilMs) && !(took.at(-1)! > slowMs)) {
      goOn(signal)
      const fromMs = clock.now()
      await probe.flush(task, size)
      took.push(clock.now() - fromMs)
    }
    series.push({ size, ms: new Quantiles(took) })
    onStep((step + 1) / sizes.length)
    if (took.at(-1)! > slowMs || (clock.now() - startedMs > 1.5 * budgetMs && series.length > 2)) break
  }
  return series
}

/** By task: how many times longer a usual flush takes while the tables of all others are flushed as well. */
async function measureTogether(
  probe: FlushProbe,
  tasks: readonly ProbedTask[],
  flushes: readonly (readonly Sized[])[],
  clock: Clock,
  { budgetMs, onStep, signal }: StepOptions,
): Promise<number[]> {
  const tables = tasks.filter(({ method, jobsPerEvent }) => method !== 'push' && jobsPerEvent > 0)
  const factors = new Map<string, number>()
  if (tables.length < 2) return tasks.map(() => 1)
  onStep('flushes of all tasks at once', 1 - togetherShare)
  const rowsOf = ({ task, usualRows }: ProbedTask) => {
    const series = flushes[tasks.findIndex((one) => one.task === task)]!
    return { series, rows: Math.max(1, Math.min(Math.round(usualRows), series.at(-1)!.size)) }
  }
  const alone = new Map<string, number>()
  for (const table of tables)
    alone.set(
      table.task,
      await meanOf(probe, table.task, rowsOf(table).rows, clock, { untilMs: clock.now() + budgetMs / 2 / tables.length, signal }),
    )
  const untilMs = clock.now() + budgetMs / 2
  await Promise.all(
    tables.map(async (table) => {
      const together = await meanOf(probe, table.task, rowsOf(table).rows, clock, { untilMs, signal })
      factors.set(table.task, Math.max(1, together / Math.max(1e-6, alone.get(table.task)!)))
    }),
  )
  return tasks.map(({ task }) => factors.get(task) ?? 1)
}

async function meanOf(
  probe: FlushProbe,
  task: string,
  rows: number,
  clock: Clock,
  { untilMs, signal }: { untilMs: number; signal: AbortSignal },
): Promise<number> {
  const startedMs = clock.now()
  let count = 0
  do {
    goOn(signal)
    await probe.flush(task, rows)
    count++
  } while (clock.now() < untilMs)
  return (clock.now() - startedMs) / count
}
