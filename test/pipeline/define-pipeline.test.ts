import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { definePipeline, EventHeaders, json, postgresTable, webSocket } from '../../src/index.ts'
import { isForebayError } from '../../src/errors.ts'
import stockTicks from '../../examples/stock-ticks/pipeline.ts'

const at = {
  topic: 'trades',
  partition: 2,
  offset: 41n,
  timestampMs: 5,
  key: null,
  keyBytes: null,
  headers: new EventHeaders(() => []),
}
const source = { topic: 'trades', decode: json(z.object({ symbol: z.string() })) }
const rows = { every: '1s', sink: postgresTable('t', { columns: { symbol: 'text' } }), convert: () => undefined }
const channel = { every: '1s', sink: webSocket('prices', { latestBy: () => 'a' }), convert: () => undefined }

/** As plain JavaScript would write it: no compiler in between. */
function problemOf(pipeline: object): string {
  try {
    definePipeline(pipeline as never)
  } catch (error) {
    expect(isForebayError(error, 'FB_PIPELINE')).toBe(true)
    return (error as Error).message
  }
  return 'none'
}

describe('definePipeline', () => {
  it('gives the pipeline with its units in numbers', () => {
    const tasks = { rows: { ...rows, every: '15ms', rowsMax: 10, bytesMax: '4MiB' } as const }
    const pipeline = definePipeline({ name: 'a', source, key: (event) => event.symbol, tasks })
    expect(pipeline).toMatchObject({ name: 'a', version: '1', source: { topic: 'trades' } })
    expect(pipeline.tasks).toMatchObject([
      {
        name: 'rows',
        everyMs: 15,
        rowsMax: 10,
        bytesMax: 4_194_304,
        sink: {
          kind: 'postgres-table',
          label: 'table t',
          delivery: 'exactly-once',
          traits: { table: { table: 't', columns: { symbol: 'text' } } },
        },
      },
    ])
    expect(pipeline.key?.({ symbol: 'SPY' })).toBe('SPY')
  })

  it('leaves out what was not said', () => {
    const pipeline = definePipeline({ name: 'a', version: '2', source, tasks: { rows: { ...rows, every: '1s' } } })
    expect(pipeline.version).toBe('2')
    expect(Object.keys(pipeline)).not.toContain('key')
    expect(Object.keys(pipeline.tasks[0]!)).toEqual(['name', 'everyMs', 'sink', 'convert'])
  })

  it('is frozen', () => {
    for (const part of [stockTicks, stockTicks.source, stockTicks.tasks, ...stockTicks.tasks]) expect(Object.isFrozen(part)).toBe(true)
  })

  it('takes a good pipeline', () => {
    expect(problemOf({ name: 'a', source, tasks: { rows, channel } })).toBe('none')
  })

  it.each<[string, object, string]>([
    ['a name in capitals', { name: 'Stock', source, tasks: { rows } }, 'name must be a lower case letter'],
    ['an unknown field', { name: 'a', source, taks: {}, tasks: { rows } }, 'taks is unknown; did you mean tasks?'],
    ['a version that is a number', { name: 'a', version: 2, source, tasks: { rows } }, 'version must be a string'],
    [
      'no topic',
      { name: 'a', source: { decode: source.decode }, tasks: { rows } },
      'source.topic must be the name of a topic, not undefined',
    ],
    [
      'a bare function as decoder',
      { name: 'a', source: { topic: 't', decode: () => 1 }, tasks: { rows } },
      'source.decode must be a decoder',
    ],
    ['no task', { name: 'a', source, tasks: {} }, 'tasks must name at least one task'],
    ['a task name with a blank', { name: 'a', source, tasks: { 'a b': rows } }, "tasks.a b: a task's name"],
    [
      'no unit',
      { name: 'a', source, tasks: { rows: { ...rows, every: '15' } } },
      'tasks.rows.every: a duration needs a number and a unit (ms, s, m or h); did you mean 15ms?',
    ],
    [
      'a cadence of nothing',
      { name: 'a', source, tasks: { rows: { ...rows, every: '0ms' } } },
      'tasks.rows.every must lie between 1ms and 24h',
    ],
    [
      'a cadence longer than a timer',
      { name: 'a', source, tasks: { rows: { ...rows, every: '25h' } } },
      'tasks.rows.every must lie between 1ms and 24h',
    ],
    ['a size of nothing', { name: 'a', source, tasks: { rows: { ...rows, bytesMax: '0B' } } }, 'tasks.rows.bytesMax must be at least 1B'],
    [
      'half a row',
      { name: 'a', source, tasks: { rows: { ...rows, rowsMax: 0.5 } } },
      'tasks.rows.rowsMax must be a whole number of at least 1',
    ],
    ['no convert', { name: 'a', source, tasks: { rows: { ...rows, convert: 3 } } }, 'tasks.rows.convert must be a function'],
    ['no sink', { name: 'a', source, tasks: { rows: { ...rows, sink: {} } } }, 'tasks.rows.sink: it must be a sink'],
    [
      'a merge without key',
      { name: 'a', source, tasks: { rows: { ...rows, sink: postgresTable('t', { columns: { a: 'int' }, merge: { a: 'add' } }) } } },
      'merge needs upsertOn',
    ],
    [
      'one channel twice',
      { name: 'a', source, tasks: { one: channel, two: channel } },
      'tasks.two and tasks.one have channel prices in common',
    ],
    ['a key that is no function', { name: 'a', source, key: 'symbol', tasks: { rows } }, 'key must be a function of the event'],
  ])('refuses %s', (_what, pipeline, problem) => {
    expect(problemOf(pipeline)).toContain(problem)
  })

  it('names everything that is wrong at once', () => {
    const problem = problemOf({ name: 'A', source: {}, tasks: { rows: { ...rows, every: 1, convert: null } } })
    for (const part of ['name must', 'source.topic', 'source.decode', 'tasks.rows.every', 'tasks.rows.convert'])
      expect(problem).toContain(part)
  })
})

describe('The stock-ticks example', () => {
  const trade = {
    ms_since_midnight: 34_261_000,
    symbol: 'SPY',
    price_e4: 1_674_200,
    size: 210,
    exchange: 'Q',
    conditions: '2000',
    suspicious: true,
  }
  const jobsOf = (task: string) =>
    stockTicks.tasks.find(({ name }) => name === task)!.convert(stockTicks.source.decode.decode(Buffer.from(JSON.stringify(trade)), at), at)

  it('stores every column of a trade with its place in the log', () => {
    expect(jobsOf('storeTrade')).toEqual({ source_partition: 2, source_offset: 41n, ...trade })
  })

  it('pushes the price of a symbol', () => {
    expect(jobsOf('pushPrice')).toEqual({ symbol: 'SPY', price_e4: 1_674_200, ms_since_midnight: 34_261_000 })
  })

  it('makes a trade a candle of its minute', () => {
    const price = { open_e4: 1_674_200, high_e4: 1_674_200, low_e4: 1_674_200, close_e4: 1_674_200 }
    expect(jobsOf('minuteCandle')).toEqual({ symbol: 'SPY', minute: 571, ...price, volume: 210, trades: 1 })
  })

  it('refuses a trade of another shape', () => {
    expect(() => stockTicks.source.decode.decode(Buffer.from(JSON.stringify({ ...trade, suspicious: 1 })), at)).toThrow(
      'suspicious: expected boolean, received number',
    )
  })

  it('runs at the cadences it promises', () => {
    expect(stockTicks.tasks.map(({ name, everyMs }) => [name, everyMs])).toEqual([
      ['storeTrade', 15],
      ['pushPrice', 10],
      ['minuteCandle', 1000],
    ])
  })
})
