import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { writeAdvice } from '../../src/cli/tune-write.ts'
import { loadConfig } from '../../src/config/config.ts'
import { configDocument } from '../../src/config/config-document.ts'
import { editConfig } from '../../src/tune/edit-config.ts'

const edits = [
  { path: ['grid', 'capacity'], value: 240 },
  { path: ['tasks', 'storeTrade', 'every'], value: '25ms' },
  { path: ['tasks', 'storeTrade', 'rowsMax'], value: 5000 },
]
const commentsOf = (text: string) => text.split('\n').flatMap((line) => /#.*$/.exec(line)?.[0].trim() ?? [])

describe('Editing a configuration', () => {
  it('keeps every comment of the documented preset, and every other line as it was', () => {
    const before = configDocument()
    const { text, changes } = editConfig(before, edits)
    expect(commentsOf(text)).toEqual(commentsOf(before))
    expect(changes.map(({ before: was }) => was)).toEqual([144, null, null])
    const added = text.split('\n').filter((line) => !before.split('\n').includes(line))
    expect(added.map((line) => line.trim())).toEqual(['capacity: 240', 'tasks:', 'storeTrade:', 'every: 25ms', 'rowsMax: 5000'])
    expect(parse(text)).toEqual({
      ...parse(before),
      grid: { ...parse(before).grid, capacity: 240 },
      tasks: { storeTrade: { every: '25ms', rowsMax: 5000 } },
    })
  })

  it('changes values in place, beside their comments, in block and in flow', () => {
    const before = "# top\ngrid:\n  capacity: 144 # windows of 64\ntasks: { storeTrade: { every: '15ms' } } # by hand\n# end\n"
    expect(editConfig(before, edits).text).toBe(
      '# top\ngrid:\n  capacity: 240 # windows of 64\ntasks: { storeTrade: { every: 25ms, rowsMax: 5000 } } # by hand\n# end\n',
    )
  })

  it.each([
    ['an empty file', ''],
    ['a file of comments', '# nothing yet'],
    ['JSON', '{"pipeline":"./p.ts","grid":{"mode":"local"},"tasks":{}}'],
    ['a list at the end, without a newline', 'grid:\n  mode: client\n  members:\n    - a:1\n    - b:2'],
    ['a text of several lines at the end', 'grid:\n  clusterName: >\n    one\n    two\n\n# end\n'],
    ['a section of comments at the end', 'tasks:\n  other:\n    every: 1s # slow\n  # storeTrade:\n  #   every: 2s\n'],
  ])('puts new keys into %s and keeps the rest', (_, before) => {
    const { text, changes } = editConfig(before, edits)
    const was = (parse(before) ?? {}) as { grid?: object; tasks?: object }
    expect(parse(text)).toEqual({
      ...was,
      grid: { ...was.grid, capacity: 240 },
      tasks: { ...was.tasks, storeTrade: { every: '25ms', rowsMax: 5000 } },
    })
    expect(commentsOf(text)).toEqual(commentsOf(before))
    expect(changes).toHaveLength(3)
  })

  it('fills a section whose keys are all commented out', () => {
    const { text } = editConfig('tasks:\n  # storeTrade: {every: 1s}\ngrid:\n', edits)
    expect(parse(text)).toEqual({ tasks: { storeTrade: { every: '25ms', rowsMax: 5000 } }, grid: { capacity: 240 } })
    expect(text).toContain('# storeTrade: {every: 1s}')
  })

  it('leaves a file alone that has it all', () => {
    const before = 'grid:   {capacity:   240}   # odd  spaces\n'
    expect(editConfig(before, edits.slice(0, 1))).toEqual({ text: before, changes: [] })
  })

  it.each([
    ['no YAML', 'a: [', /no YAML/],
    ['a section that is none', 'grid: 7\n', /grid is no section/],
  ])('refuses %s', (_, text, sentence) => {
    expect(() => editConfig(text, edits)).toThrow(sentence)
  })
})

describe('Writing the advice', () => {
  let dir: string | undefined
  afterEach(() => {
    vi.unstubAllEnvs()
    if (dir !== undefined) rmSync(dir, { recursive: true, force: true })
  })
  const bound = { gridBytes: 0, memberBytes: 0, bufferBytes: 0, nodeBytes: 0 }
  const grid = { queues: 4, segmentBytesMax: 262_144, capacity: 200, backups: 1, memberHeapMb: 1152, worstCase: bound }
  const predicted = { p50Ms: 1, p99Ms: 2, periodMs: 1, rows: 1, utilisation: 0, rowsPerSecondMax: 1, headroom: 1 }
  const advised = (everyMs: number) => ({
    advice: { tasks: [{ task: 'storeTrade', everyMs, rowsMax: 5000, bytesMax: 1 << 20, predicted }] },
    grid,
    gridAsRouted: { ...grid, queues: 2, segmentBytesMax: 131_072, capacity: 100 },
  })
  const configFile = () => {
    vi.stubEnv('FOREBAY_DATABASE_URL', 'postgres://u:p@h/d')
    dir = mkdtempSync(join(tmpdir(), 'forebay-tune-'))
    const file = join(dir, 'forebay.yaml')
    writeFileSync(file, '# mine\npipeline: p.ts\nevents: {kind: postgres}\ngrid:\n  queues: 2 # by key\n')
    return file
  }

  it('writes no routing unless it is asked to', () => {
    const file = configFile()
    const { changes } = writeAdvice(loadConfig(file), advised(25), { isRouting: false })
    expect(changes.map(({ path }) => path.join('.'))).not.toContain('grid.queues')
    const { values } = loadConfig(file)
    expect(values.grid).toMatchObject({ queues: 2, capacity: 100, memberHeap: 1152 * 1024 * 1024 })
    expect(values.tasks['storeTrade']).toEqual({ every: 25, rowsMax: 5000, bytesMax: 1 << 20 })
    writeAdvice(loadConfig(file), advised(25), { isRouting: true })
    expect(loadConfig(file).values.grid).toMatchObject({ queues: 4, segmentBytesMax: 262_144, capacity: 200 })
    expect(readFileSync(file, 'utf8')).toContain('queues: 4 # by key')
    expect(readdirSync(dir!)).toEqual(['forebay.yaml'])
  })

  it('leaves the file as it was when the result would be refused', () => {
    const file = configFile()
    const before = readFileSync(file, 'utf8')
    expect(() => writeAdvice(loadConfig(file), advised(0.1), { isRouting: false })).toThrow(/every/)
    expect(readFileSync(file, 'utf8')).toBe(before)
    expect(readdirSync(dir!)).toEqual(['forebay.yaml'])
  })
})
