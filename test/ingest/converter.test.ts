import { describe, expect, it } from 'vitest'
import { EventHeaders } from '../../src/pipeline/event-headers.ts'
import type { EventRecord } from '../../src/events/event-log.ts'
import { Converter, eventKey } from '../../src/ingest/converter.ts'
import type { ConvertingTask, DeadLine } from '../../src/ingest/converter.ts'
import type { At, Tombstones } from '../../src/pipeline/pipeline.ts'

function placesOf(keys: readonly (Buffer | null)[]): At[] {
  const places: At[] = []
  const task = {
    name: 't',
    isTracked: true,
    convert: (_event: unknown, at: At) => void places.push({ ...at }),
    encode: () => '',
  }
  const converter = new Converter({
    source: { topic: 'ticks', tombstones: 'skip', decode: { decode: () => ({}) } },
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
  const key = Buffer.from('SPY')
  expect(placesOf([key])).toEqual([{ topic: 'ticks', partition: 3, offset: 0n, timestampMs: 7, key: 'SPY', keyBytes: key }])
})

it('gives the key as text, whatever its length and letters', () => {
  const texts = ['', 'A', 'x'.repeat(24), 'x'.repeat(25), 'Zürich', '株', '\u007f', '\u0080', 'A\ufffd']
  expect(placesOf([null, ...texts.map((text) => Buffer.from(text))]).map(({ key }) => key)).toEqual([null, ...texts])
})

function converterOf(tombstones: Tombstones, convert: ConvertingTask['convert']): Converter {
  return new Converter({
    source: { topic: 'ticks', tombstones, decode: { decode: (value) => value } },
    key: undefined,
    tasks: [{ name: 't', isTracked: true, convert, encode: String }],
    queues: 64,
    eventBytesMax: 1000,
    linesBytesMax: 1000,
  })
}

const record = (over: Partial<EventRecord>): EventRecord => ({ offset: 1n, timestampMs: 7, key: null, value: Buffer.from('x'), ...over })
const errorOf = (text: string) => (JSON.parse(text) as DeadLine).error

describe('A key that is no UTF-8', () => {
  const keys = [Buffer.from([0x41, 0x81]), Buffer.from([0x41, 0x82]), Buffer.from([...Buffer.from('x'.repeat(30)), 0xff])]

  it('is there as bytes', () => {
    const converter = converterOf('skip', (_event, at) => at.keyBytes!.toString('hex'))
    const lines = keys.map((key) => converter.convert(record({ key }), 0).lines.map(({ text }) => text))
    expect(lines).toEqual(keys.map((key) => [key.toString('hex')]))
  })

  it('makes a dead letter of the event whose converter reads it as text', () => {
    const [line] = converterOf('skip', (_event, at) => at.key).convert(record({ key: keys[0]! }), 0).lines
    expect([line!.section, errorOf(line!.text)]).toEqual([
      1,
      "the record's key (0x4181) is no UTF-8 text: use at.keyBytes instead of at.key",
    ])
  })

  it('is told apart from others by commands', () => {
    const source = { topic: 'ticks', tombstones: 'skip' as const, decode: { decode: String } }
    expect(keys.slice(0, 2).map((key) => eventKey({ source }, record({ key }), 0))).toEqual(['0x4181', '0x4182'])
    expect(eventKey({ source }, record({ key: Buffer.from('A\ufffd') }), 0)).toBe('A\ufffd')
  })
})

describe('An event without a value', () => {
  const tombstone = record({ value: null })

  it('is skipped, and says so', () => {
    const convert = () => expect.unreachable()
    expect(converterOf('skip', convert).convert(tombstone, 0)).toMatchObject({ lines: [], isSkipped: true })
    expect(converterOf('skip', String).convert(record({ value: Buffer.alloc(0) }), 0).lines).toHaveLength(1)
  })

  it('becomes a dead letter without a payload', () => {
    const { lines } = converterOf('dead-letter', () => expect.unreachable()).convert(tombstone, 0)
    expect(lines.map(({ text }) => JSON.parse(text) as DeadLine)).toMatchObject([{ task: null, payload: null, cut: false }])
  })

  it('is decoded from null', () => {
    expect(converterOf('decode', (event) => String(event === null)).convert(tombstone, 0).lines).toMatchObject([{ text: 'true' }])
  })
})

describe('The trace of an event', () => {
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const deadOf = (value: string | Buffer | null) => {
    const headers = new EventHeaders(() => [['traceparent', value === null ? null : Buffer.from(value)]])
    const converter = converterOf('skip', () => {
      throw new Error('no')
    })
    return JSON.parse(converter.convert(record({ headers }), 0).lines[0]!.text) as DeadLine
  }

  it('goes with its dead letter', () => {
    expect(deadOf(trace).traceparent).toBe(trace)
  })

  it.each([null, '', 'a\u0000b', 'x'.repeat(513), Buffer.from([0xff]), 'Zürich'])('is left out when it is none: %j', (value) => {
    expect(deadOf(value)).not.toHaveProperty('traceparent')
  })

  it('is left out when the headers cannot be read', () => {
    const headers = new EventHeaders(() => {
      throw new Error('damaged')
    })
    const dead = converterOf('skip', (_event, at) => at.headers.size).convert(record({ headers }), 0)
    expect(JSON.parse(dead.lines[0]!.text)).toMatchObject({ task: 't', error: 'damaged' })
  })
})
