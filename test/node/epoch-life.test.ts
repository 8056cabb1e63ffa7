import { expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { liveThroughEpochs } from '../../src/node/epoch-life.ts'

const failure = (code: ErrorCode, sentence: string = code) => new ForebayError(code, sentence)

/** Plays what each opening and each life does, in order: a number is an epoch, an error is thrown; a life that ends stops the node. */
async function play(openings: readonly (number | ForebayError)[], lives: readonly (ForebayError | undefined)[]) {
  const stop = new AbortController()
  const seen: string[] = []
  const [nextOpenings, nextLives] = [[...openings], [...lives]]
  const clock = { now: () => 0, wallMs: () => 0, sleep: async () => void seen.push('sleep') }
  const ended = await liveThroughEpochs<number>(
    {
      clock,
      open: async (isJoinOnly) => {
        const opening = nextOpenings.shift()
        seen.push(isJoinOnly ? 'join' : 'open')
        if (opening === undefined) throw new Error('opened once too often')
        if (opening instanceof ForebayError) throw opening
        return opening
      },
      live: async (epoch) => {
        seen.push(`live ${epoch}`)
        const life = nextLives.shift()
        if (life !== undefined) throw life
        stop.abort()
      },
      onWaiting: async (sentence) => void seen.push(`waits: ${sentence}`),
    },
    stop.signal,
  ).catch((error: unknown) => error)
  return { seen, ended }
}

it('runs in the epoch it opens, until it is stopped', async () => {
  expect(await play([1], [undefined])).toEqual({ seen: ['open', 'live 1'], ended: undefined })
})

it('waits while the routing differs, telling so at every look, and through a database that is away meanwhile', async () => {
  const { seen, ended } = await play(
    [failure('FB_ROUTING', 'a'), failure('FB_DATABASE_UNREACHABLE', 'b'), failure('FB_ROUTING', 'c'), 2],
    [undefined],
  )
  expect(ended).toBeUndefined()
  expect(seen).toEqual(['open', 'waits: a', 'sleep', 'open', 'waits: b', 'sleep', 'open', 'waits: c', 'sleep', 'open', 'live 2'])
})

it('ends at the first opening with whatever is no other routing', async () => {
  for (const code of ['FB_DATABASE_UNREACHABLE', 'FB_FINGERPRINT', 'FB_IDENTITY'] as const)
    expect((await play([failure(code)], [])).ended).toMatchObject({ code })
})

it('only joins once its own epoch was closed, and waits where it cannot', async () => {
  const { seen, ended } = await play(
    [1, 2, failure('FB_ROUTING', 'r'), 4],
    [failure('FB_EPOCH_CLOSED'), failure('FB_EPOCH_CLOSED'), undefined],
  )
  expect(ended).toBeUndefined()
  expect(seen).toEqual(['open', 'live 1', 'join', 'live 2', 'join', 'waits: r', 'sleep', 'join', 'live 4'])
})

it('ends with what closed its epoch when its version or its tasks are not those of the next', async () => {
  for (const code of ['FB_FINGERPRINT', 'FB_EPOCH_CLOSED'] as const) {
    const { ended } = await play([1, failure(code, 'the refusal')], [failure('FB_EPOCH_CLOSED', 'what closed it')])
    expect(ended).toMatchObject({ code: 'FB_EPOCH_CLOSED', message: 'what closed it' })
  }
})

it('waits where a server is away while it gets ready for a later epoch, and ends where that is its first', async () => {
  const away = failure('FB_EVENT_LOG_UNREACHABLE', 'away')
  const { seen, ended } = await play([1, 2, 2], [failure('FB_EPOCH_CLOSED'), away, undefined])
  expect(ended).toBeUndefined()
  expect(seen).toEqual(['open', 'live 1', 'join', 'live 2', 'waits: away', 'sleep', 'join', 'live 2'])
  expect((await play([1], [away])).ended).toBe(away)
})

it('passes on what ends a life otherwise', async () => {
  expect((await play([1], [failure('FB_SCHEMA')])).ended).toMatchObject({ code: 'FB_SCHEMA' })
})
