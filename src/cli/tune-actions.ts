/** What `forebay tune` does: measure, advise, try, write, print. */
import type { TuneResult } from './tune-result.ts'
import type { TuneOptions } from './tune-result.ts'
import { writeFileSync } from 'node:fs'
import { openFlushProbe, openTune } from '../connect/tune.ts'
import type { TuneBase } from '../connect/tune.ts'
import { sinkBytesOf } from '../node/memory-bound.ts'
import { Parts } from '../node/parts.ts'
import type { NodeSettings } from '../config/settings.ts'
import type { TaskDefinition } from '../pipeline/pipeline.ts'
import { measureEvents } from '../tune/measure-events.ts'
import type { EventSample } from '../tune/measure-events.ts'
import { measureFlushes } from '../tune/measure-flushes.ts'
import type { ProbedTask } from '../tune/measure-flushes.ts'
import { measureGrid } from '../tune/measure-grid.ts'
import { measureTimer } from '../tune/measure-timer.ts'
import { processorShare } from '../tune/processor.ts'
import type { Measurements } from '../tune/measurements.ts'
import { gridChoiceOf, recommendGrid } from '../tune/recommend-grid.ts'
import type { GridAdvice } from '../tune/recommend-grid.ts'
import { predictedWith, recommendTasks } from '../tune/recommend.ts'
import { svgCharts } from '../tune/svg-chart.ts'
import { paint } from '../text/paint.ts'
import type { Target } from './target.ts'
import { TuneBar } from './tune-bar.ts'
import { svgChartsOf } from './tune-charts.ts'
import { tuneJson, tuneText } from './tune-text.ts'
import { tableOf } from '../sinks/traits.ts'
import { writeAdvice } from './tune-write.ts'
import { jsonText } from './json-text.ts'

/** Milliseconds for each part of the measuring. */
const budgets = {
  long: { timer: 1500, events: 10_000, grid: 7000, flushes: 32_000 },
  quick: { timer: 500, events: 3000, grid: 2000, flushes: 7000 },
}

interface Measured {
  readonly measurements: Measurements
  readonly sample: EventSample
}

export async function runTune(target: Target, options: TuneOptions, signal: AbortSignal): Promise<void> {
  const { settings, pipeline, tasks } = target
  const warn = (sentence: string) => void process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${sentence}\n`)
  const result = await measureAndAdvise(target, options, { signal, warn })
  const written = options.write === true ? writeAdvice(target.config, result, { isRouting: options.routing === true }) : null
  if (options.svg !== undefined) writeFileSync(options.svg, svgCharts(svgChartsOf(result)))
  const all = { ...result, written, present: { settings, tasks }, pipeline: pipeline.name }
  const text = options.json === true ? `${jsonText(tuneJson(all))}\n` : tuneText(all, process.stdout.columns ?? 100)
  process.stdout.write(text)
}

async function measureAndAdvise(
  { settings, pipeline, tasks }: Target,
  options: TuneOptions,
  { signal, warn }: { readonly signal: AbortSignal; readonly warn: (sentence: string) => void },
): Promise<TuneResult> {
  using bar = new TuneBar()
  await using parts = new Parts()
  const base = await openTune(settings, pipeline, tasks, { parts, warn })
  const measureShare = options.validate === true ? 0.5 : 1
  const { measurements, sample } = await measure(base, tasks, options, { bar, part: measureShare, signal })
  const gridOf = (isRoutingFree: boolean) =>
    recommendGrid(measurements, settings, { eventLinesBytesMax: sample.eventLinesBytesMax, isRoutingFree, sinkBytes: sinkBytesOf(tasks) })
  const grid = gridOf(true)
  const advised = { ...settings, grid: { ...settings.grid, ...settingsOfGrid(grid) } }
  // The author's own cadence, not that of an earlier tuning, says what is wanted.
  const wishes = tasks.map(({ name }) => ({ task: name, everyMs: pipeline.tasks.find((task) => task.name === name)!.everyMs }))
  const advice = recommendTasks(measurements, gridChoiceOf(advised.grid), wishes)
  const result = { measurements, isLive: sample.isLive, advice, grid, gridAsRouted: gridOf(false), gridChoice: gridChoiceOf(advised.grid) }
  if (options.validate !== true) return { ...result, trial: null }
  const { runTrial } = await import('../connect/tune-trial.ts')
  const choices = new Map(advice.tasks.map(({ task, everyMs, rowsMax, bytesMax }) => [task, { everyMs, rowsMax, bytesMax }]))
  const onStep = bar.part(measureShare, 1)
  const trial = await runTrial(base, { settings: advised, choices, sample, forMs: options.for, onStep, signal })
  // Beside what was measured stands what is predicted for the rings that it was measured with.
  const gridChoice = gridChoiceOf({ ...advised.grid, capacity: trial.capacity })
  return { ...result, gridChoice, advice: predictedWith(measurements, gridChoice, advice), trial: { ...trial, forMs: options.for } }
}

function settingsOfGrid({ queues, segmentBytesMax, capacity, backups, memberHeapMb }: GridAdvice): Partial<NodeSettings['grid']> {
  return { queues, segmentBytesMax, capacity, backups, memberHeapMb }
}

async function measure(
  base: TuneBase,
  tasks: readonly TaskDefinition[],
  { quick, rate }: TuneOptions,
  { bar, part, signal }: { readonly bar: TuneBar; readonly part: number; readonly signal: AbortSignal },
): Promise<Measured> {
  const { clock, settings, pipeline } = base
  const budget = quick === true ? budgets.quick : budgets.long
  const total = budget.timer + budget.events + budget.grid + budget.flushes
  let done = 0
  const step = (budgetMs: number) => {
    const onStep = bar.part((part * done) / total, (part * (done + budgetMs)) / total)
    done += budgetMs
    return { budgetMs, onStep, signal }
  }
  const timerLateMs = await measureTimer(clock, step(budget.timer))
  const share = processorShare()
  const names = tasks.map(({ name }) => name)
  const { lingerMs } = settings.grid
  const sample = await measureEvents(base, { tasks: names, topic: pipeline.source.topic, lingerMs, perSecond: rate }, step(budget.events))
  const lines = [...sample.jobs.values()].find(({ texts }) => texts.length > 0)?.texts ?? ['-']
  const { msPerSegment, ...grid } = await measureGrid(base.grid, lines, clock, step(budget.grid))
  const probed = tasks.map((task) => probedTask(task, sample))
  const { tasks: measured, msPerFlush } = await measureFlushes(await openFlushProbe(base, sample.jobs), probed, clock, step(budget.flushes))
  // Before and after: what others take of the machine changes.
  const ofProcess = { share: (share + processorShare()) / 2, msPerSegment, msPerFlush }
  return { measurements: { events: sample.measurement, tasks: measured, grid, timerLateMs, process: ofProcess }, sample }
}

function probedTask(task: TaskDefinition, { jobs, measurement }: EventSample): ProbedTask {
  const { name, everyMs } = task
  const table = tableOf(task)
  const { texts } = jobs.get(name)!
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0)
  const jobsPerEvent = texts.length / measurement.sampled
  return {
    task: name,
    method: table === undefined ? 'push' : table.upsertOn === undefined ? 'copy' : 'merge',
    jobsPerEvent,
    bytesPerJob: texts.length === 0 ? 0 : bytes / texts.length,
    usualRows: (measurement.perSecond * jobsPerEvent * everyMs) / 1000,
  }
}
