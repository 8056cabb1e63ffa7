import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ReplayBar } from '../../src/cli/replay-bar.ts'
import { durationWords, findingsText, rangeText } from '../../src/cli/replay-text.ts'
import { Findings } from '../../src/replay/findings.ts'
import type { Difference } from '../../src/replay/findings.ts'

function terminal(isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), {
    isTTY,
    columns: 120,
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
  })
  let text = ''
  stream.on('data', (part: Buffer) => (text += part.toString()))
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => text }
}

const progress = (done: number) => ({ doing: 'replaying into t', done, total: 1000, events: done, rows: done })

describe('The progress of a replay', () => {
  it('is a bar with rate and time left on a terminal', async () => {
    const { stream, text } = terminal(true)
    {
      using bar = new ReplayBar({ isQuiet: false, stream })
      bar.show(progress(0))
      await sleep(250)
      bar.show(progress(500))
      await sleep(250)
      bar.show(progress(600))
    }
    expect(text()).toContain('replaying into t')
    expect(text()).toContain('60%')
    expect(text()).toMatch(/600 events, \d+\/s, \d+ ms left/)
  })

  it('says nothing when it is to be quiet', () => {
    const { stream, text } = terminal(true)
    using bar = new ReplayBar({ isQuiet: true, stream })
    bar.show(progress(10))
    expect(text()).toBe('')
  })
})

describe('What is printed', () => {
  it('says time as people do', () => {
    expect([0, 250, 59_400, 200_000, 7_300_000].map(durationWords)).toEqual(['0 ms', '250 ms', '59 s', '3 min 20 s', '2 h 1 min'])
  })

  it('says why a range ends at the floor', () => {
    const range = { partition: 1, firstOffset: 5n, lastOffset: 9n, floor: 9n, isCut: true }
    expect(rangeText(range)).toBe('partition 1: offsets 5 to 9 (5); it ends at the floor (9): later events may still be on their way\n')
    expect(rangeText({ ...range, lastOffset: 4n, isCut: false })).toBe('partition 1: nothing\n')
  })

  it('tells differences with their offsets, and how many are not listed', () => {
    const findings = new Findings('storeTrade', 'trades', 2)
    const one: Difference = {
      partition: 0,
      offset: 7n,
      identity: { source_offset: '7' },
      missing: 1,
      extra: 0,
      expected: { source_offset: '7', symbol: 'A B' },
      found: null,
      error: null,
    }
    const other = { ...one, offset: 8n, extra: 1, found: { source_offset: '7', symbol: null } }
    findings.add({ missing: 2, extra: 0, different: 1, differences: [one, other, one] })
    const text = findingsText(findings)
    expect(text).toContain('2 missing, 0 extra, 1 different')
    expect(text).toContain('  missing  partition 0, offset 7: source_offset=7 symbol="A B"\n')
    expect(text).toContain('  different  partition 0, offset 8: symbol is null, should be "A B"\n')
    expect(text).toContain('  and 1 more (--show lists more)\n')
    expect(findings.isRight).toBe(false)
  })
})
