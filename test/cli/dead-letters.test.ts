import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { runCommand } from '../../src/cli/run-command.ts'
import { letterJson, listText, mergeNotes } from '../../src/cli/dead-letters-text.ts'
import type { DeadLetterRow } from '../../src/dead-letters/dead-letters.ts'
import stockTicks from '../../examples/stock-ticks/pipeline.ts'

let out = ''
let err = ''
beforeEach(() => {
  ;[out, err] = ['', '']
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
})
afterEach(() => vi.restoreAllMocks())

const letter: DeadLetterRow = {
  id: '17',
  topic: 'trades',
  partition: 3,
  offset: 2n ** 60n,
  ordinal: 2,
  task: 'storeTrade',
  isJob: true,
  error: `value out of range\n${'x'.repeat(200)}`,
  payload: Buffer.from('3\t4'),
  isPayloadCut: false,
  traceparent: null,
  eventTimeMs: null,
  createdAt: new Date('2026-11-23T09:00:00Z'),
  attempts: 2,
  resolvedAt: null,
  resolution: null,
  reason: null,
}

describe('forebay dead-letters', () => {
  it.each(['list', 'show', 'redrive', 'discard'])('%s has a help with examples', async (command) => {
    expect(await runCommand(['dead-letters', command, '--help'])).toBe(0)
    expect(out).toMatch(/Examples:\n {2}forebay dead-letters/)
  })

  it.each([
    ['redrive without a word of which', ['redrive', '-c', 'config/forebay.yaml'], /say which letters/],
    ['discard without a word of which', ['discard', '--reason', 'x', '-c', 'config/forebay.yaml'], /say which letters/],
    ['discard without a reason', ['discard', '--all'], /--reason/],
    ['discard with an empty reason', ['discard', '--all', '--reason', ' '], /--reason is empty/],
    ['a time without a zone', ['list', '--from', '2026-11-23T09:00:00'], /expected a time/],
    ['a day that does not exist', ['list', '--to', '2026-02-31T09:00:00Z'], /expected a time/],
    ['an offset that is no number', ['list', '--offset', 'earliest'], /expected a whole number/],
    ['an id that is no number', ['show', 'x'], /expected a whole number/],
    ['a limit of none', ['list', '--limit', '0'], /expected a number from 1/],
  ])('refuses %s with exit code 64', async (_, words, sentence) => {
    expect(await runCommand(['dead-letters', ...words])).toBe(64)
    expect(err).toMatch(sentence)
  })

  it('lists a letter in one line, with its place to the job', () => {
    const [, line, more] = listText([letter], 3).split('\n')
    expect(line).toMatch(/^17 +trades\/3@1152921504606846976#2 +storeTrade +2026-11-23T09:00:00.000Z +2 +open +value out of range x+…$/)
    expect(more).toBe('1 of 3; --limit shows more')
    expect(letterJson(letter)).toMatchObject({ offset: '1152921504606846976', payload: '3\t4', createdAt: '2026-11-23T09:00:00.000Z' })
  })

  it('says what the order of merges means, for the tasks concerned only', () => {
    expect(mergeNotes(stockTicks, ['storeTrade'])).toEqual([])
    expect(mergeNotes(stockTicks, [null])).toEqual([
      expect.stringMatching(/^task minuteCandle merges open_e4, close_e4 by the order of jobs/),
    ])
  })
})
