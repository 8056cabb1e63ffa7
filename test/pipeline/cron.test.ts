import { describe, expect, it } from 'vitest'
import { cron, definePipeline, json, postgresTable } from '../../src/index.ts'
import * as z from 'zod'

function pipelineWith(tasks: Record<string, unknown>) {
  return definePipeline({
    name: 'scheduled',
    source: { topic: 't', decode: json(z.object({})) },
    tasks: { rows: { every: '1s', sink: postgresTable('t', { columns: { n: 'int' } }), convert: () => ({ n: 1 }) } },
    cron: tasks as never,
  })
}

const run = () => undefined

describe('Cron tasks of a pipeline', () => {
  it('have their defaults filled in', () => {
    const [task] = pipelineWith({ close: cron('0 5 16 * * 1-5', { timezone: 'America/New_York' }, run) }).cron
    expect(task).toEqual({
      name: 'close',
      expression: '0 5 16 * * 1-5',
      timezone: 'America/New_York',
      missed: 'once',
      missedAfterMs: 60_000,
      timeoutMs: 60_000,
      attemptsMax: 5,
      run,
    })
    expect(pipelineWith({}).cron).toEqual([])
  })

  it.each([
    [
      'an expression of too few fields',
      cron('* * *', {}, run),
      /cron\.close\.expression: '\* \* \*' is no cron expression.*expected 5 or 6 fields/,
    ],
    ['a second that does not exist', cron('61 * * * * *', {}, run), /cron\.close\.expression: .*second/],
    ['a day that no month has', cron('0 0 30 2 *', {}, run), /cron\.close\.expression: .*impossible/],
    ['an expression that is no text', cron(5 as never, {}, run), /cron\.close\.expression/],
    [
      'an unknown time zone',
      cron('* * * * *', { timezone: 'America/NewYork' }, run),
      /cron\.close\.timezone: "America\/NewYork" is no time zone/,
    ],
    ['an unknown policy', cron('* * * * *', { missed: 'twice' as never }, run), /cron\.close\.missed must be one of skip, once, all/],
    ['a timeout without unit', cron('* * * * *', { timeout: '5' as never }, run), /cron\.close\.timeout: .*did you mean 5ms/],
    ['a timeout of a day', cron('* * * * *', { timeout: '24h' }, run), /cron\.close\.timeout must lie/],
    ['attempts below one', cron('* * * * *', { attemptsMax: 0 }, run), /cron\.close\.attemptsMax/],
    ['an unknown option', cron('* * * * *', { timezon: 'UTC' } as never, run), /cron\.close\.timezon is unknown; did you mean timezone/],
    ['no function', cron('* * * * *', {}, undefined as never), /cron\.close must be given a function/],
    ['no cron task', 'each day', /cron\.close must be cron\(expression, options, function\)/],
  ])('are refused with their key for %s', (_, task, sentence) => {
    expect(() => pipelineWith({ close: task })).toThrow(sentence)
  })

  it('are refused with the name of another task', () => {
    expect(() => pipelineWith({ rows: cron('* * * * *', {}, run) })).toThrow(/cron\.rows: tasks\.rows has the same name/)
    expect(() => pipelineWith({ 'a b': cron('* * * * *', {}, run) })).toThrow(/cron\.a b: a task's name/)
  })
})
