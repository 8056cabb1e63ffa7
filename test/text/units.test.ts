import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { durationText, parseDuration, parseSize, sizeText } from '../../src/text/units.ts'

describe('A duration', () => {
  it.each([
    ['15ms', 15],
    ['1s', 1000],
    ['1.5s', 1500],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['0ms', 0],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toEqual({ value: ms })
  })

  it.each([
    [15, '15ms'],
    ['15', '15ms'],
    ['15 ms', '15ms'],
    ['15MS', '15ms'],
    ['3 seconds', '3s'],
    ['2min', '2m'],
  ])('%j is refused with the suggestion %s', (written, meant) => {
    expect(parseDuration(written)).toEqual({ problem: `a duration needs a number and a unit (ms, s, m or h); did you mean ${meant}?` })
  })

  it.each([['soon'], [''], [null], [-5], ['-5ms'], ['5parsecs'], ['5constructor'], [{}]])('%j is refused', (written) => {
    expect(parseDuration(written)).toHaveProperty('problem')
  })

  it('reads back what it prints', () => {
    fc.assert(
      fc.property(fc.nat(), (ms) => {
        expect(parseDuration(durationText(ms))).toEqual({ value: ms })
      }),
    )
  })
})

describe('A size', () => {
  it.each([
    ['512B', 512],
    ['128KiB', 131_072],
    ['4MiB', 4_194_304],
    ['1.5GiB', 1_610_612_736],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toEqual({ value: bytes })
  })

  it.each([
    ['4MB', '4MiB'],
    ['4m', '4MiB'],
    ['128 kib', '128KiB'],
    [4096, '4096B'],
  ])('%j is refused with the suggestion %s', (written, meant) => {
    expect(parseSize(written)).toEqual({ problem: `a size needs a number and a unit (B, KiB, MiB or GiB); did you mean ${meant}?` })
  })

  it('is printed in its largest unit', () => {
    expect([0, 1023, 131_072, 4_194_304, 1_610_612_736].map(sizeText)).toEqual(['0B', '1023B', '128KiB', '4MiB', '1.5GiB'])
  })
})
