import { afterAll, beforeAll, expect, it } from 'vitest'
import { Converter } from '../../src/ingest/converter.ts'
import type { DeadLine } from '../../src/ingest/converter.ts'
import { converting } from '../../src/ingest/converting.ts'
import { strayFailure } from '../../src/node/stray-failure.ts'
import { latestLine } from '../../src/sinks/web-socket/latest-line.ts'

const unheard: unknown[] = []
const onUnheard = (reason: unknown) => void unheard.push(reason)
beforeAll(() => void process.on('unhandledRejection', onUnheard))
afterAll(() => void process.off('unhandledRejection', onUnheard))

const turn = () => new Promise((resolve) => setTimeout(resolve, 20))

/** An object whose `then` is `then`. */
const withThen = <T extends object>(of: T, then: unknown): T =>
  Object.defineProperty(of, ['t', 'hen'].join(''), { value: then, enumerable: true })
const neverCalled = () => expect.unreachable('nothing is started by it')

const promises: Record<string, () => unknown> = {
  'a promise': () => Promise.resolve('k'),
  'one that fails later': () => new Promise((_, reject) => setTimeout(() => reject(new Error('later')), 5)),
  'one that has failed': () => Promise.reject(new Error('at once')),
  'one of a class of its own': () => withThen(Promise.reject(new Error('own')), neverCalled),
  'a thenable': () => withThen({}, neverCalled),
}

it.each(Object.entries(promises))('%s is a dead letter that says so, wherever it comes from', async (_, make) => {
  for (const place of ['decode', 'key', 'convert', 'jobs', 'latestBy'] as const) {
    const at = (here: string, otherwise: unknown) => (here === place ? make() : otherwise)
    const latestBy = () => at('latestBy', 'k') as string
    const converter = new Converter({
      source: { topic: 't', tombstones: 'skip', decode: { decode: () => at('decode', {}) } },
      key: () => at('key', 'k') as string,
      tasks: [
        { name: 'a', isTracked: true, convert: () => at('convert', place === 'jobs' ? [{}, make()] : {}), encode: () => 'x' },
        { name: 'b', isTracked: false, convert: () => ({ v: 1 }), latestBy, encode: (job) => latestLine({ channel: 'c', latestBy }, job) },
      ],
      queues: 1,
      eventBytesMax: 100,
      linesBytesMax: 100_000,
    })
    const record = { offset: 5n, timestampMs: 0, key: null, value: Buffer.from('v') }
    for (const { lines } of [...converter.convertAll([record], 0), converter.convert(record, 0)]) {
      const letters = lines.filter(({ section }) => section === 1).map(({ text }) => JSON.parse(text) as DeadLine)
      expect(letters.map(({ error }) => error)).toEqual([
        expect.stringMatching(new RegExp(`^${place === 'jobs' ? 'convert' : place} gave a promise; `)),
      ])
      expect(letters[0]!.task).toBe(place === 'latestBy' ? 'b' : place === 'decode' || place === 'key' ? null : 'a')
    }
  }
  await turn()
  expect(unheard).toEqual([])
})

it('events and jobs may have a field called then', () => {
  const encode = (job: unknown) => latestLine({ channel: 'c', latestBy: () => 'k' }, job)
  expect(encode(withThen({}, 'later'))).toBe('["k",{"then":"later"}]')
})

it('a stray failure tells the event at hand, and whose code it is', () => {
  converting.begin(3, 2n ** 60n)
  converting.at(1)
  const place = () => converting.place(['rows', 'push'])
  const failureOf = (thrown: unknown) => strayFailure(thrown, 'trades', place())
  const own = new Error('ours')
  const theirs = Object.assign(new Error('theirs'), {
    stack: 'Error: theirs\n    at Timeout.<anonymous> (file:///srv/app/pipeline.ts?x=1:12:7)\n',
  })
  const library = Object.assign(new Error('x'), {
    stack: 'Error: x\n    at f (/srv/app/node_modules/pg/a.js:1:1)\n    at /srv/app/pipeline.js:9:1',
  })
  own.stack = own.stack!.replace(
    /\n {4}at .*/s,
    `\n    at run (${new URL('../../src/main.ts', import.meta.url).href}:1:1)\n    at /srv/app/pipeline.js:9:1`,
  )
  expect(failureOf(theirs).message).toContain(
    'theirs (/srv/app/pipeline.ts:12); it was converting offset 1152921504606846976 of partition 3 of topic trades (task push)',
  )
  expect(failureOf(own).code).toBe('FB_INTERNAL')
  expect(failureOf(library)).toMatchObject({ code: 'FB_USER_CODE', message: expect.stringContaining('/srv/app/pipeline.js:9') })
  converting.end()
  for (const thrown of [undefined, Symbol('s'), Object.create(null), 'text']) {
    expect(failureOf(thrown)).toMatchObject({
      code: 'FB_USER_CODE',
      exitCode: 71,
      message: expect.stringContaining('the last event converted before it is offset'),
    })
  }
})
