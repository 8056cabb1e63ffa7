/** What `forebay tune` prints. Pure. */
import { exactSizeText } from './tune-result.ts'
import type { TuneReport } from './tune-result.ts'
import { tableText } from '../text/table-text.ts'
import { durationText, sizeText } from '../text/units.ts'
import { barChart } from '../tune/chart.ts'
import type { Sized } from '../tune/measurements.ts'
import type { TaskAdvice } from '../tune/recommend.ts'
import { rateAt } from '../tune/series.ts'
import { barChartsOf, countText, msText } from './tune-charts.ts'

const busyShare = 0.6
const useMax = 0.8

export function tuneJson(report: TuneReport) {
  const { pipeline, measurements, isLive, advice, grid, trial, written } = report
  const { events, timerLateMs } = measurements
  return {
    pipeline,
    tasks: advice.tasks.map((task, i) => ({
      task: task.task,
      every: durationText(task.everyMs),
      rowsMax: task.rowsMax,
      bytesMax: exactSizeText(task.bytesMax),
      predicted: { p50Ms: tenth(task.predicted.p50Ms), p99Ms: tenth(task.predicted.p99Ms) },
      measured: measuredOf(report, task),
      headroom: finite(task.predicted.headroom),
      keepsUp: task.predicted.p50Ms !== null,
      rowsPerSecondMax: Math.round(task.predicted.rowsPerSecondMax),
      rowsPerFlush: Math.round(task.predicted.rows * 10) / 10,
      periodMs: tenth(task.predicted.periodMs),
      utilisation: Math.round(task.predicted.utilisation * 1000) / 1000,
      method: measurements.tasks[i]!.method,
    })),
    headroom: finite(advice.headroom),
    processUse: Math.round(advice.processUse * 1000) / 1000,
    grid: {
      queues: grid.queues,
      capacity: grid.capacity,
      segmentBytesMax: exactSizeText(grid.segmentBytesMax),
      backups: grid.backups,
      memberHeap: exactSizeText(grid.memberHeapMb * 1024 * 1024),
      worstCase: grid.worstCase,
    },
    measurements: {
      events: {
        ...events,
        burst: { p50: tenth(events.burst.at(0.5)), p99: tenth(events.burst.at(0.99)) },
        fetchMs: events.fetchMs === null ? null : percentilesOf(events.fetchMs),
        isLive,
      },
      timerLateMs: percentilesOf(timerLateMs),
      process: measurements.process,
      grid: { append: measurements.grid.append.map(sizedJson), delivery: measurements.grid.delivery.map(sizedJson) },
      tasks: measurements.tasks.map(({ flushes, ...task }) => ({
        ...task,
        flushes: flushes.map((sized) => ({ ...sizedJson(sized), rowsPerSecond: Math.round(rateAt(flushes, sized.size)) })),
      })),
    },
    trial: trial === null ? null : { forMs: trial.forMs, isLive: trial.isLive, eventsPerSecond: Math.round(trial.eventsPerSecond) },
    written,
    notes: notesOf(report),
  }
}

/** `width`: columns of the terminal. */
export function tuneText(report: TuneReport, width: number): string {
  const { pipeline, measurements, isLive, advice, trial } = report
  const { events, timerLateMs } = measurements
  const fetch = events.fetchMs === null ? '' : `, ${percentilesText(events.fetchMs)} from record to here`
  const lines = [
    `pipeline ${pipeline}: ${countText(events.perSecond)} events/s, ${countText(events.peakPerSecond)} at the busiest${isLive ? '' : ' (nobody publishes now; from the last minute of the topic)'}${fetch}`,
    `timers late by ${percentilesText(timerLateMs)}; converting an event takes ${(events.convertMsPerEvent * 1000).toFixed(1)} µs`,
    ...tableText(
      [
        'task',
        'every',
        'now',
        'rowsMax',
        'bytesMax',
        'predicted p50',
        'p99',
        ...(trial === null ? [] : ['measured p50', 'p99', 'off by']),
        'headroom',
      ],
      advice.tasks.map((task) => taskCells(report, task)),
    ),
    '',
    `the database carries ${timesText(advice.headroom)} the present rate; one node that does it all uses ${Math.round(advice.processUse * 100)}% of the processor time it gets here`,
    ...gridLines(report),
    ...notesOf(report).map((note) => `\n${note}`),
    ...barChartsOf(report).flatMap((chart) => ['', ...barChart(chart, width)]),
  ]
  return `${lines.join('\n')}\n`
}

function taskCells(report: TuneReport, task: TaskAdvice): string[] {
  const { p50Ms, p99Ms, headroom } = task.predicted
  const measured = measuredOf(report, task)
  const now = report.present.tasks.find(({ name }) => name === task.task)!.everyMs
  const latency = (ms: number | null | undefined) => (ms === null || ms === undefined ? '-' : msText(ms))
  const trial = report.trial === null ? [] : [latency(measured?.p50Ms), latency(measured?.p99Ms), offText(task, measured)]
  return [
    task.task,
    durationText(task.everyMs),
    durationText(now),
    String(task.rowsMax),
    exactSizeText(task.bytesMax),
    latency(p50Ms),
    latency(p99Ms),
    ...trial,
    timesText(headroom),
  ]
}

/** How far the measured values are from the predicted ones, p50 and p99. */
function offText({ predicted }: TaskAdvice, measured: { p50Ms: number; p99Ms: number } | null): string {
  if (measured === null || predicted.p50Ms === null || predicted.p99Ms === null) return '-'
  const off = (is: number, was: number) => `${is >= was ? '+' : ''}${Math.round((is / was - 1) * 100)}%`
  return `${off(measured.p50Ms, predicted.p50Ms)} ${off(measured.p99Ms, predicted.p99Ms)}`
}

function measuredOf({ trial }: TuneReport, { task }: TaskAdvice): { p50Ms: number; p99Ms: number } | null {
  const found = trial?.tasks.get(task)
  return found === undefined ? null : { p50Ms: found.p50Ms, p99Ms: found.p99Ms }
}

function gridLines({ grid, measurements, present: { settings } }: TuneReport): string[] {
  const now = settings.grid
  const rows = [
    ['queues', String(grid.queues), String(now.queues)],
    ['segmentBytesMax', exactSizeText(grid.segmentBytesMax), exactSizeText(now.segmentBytesMax)],
    ['capacity', String(grid.capacity), String(now.capacity)],
    ['backups', String(grid.backups), String(now.backups)],
    ['memberHeap', `${grid.memberHeapMb}MiB`, `${now.memberHeapMb}MiB`],
  ]
  const { memberBytes, bufferBytes } = grid.worstCase
  const member = memberBytes === null ? 'the grid is in the process' : `${sizeText(memberBytes)} in a member`
  const steps = measurements.grid.append.map(({ size, ms }, i) => {
    const delivery = measurements.grid.delivery[i]!.ms
    return [sizeText(size), percentilesText(ms), percentilesText(delivery)]
  })
  return [
    ...tableText(['grid', 'advised', 'now'], rows),
    `worst case: ${member}, ${sizeText(bufferBytes)} of buffers in a node that owns everything`,
    ...tableText(['segment', 'append p50 / p99', 'to a reader p50 / p99'], steps),
  ]
}

function notesOf({ measurements, isLive, advice, grid, trial, written, present: { settings } }: TuneReport): string[] {
  const notes: string[] = []
  const { events } = measurements
  for (const { task, predicted } of advice.tasks) {
    if (predicted.p50Ms === null)
      notes.push(
        `task ${task} does not keep up: its table takes ${countText(predicted.rowsPerSecondMax)} rows/s of the ${countText(predicted.rowsPerSecondMax / predicted.headroom)} that come; rows would wait longer and longer`,
      )
  }
  if (advice.headroom < 1)
    notes.push('the database falls behind at the present rate: it must be faster, or tasks make fewer rows of an event')
  if (advice.processUse > useMax) notes.push('one node alone hardly keeps up here: spread the work over more nodes on other machines')
  if (measurements.process.share < busyShare)
    notes.push(
      `this machine is busy with other work: a process that wants a core gets ${Math.round(measurements.process.share * 100)}% of one; all figures are of now, so measure at a usual hour`,
    )
  if (!isLive) notes.push('nothing was published meanwhile, so predictions leave out the way of a record into the topic and to the node')
  if (trial !== null && Math.abs(trial.eventsPerSecond / Math.max(1e-9, events.perSecond) - 1) > 0.25)
    notes.push(`the trial had ${countText(trial.eventsPerSecond)} events/s, the prediction is for ${countText(events.perSecond)}`)
  if (trial !== null && trial.capacity < grid.capacity)
    notes.push(
      `the rings that run hold ${trial.capacity} entries, fewer than the ${grid.capacity} advised: trial and prediction are with those`,
    )
  const isRouted = grid.queues !== settings.grid.queues || grid.segmentBytesMax !== settings.grid.segmentBytesMax
  const hasWrittenRouting = written?.changes.some(({ path }) => path[1] === 'queues' || path[1] === 'segmentBytesMax') ?? false
  if (hasWrittenRouting)
    notes.push('queues and segmentBytesMax are routing: a pipeline that has started takes them with `forebay routing apply`')
  else if (isRouted)
    notes.push(
      'queues and segmentBytesMax are routing and stay as they are unless --write --routing is given; then run `forebay routing apply`',
    )
  const ofMembers =
    written?.changes.filter(({ path }) => ['capacity', 'backups', 'memberHeap'].includes(path[1]!) && path[0] === 'grid') ?? []
  if (ofMembers.length > 0 && settings.grid.mode !== 'local')
    notes.push(
      'capacity, backups and memberHeap are settings of the members: stop all nodes and members, then start them; give every node the same',
    )
  if (written !== null) {
    const changes = written.changes.map(({ path, before, value }) => `${path.join('.')}: ${before ?? 'default'} -> ${value}`)
    notes.push(
      changes.length === 0
        ? `${written.file} has it all already`
        : `written to ${written.file}: ${changes.join(', ')}; nodes take it when they are started`,
    )
  }
  return notes
}

interface HasQuantiles {
  at(share: number): number
}

function percentilesOf(values: HasQuantiles) {
  return { p50Ms: hundredth(values.at(0.5)), p99Ms: hundredth(values.at(0.99)) }
}

function percentilesText(values: HasQuantiles): string {
  return `${msText(values.at(0.5))} / ${msText(values.at(0.99))}`
}

function sizedJson({ size, ms }: Sized) {
  return { size, ...percentilesOf(ms), samples: ms.count }
}

function timesText(times: number): string {
  return !Number.isFinite(times) || times > 9999 ? 'ample' : `${Number(times.toPrecision(2))}x`
}

function tenth(value: number | null): number | null {
  return value === null ? null : Math.round(value * 10) / 10
}

function hundredth(value: number): number {
  return Math.round(value * 100) / 100
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? Math.round(value * 100) / 100 : null
}
