/** Charts for a terminal: one horizontal bar a row, as wide as there is room. Pure; plain Unicode, no colour. */
import { assert } from '../assert.ts'

export interface BarRow {
  readonly label: string
  /** Null: no figure, `note` says why. */
  readonly value: number | null
  /** Where a lighter bar goes on to, such as the p99 after the p50. */
  readonly beyond?: number
  /** After the bar. */
  readonly note: string
  readonly isChosen?: boolean
}

export interface BarChart {
  readonly title: string
  readonly rows: readonly BarRow[]
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const
const barWidthMin = 8
const barWidthMax = 80

/** Lines of at most `width` columns, unless the labels alone need more. */
export function barChart({ title, rows }: BarChart, width: number): string[] {
  assert(width > 0, 'a terminal has columns')
  const labelWidth = widest(rows.map(({ label }) => label))
  const noteWidth = widest(rows.map(({ note }) => note))
  const room = width - labelWidth - noteWidth - ' ▸  '.length - 1
  const barWidth = Math.min(barWidthMax, Math.max(barWidthMin, room))
  const most = Math.max(1e-9, ...rows.flatMap(({ value, beyond }) => [value ?? 0, beyond ?? 0]))
  const lines = rows.map(({ label, value, beyond, note, isChosen = false }) => {
    const bar = value === null ? '' : barOf(value / most, (beyond ?? 0) / most, barWidth)
    return `${isChosen ? '▸' : ' '} ${label.padStart(labelWidth)} ${bar.padEnd(barWidth)} ${note}`.trimEnd()
  })
  return [title.slice(0, width), ...lines]
}

function barOf(share: number, beyond: number, width: number): string {
  const cells = Math.floor(share * width)
  const rest = Math.floor((share * width - cells) * eighths.length)
  const solid = '█'.repeat(cells) + (cells < width ? eighths[rest]! : '')
  const end = Math.round(beyond * width)
  return end > solid.length ? solid + '░'.repeat(end - solid.length) : solid
}

function widest(texts: readonly string[]): number {
  return texts.reduce((most, text) => Math.max(most, text.length), 0)
}
