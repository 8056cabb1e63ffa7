import { exactSizeText } from '../../src/cli/tune-result.ts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { runCommand } from '../../src/cli/run-command.ts'

let out = ''
let err = ''
beforeEach(() => {
  ;[out, err] = ['', '']
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true))
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true))
})
afterEach(() => vi.restoreAllMocks())

describe('forebay tune', () => {
  it('has a help with examples and exit codes', async () => {
    expect(await runCommand(['tune', '--help'])).toBe(0)
    expect(out).toMatch(/Examples:\n {2}forebay tune/)
    expect(out).toMatch(/Exit codes:/)
  })

  it.each([
    ['a time without a unit', ['--for', '60'], /needs a number and a unit/],
    ['a trial of a moment', ['--for', '1s'], /expected 2s to 1h/],
    ['a rate of nothing', ['--rate', '0'], /expected a whole number above 0/],
    ['--routing alone', ['--routing'], /give both/],
  ])('refuses %s', async (_, words, sentence) => {
    expect(await runCommand(['tune', '-c', 'config/forebay.yaml', ...words])).toBe(64)
    expect(err).toMatch(sentence)
  })

  it.each([
    [96 * 1024, '96KiB'],
    [1152 * 1024 * 1024, '1152MiB'],
    [2 ** 30, '1GiB'],
    [1000, '1000B'],
  ])('writes %i bytes as %s', (bytes, text) => {
    expect(exactSizeText(bytes)).toBe(text)
  })
})
