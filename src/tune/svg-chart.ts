/** Line charts as one SVG picture. Pure. */

export interface Line {
  readonly label: string
  readonly isDashed?: boolean
  /** Lines of one group share a colour. */
  readonly group: number
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

export interface LineChart {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly lines: readonly Line[]
  /** Points to be marked, such as the chosen ones. */
  readonly marks?: readonly { readonly x: number; readonly y: number; readonly group: number }[]
}

const colours = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf'] as const
const [width, height] = [760, 360]
const margin = { left: 70, right: 190, top: 36, bottom: 48 }

/** The charts below each other, both axes logarithmic; values of 0 and below are left out. */
export function svgCharts(charts: readonly LineChart[]): string {
  const bodies = charts.map((chart, index) => `<g transform="translate(0,${index * height})">${chartBody(chart)}</g>`)
  const total = height * charts.length
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${total}" viewBox="0 0 ${width} ${total}" font-family="sans-serif" font-size="12">` +
    `<rect width="100%" height="100%" fill="#ffffff"/>\n${bodies.join('\n')}\n</svg>\n`
  )
}

function chartBody({ title, xLabel, yLabel, lines, marks = [] }: LineChart): string {
  const shown = lines
    .map((line) => ({ ...line, points: line.points.filter(({ x, y }) => x > 0 && y > 0) }))
    .filter(({ points }) => points.length > 0)
  const all = shown.flatMap(({ points }) => points)
  const heading = `<text x="${margin.left}" y="20" font-size="14" font-weight="bold">${escaped(title)}</text>`
  if (all.length === 0) return `${heading}<text x="${margin.left}" y="60">nothing was measured</text>`
  const x = axis(
    all.map((point) => point.x),
    margin.left,
    width - margin.right,
  )
  const y = axis(
    all.map((point) => point.y),
    height - margin.bottom,
    margin.top,
  )
  const grid = [
    ...x.ticks.map(
      (tick) =>
        `${gridLine(x.at(tick), margin.top, x.at(tick), height - margin.bottom)}<text x="${x.at(tick)}" y="${height - margin.bottom + 16}" text-anchor="middle">${numberText(tick)}</text>`,
    ),
    ...y.ticks.map(
      (tick) =>
        `${gridLine(margin.left, y.at(tick), width - margin.right, y.at(tick))}<text x="${margin.left - 6}" y="${y.at(tick) + 4}" text-anchor="end">${numberText(tick)}</text>`,
    ),
  ]
  const drawn = shown.map(({ points, group, isDashed = false }) => {
    const path = points.map((point) => `${x.at(point.x)},${y.at(point.y)}`).join(' ')
    return `<polyline fill="none" stroke="${colourOf(group)}" stroke-width="2"${isDashed ? ' stroke-dasharray="5 4"' : ''} points="${path}"/>`
  })
  const legend = shown.map(({ label, group, isDashed = false }, i) => {
    const top = margin.top + 10 + i * 18
    const left = width - margin.right + 14
    return `<line x1="${left}" y1="${top}" x2="${left + 24}" y2="${top}" stroke="${colourOf(group)}" stroke-width="2"${isDashed ? ' stroke-dasharray="5 4"' : ''}/><text x="${left + 30}" y="${top + 4}">${escaped(label)}</text>`
  })
  const marked = marks
    .filter((mark) => mark.x > 0 && mark.y > 0)
    .map((mark) => `<circle cx="${x.at(mark.x)}" cy="${y.at(mark.y)}" r="5" fill="${colourOf(mark.group)}"/>`)
  const names =
    `<text x="${(margin.left + width - margin.right) / 2}" y="${height - 10}" text-anchor="middle">${escaped(xLabel)}</text>` +
    `<text transform="translate(16,${height / 2}) rotate(-90)" text-anchor="middle">${escaped(yLabel)}</text>`
  return [heading, ...grid, ...drawn, ...marked, ...legend, names].join('\n')
}

interface Axis {
  readonly ticks: readonly number[]
  at(value: number): number
}

/** Decades, and between them 2 and 5 where there are few. */
function axis(values: readonly number[], from: number, to: number): Axis {
  const least = Math.min(...values)
  const most = Math.max(...values)
  const low = Math.log10(least)
  const span = Math.max(1e-9, Math.log10(most) - low)
  const steps = span > 2.5 ? [1] : [1, 2, 5]
  const ticks: number[] = []
  for (let decade = Math.floor(low); decade <= Math.ceil(low + span); decade++) {
    for (const step of steps) {
      const tick = step * 10 ** decade
      if (tick >= least * 0.999 && tick <= most * 1.001) ticks.push(tick)
    }
  }
  const at = (value: number) => Math.round((from + ((Math.log10(value) - low) / span) * (to - from)) * 10) / 10
  return { ticks: ticks.length > 0 ? ticks : [least], at }
}

function gridLine(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#dddddd"/>`
}

function colourOf(group: number): string {
  return colours[group % colours.length]!
}

function numberText(value: number): string {
  if (value >= 1_000_000) return `${value / 1_000_000}M`
  if (value >= 1000) return `${value / 1000}k`
  return String(Number(value.toPrecision(3)))
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
