import { describe, expect, it } from 'vitest'
import { replayRequest, specOf } from '../../src/cli/replay-request.ts'
import type { ReplayOptions } from '../../src/cli/replay-request.ts'
import { itemsPipeline } from '../support/live-node.ts'

const pipeline = itemsPipeline({ topic: 't' })
const ask = (options: Partial<ReplayOptions>) => replayRequest({ show: 10, ...options }, pipeline, pipeline.tasks)

describe('A request for a replay', () => {
  it('works on every task with a table unless one is named', () => {
    expect(ask({ from: 'earliest', verify: true })).toMatchObject({ mode: 'verify', isTaskNamed: false })
    expect(ask({ from: 'earliest', verify: true }).tasks.map(({ name }) => name)).toEqual(['item', 'total'])
    expect(ask({ from: 'earliest', repair: true, verify: true, task: 'item' }).mode).toBe('repair')
  })

  it('is kept for a resume as it was given', () => {
    const request = ask({ from: '7', to: '2026-01-31T10:00:00+01:00', partition: 2, key: 'k', speed: 2, task: 'item', into: 'x' })
    expect(specOf(request)).toEqual({ from: '7', to: '2026-01-31T09:00:00.000Z', partition: 2, key: 'k', speed: 2 })
  })

  it.each<[string, Partial<ReplayOptions>]>([
    ['say where to begin', { verify: true }],
    ['say what to do', { from: 'earliest' }],
    ['name it with --partition', { from: '5', verify: true }],
    ['--speed is for replays', { from: 'earliest', verify: true, speed: 2 }],
    ['take one of them', { from: 'earliest', verify: true, dryRun: true }],
    ['name it with --task (item, total)', { from: 'earliest', into: 'x' }],
    ['did you mean total?', { from: 'earliest', verify: true, task: 'totla' }],
    ['pushes latest values', { from: 'earliest', verify: true, task: 'latest' }],
  ])('is refused: %s', (sentence, options) => {
    expect(() => ask(options)).toThrow(expect.objectContaining({ code: 'FB_USAGE', message: expect.stringContaining(sentence) }))
  })
})
