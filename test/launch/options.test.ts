import { describe, expect, it } from 'vitest'
import { parseLaunchOptions } from '../../src/launch/options.ts'

const cluster = (...words: string[]) => parseLaunchOptions('cluster', words)
const standalone = (...words: string[]) => parseLaunchOptions('standalone', words)

describe('the options of the launchers', () => {
  it('have defaults', () => {
    expect(standalone()).toEqual({
      mode: 'standalone',
      nodes: 1,
      feed: undefined,
      seed: 1,
      pace: { kind: 'speed', factor: 60 },
      isPreloaded: false,
      tasks: undefined,
      isFresh: false,
      isDrained: false,
    })
    expect(cluster()).toMatchObject({ mode: 'cluster', nodes: 3 })
    expect(cluster('--feed', 'a.csv.gz')?.pace).toEqual({ kind: 'speed', factor: 1 })
    expect(cluster('--drain')?.pace).toEqual({ kind: 'max' })
    expect(cluster('--preload')?.pace).toEqual({ kind: 'max' })
  })

  it('are taken as given', () => {
    expect(
      cluster('--nodes', '2', '--feed', 'a b.csv.gz', '--speed', 'max', '--tasks', 'storeTrade,minuteCandle', '--fresh', '--drain'),
    ).toMatchObject({
      nodes: 2,
      feed: 'a b.csv.gz',
      pace: { kind: 'max' },
      tasks: ['storeTrade', 'minuteCandle'],
      isFresh: true,
      isDrained: true,
    })
    expect(cluster('--speed', 'real')?.pace).toEqual({ kind: 'speed', factor: 1 })
    expect(cluster('--speed', '2.5')?.pace).toEqual({ kind: 'speed', factor: 2.5 })
    expect(cluster('--rate', '2000')?.pace).toEqual({ kind: 'rate', perSecond: 2000 })
  })

  it.each([
    [['--nodes', '0'], /whole number from 1 to 16/],
    [['--speed', 'fast'], /max, real or a number above 0/],
    [['--rate', '-1'], /number above 0/],
    [['--rate', '10', '--speed', '2'], /both set the pace/],
    [['--preload', '--rate', '10'], /--preload/],
    [['--tasks', 'a,,b'], /names separated by commas/],
    [['--feed'], /argument missing/],
    [['--wrong'], /unknown option '--wrong'/],
    [['extra'], /too many arguments/],
  ])('%j is refused in one sentence', (words, sentence) => {
    expect(() => cluster(...words)).toThrow(sentence)
    expect(() => cluster(...words)).toThrow(expect.objectContaining({ code: 'FB_USAGE' }))
  })

  it('know no --nodes in standalone mode', () => {
    expect(() => standalone('--nodes', '2')).toThrow(/unknown option '--nodes'/)
  })
})
