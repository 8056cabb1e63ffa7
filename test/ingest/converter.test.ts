import { expect, it } from 'vitest'
import { Converter } from '../../src/ingest/converter.ts'
import type { EventPosition } from '../../src/ingest/converter.ts'

function placesOf(keys: readonly (Buffer | null)[]): EventPosition[] {
  const places: EventPosition[] = []
  const task = {
    name: 't',
    isTracked: true,
    convert: (_event: unknown, at: EventPosition) => void places.push({ ...at }),
    encode: () => '',
  }
  const converter = new Converter({
    decode: () => ({}),
    key: undefined,
    tasks: [task],
    queues: 2,
    eventBytesMax: 1000,
    linesBytesMax: 1000,
  })
  keys.forEach((key, i) => converter.convert({ offset: BigInt(i), timestampMs: 7, key, value: Buffer.from('x') }, 3))
  return places
}

it('gives convert the place of its event, which can be spread into a row', () => {
  expect(placesOf([Buffer.from('SPY')])).toEqual([{ partition: 3, offset: 0n, timestampMs: 7, key: 'SPY' }])
})

it('gives the key as text, whatever its length and letters', () => {
  const texts = ['', 'A', 'x'.repeat(24), 'x'.repeat(25), 'Zürich', '株', '\u007f', '\u0080']
  expect(placesOf([null, ...texts.map((text) => Buffer.from(text)), Buffer.from([0x41, 0xff])]).map(({ key }) => key)).toEqual([
    null,
    ...texts,
    'A\ufffd',
  ])
})
