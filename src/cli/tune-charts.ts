/** The curves of `forebay tune`: latency against interval, and rows a second against batch size. Pure. */
import type { TuneResult } from './tune-result.ts'
import { durationText } from '../text/units.ts'
import type { BarChart } from '../tune/chart.ts'
import { predict } from '../tune/predict.ts'
import type { Prediction } from '../tune/predict.ts'
import { intervals } from '../tune/recommend.ts'
import { rateAt } from '../tune/series.ts'
import type { LineChart } from '../tune/svg-chart.ts'

interface Curve {
  readonly everyMs: number
  readonly predicted: Prediction
  readonly isChosen: boolean
}

const rowsAround = 6

/** Predictions of task `index` at other intervals, those of the other tasks as advised. */
function latencyCurve({ measurements, advice, gridChoice }: TuneResult, index: number): Curve[] {
  const chosenMs = advice.tasks[index]!.everyMs
  return [...new Set([...intervals, chosenMs])]
    .toSorted((a, b) => a - b)
    .map((everyMs) => {
      const tasks = measurements.tasks.map((of, i) => {
        const { everyMs: advisedMs, rowsMax, bytesMax } = advice.tasks[i]!
        return { of, choice: { everyMs: i === index ? everyMs : advisedMs, rowsMax, bytesMax } }
      })
      return { everyMs, predicted: predict(measurements, gridChoice, tasks)[index]!, isChosen: everyMs === chosenMs }
    })
}

/** For a terminal. */
export function barChartsOf(result: TuneResult): BarChart[] {
  return result.measurements.tasks.flatMap(({ task, flushes }, index) => {
    const curve = latencyCurve(result, index)
    const at = curve.findIndex(({ isChosen }) => isChosen)
    const shown = curve.slice(Math.max(0, at - rowsAround), at + rowsAround + 1)
    const latency: BarChart = {
      title: `${task}: predicted latency by interval (█ p50, ░ p99)`,
      rows: shown.map(({ everyMs, predicted: { p50Ms, p99Ms }, isChosen }) => ({
        label: durationText(everyMs),
        value: p50Ms,
        beyond: p99Ms ?? 0,
        note: p50Ms === null || p99Ms === null ? 'does not keep up' : `${msText(p50Ms)} / ${msText(p99Ms)}`,
        isChosen,
      })),
    }
    const rate: BarChart = {
      title: `${task}: rows a second by batch`,
      rows: flushes.map(({ size, ms }) => ({
        label: `${size} rows`,
        value: rateAt(flushes, size),
        note: `${countText(rateAt(flushes, size))}/s, ${msText(ms.at(0.5))} each`,
      })),
    }
    return [latency, rate]
  })
}

/** For a picture. */
export function svgChartsOf(result: TuneResult): LineChart[] {
  const { tasks } = result.measurements
  const curves = tasks.map((_, index) => latencyCurve(result, index))
  return [
    {
      title: 'Predicted latency by interval',
      xLabel: 'interval in ms (the advised ones are marked)',
      yLabel: 'latency in ms',
      lines: curves.flatMap((curve, group) => [
        {
          label: `${tasks[group]!.task} p50`,
          group,
          points: curve.map(({ everyMs, predicted }) => ({ x: everyMs, y: predicted.p50Ms ?? 0 })),
        },
        {
          label: `${tasks[group]!.task} p99`,
          group,
          isDashed: true,
          points: curve.map(({ everyMs, predicted }) => ({ x: everyMs, y: predicted.p99Ms ?? 0 })),
        },
      ]),
      marks: curves.flatMap((curve, group) =>
        curve.flatMap(({ isChosen, everyMs, predicted }) => (isChosen ? [{ x: everyMs, y: predicted.p50Ms ?? 0, group }] : [])),
      ),
    },
    {
      title: 'Rows a second by batch size',
      xLabel: 'rows of a flush',
      yLabel: 'rows a second',
      lines: tasks.map(({ task, method, flushes }, group) => ({
        label: `${task} (${method})`,
        group,
        points: flushes.map(({ size }) => ({ x: size, y: rateAt(flushes, size) })),
      })),
    },
  ]
}

export function msText(ms: number): string {
  return `${ms >= 100 ? Math.round(ms) : Number(ms.toPrecision(3))} ms`
}

export function countText(count: number): string {
  return count >= 1_000_000
    ? `${(count / 1_000_000).toFixed(1)}M`
    : count >= 10_000
      ? `${Math.round(count / 1000)}k`
      : String(Math.round(count))
}
