import { describe, expect, it } from 'vitest'
import { didYouMean, nearest } from '../../src/text/nearest.ts'

describe('nearest', () => {
  it.each([
    ['prot', 'port'],
    ['brokrs', 'brokers'],
    ['Brokers', 'brokers'],
    ['rowMax', 'rowsMax'],
  ])('takes %s for %s', (written, meant) => {
    expect(nearest(written, ['port', 'brokers', 'rowsMax', 'bytesMax'])).toBe(meant)
  })

  it('guesses nothing when nothing is near', () => {
    expect(nearest('elephant', ['port', 'brokers'])).toBeUndefined()
    expect(didYouMean('elephant', ['port', 'brokers'])).toBe('')
  })
})
