import { expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { watchPartitions } from '../../src/node/partition-watch.ts'
import { epochMark } from '../../src/epochs/epoch-mark.ts'

/** Plays the answers of the log in order, the last one for ever; the body runs until its signal aborts. */
async function play(answers: readonly (number | Error)[], stopAfter = Infinity) {
  const stop = new AbortController()
  let asked = 0
  const identity = async () => {
    const answer = answers[Math.min(asked++, answers.length - 1)]!
    if (asked >= stopAfter) stop.abort()
    if (answer instanceof Error) throw answer
    return { cluster: 'c', topicId: null, partitions: answer }
  }
  const clock = { now: () => 0, wallMs: () => 0, sleep: () => new Promise<void>((resolve) => setImmediate(resolve)) }
  const observer = { count: () => {}, value: () => {}, committed: () => {}, log: () => {} }
  let isBodyOver = false
  const ended = await watchPartitions(
    { log: { identity }, clock, observer },
    { topic: 't', partitions: 2 },
    stop.signal,
    async (signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      isBodyOver = true
    },
  ).catch((error: unknown) => error)
  return { ended, isBodyOver, asked }
}

it('ends the life of a node when the topic grew, through a log that is away', async () => {
  const { ended, isBodyOver } = await play([2, new ForebayError('FB_EVENT_LOG_UNREACHABLE', 'away'), 2, 5])
  expect(ended).toMatchObject({ code: 'FB_EPOCH_CLOSED', message: expect.stringMatching(/has 5 partitions now, this node works with 2/) })
  expect(isBodyOver).toBe(true)
})

it('says nothing while the number stays, and passes on a bug', async () => {
  expect(await play([2, 1], 3)).toEqual({ ended: undefined, isBodyOver: true, asked: 3 })
  const bug = new TypeError('bug')
  expect((await play([bug])).ended).toBe(bug)
})

it('marks epochs of one number apart by every part of the fingerprint and the reset, whatever the order of its fields', () => {
  const fingerprint = { queues: 2, hash: 'h', segmentBytesMax: 10, eventBytesMax: 20, tasks: ['a', 'b'], version: '1' }
  const others = [{ queues: 3 }, { hash: 'g' }, { segmentBytesMax: 11 }, { eventBytesMax: 21 }, { tasks: ['b', 'a'] }, { version: '2' }]
  const marks = [
    epochMark(fingerprint, 0),
    epochMark(fingerprint, 1),
    ...others.map((change) => epochMark({ ...fingerprint, ...change }, 0)),
  ]
  expect(new Set(marks).size).toBe(8)
  expect(epochMark(Object.fromEntries(Object.entries(fingerprint).toReversed()) as unknown as typeof fingerprint, 0)).toBe(marks[0])
})
