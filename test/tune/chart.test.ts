import { describe, expect, it } from 'vitest'
import { barChart } from '../../src/tune/chart.ts'
import { svgCharts } from '../../src/tune/svg-chart.ts'

const rows = [
  { label: '5ms', value: 10, beyond: 40, note: '10 / 40' },
  { label: '100ms', value: 80, beyond: 100, note: '80 / 100', isChosen: true },
  { label: '1s', value: null, note: 'does not keep up' },
]

describe('A chart in the terminal', () => {
  it.each([40, 60, 80, 200])('fits %i columns', (width) => {
    const lines = barChart({ title: 'latency', rows }, width)
    expect(lines).toHaveLength(4)
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(width)
  })

  it('draws bars in proportion, and marks the chosen row', () => {
    const [, first, second, third] = barChart({ title: 'latency', rows }, 80)
    const cells = (line: string, cell: string) => line.split(cell).length - 1
    expect(Math.abs(cells(second!, '█') - 8 * cells(first!, '█'))).toBeLessThan(8)
    expect(cells(second!, '█') + cells(second!, '░')).toBeGreaterThan(cells(first!, '█') + cells(first!, '░'))
    expect([first, second, third].map((line) => line!.startsWith('▸'))).toEqual([false, true, false])
    expect(third).not.toMatch(/[█░]/)
  })

  it('draws nothing but notes when all is zero', () => {
    expect(barChart({ title: 't', rows: [{ label: 'a', value: 0, note: 'none' }] }, 40)[1]).toMatch(/^ {2}a +none$/)
  })
})

describe('A chart as SVG', () => {
  const points = [
    { x: 1, y: 10 },
    { x: 100, y: 1000 },
    { x: 1000, y: 0 },
  ]
  const svg = svgCharts([
    { title: 'a < b & "c"', xLabel: 'x', yLabel: 'y', lines: [{ label: 'p50', group: 0, points }], marks: [{ x: 100, y: 1000, group: 0 }] },
    { title: 'empty', xLabel: 'x', yLabel: 'y', lines: [] },
  ])

  it('is well-formed, with titles escaped', () => {
    expect(svg).toContain('a &lt; b &amp; &quot;c&quot;')
    const open = [...svg.matchAll(/<([a-z]+)[^>]*?(\/?)>/g)].filter(([, , end]) => end === '').map(([, name]) => name)
    const closed = [...svg.matchAll(/<\/([a-z]+)>/g)].map(([, name]) => name)
    expect(open.toSorted()).toEqual(closed.toSorted())
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('draws a line through its points above 0, from corner to corner', () => {
    expect(/points="([^"]*)"/.exec(svg)![1]).toBe('70,312 570,36')
    expect(svg).toContain('<circle cx="570" cy="36"')
    expect(svg).toContain('nothing was measured')
  })
})
