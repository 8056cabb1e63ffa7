/** Sinks of anybody, as flushes use them. */
import { describe, expect, it } from 'vitest'
import { isForebayError } from '../../src/errors.ts'
import { JobLines } from '../../src/grid/segment.ts'
import { Batch } from '../../src/sinks/batch.ts'
import { runningSink } from '../../src/sinks/running-sink.ts'
import type { DeliveringSink, Sink } from '../../src/sinks/sink.ts'

const of = (delivery: Sink['delivery']): Sink<unknown> => ({
  kind: 'own',
  label: 'my sink',
  delivery,
  open: () => ({ deliver: async () => undefined }),
})
const signal = new AbortController().signal

/** Jobs of events 7, 7 and 9 in partition 3. */
function jobs(lines: readonly string[] = ['{"a":1}', '{"a":2}', '{"a":"3"}']): JobLines {
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
  const deltas = Uint32Array.from(lines, (_, i) => (i < 2 ? 0 : 2))
  return new JobLines({ task: 't', kind: 'job', partition: 3, queue: 1 }, bytes, { offset: 7n, timeMs: 40 }, deltas, deltas)
}

describe('A batch', () => {
  it('gives each job with a stable id, its place and its row', () => {
    const batch = new Batch([jobs(), jobs(['null'])])
    expect(batch.size).toBe(4)
    expect([...batch].map(({ id, offset, timeMs, row }) => [id, offset, timeMs, row])).toEqual([
      ['t/3/7/0', 7n, 40, { a: 1 }],
      ['t/3/7/1', 7n, 40, { a: 2 }],
      ['t/3/9/0', 9n, 42, { a: '3' }],
      ['t/3/7/0', 7n, 40, null],
    ])
    expect(batch.rows()).toEqual([{ a: 1 }, { a: 2 }, { a: '3' }, null])
  })

  it('keeps the ids of jobs that are tried again in parts', () => {
    const whole = [...new Batch([jobs()])].map(({ id }) => id)
    const parts = [jobs().slice(0, 1), jobs().slice(1, 2), jobs().slice(2, 3)].flatMap((part) => [...new Batch([part])].map(({ id }) => id))
    expect(parts).toEqual(whole)
  })
})

describe('A sink of one’s own', () => {
  it('writes its jobs as JSON when it has no encoder, bigints as strings', () => {
    const { encode } = runningSink(of('ephemeral'), { deliver: async () => undefined })
    expect(encode({ n: 2n ** 64n })).toBe('{"n":"18446744073709551616"}')
    expect(() => encode(undefined)).toThrow(/my sink: a undefined has no JSON form/)
  })

  it('is tried again after whatever it throws, and named', async () => {
    const deliver: DeliveringSink['deliver'] = () => Promise.reject(new Error('disk is gone'))
    const sink = runningSink(of('at-least-once'), { deliver })
    if (sink.delivery === 'exactly-once') throw new Error('it delivers')
    const error: unknown = await sink.deliver([jobs()], signal).catch((thrown: unknown) => thrown)
    expect(isForebayError(error, 'FB_SINK') && error.policy).toBe('retry')
    expect((error as Error).message).toBe('my sink: disk is gone')
  })

  it('encodes each job as one line, or the job is refused', () => {
    const encodeBy = (encode: (job: unknown) => unknown) =>
      runningSink({ ...of('ephemeral'), encode: encode as () => string }, { deliver: async () => undefined }).encode
    expect(encodeBy(() => 'a line')(1)).toBe('a line')
    for (const bad of ['two\nlines', 7, undefined, Promise.resolve('later')]) {
      expect(() => encodeBy(() => bad)(1)).toThrow(expect.objectContaining({ code: expect.stringMatching(/^FB_BAD_/) as string }))
    }
  })

  it('may name dead jobs in any order, and none that there is not', async () => {
    const deliverBy = (dead: { index: number; error: string }[]) => {
      const sink = runningSink(of('at-least-once'), { deliver: async () => ({ dead }) })
      if (sink.delivery === 'exactly-once') throw new Error('it delivers')
      return sink.deliver([jobs(), jobs()], signal)
    }
    const at = (index: number) => ({ index, error: 'no' })
    expect(await deliverBy([at(5), at(0), at(5)])).toEqual({ dead: [at(0), at(5)] })
    for (const index of [6, -1, 0.5]) await expect(deliverBy([at(index)])).rejects.toMatchObject({ code: 'FB_SINK' })
  })

  it('is tried again after a search for bad jobs that fails', async () => {
    const fails = () => Promise.reject(new TypeError('a bug'))
    const sink = runningSink(of('exactly-once'), { write: fails, screen: fails, writeEach: fails })
    if (sink.delivery !== 'exactly-once') throw new Error('it writes')
    for (const call of [sink.write, sink.screen!, sink.writeEach!])
      await expect(call({} as never, [jobs()])).rejects.toMatchObject({ code: 'FB_SINK' })
  })

  it('is refused when it cannot do what its delivery asks for', () => {
    expect(() => runningSink(of('exactly-once'), { deliver: async () => undefined })).toThrow(/must have write/)
  })

  it('may bring a copy of forebay of its own, whose errors count as ours', async () => {
    const path = '../../src/errors.ts?another'
    const another = (await import(path)) as typeof import('../../src/errors.ts')
    expect(another.ForebayError).not.toBe((await import('../../src/errors.ts')).ForebayError)
    expect(isForebayError(new another.ForebayError('FB_BAD_JOB', 'no'), 'FB_BAD_JOB')).toBe(true)
  })
})
