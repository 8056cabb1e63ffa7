import { expect, it } from 'vitest'
import { runSideLoop } from '../../src/node/side-loop.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import { Troubles } from '../../src/troubles.ts'

const clock = new SystemClock()
const troubles = new Troubles(clock)

function logged() {
  const messages: string[] = []
  return { messages, observer: { log: (level: string, message: string) => void messages.push(`${level}: ${message}`) } }
}

it('a loop that fails is told of once for one reason, and run again', async () => {
  const { messages, observer } = logged()
  let runs = 0
  const run = () => (++runs < 3 ? Promise.reject(new Error('out of luck')) : Promise.resolve())
  await runSideLoop('pushing', run, { clock, observer, troubles }, new AbortController().signal)
  expect(runs).toBe(3)
  expect(messages).toEqual([
    'error: pushing failed and is tried again: out of luck',
    'debug: pushing failed and is tried again: out of luck',
  ])
  expect(troubles.present(0)).toMatchObject([{ kind: 'side', where: 'pushing', form: 'fails', sentence: 'out of luck' }])
})

it('a loop that throws before it waits for anything is caught as well', async () => {
  const { messages, observer } = logged()
  const stop = new AbortController()
  const running = runSideLoop(
    'pushing',
    () => {
      throw new TypeError('a defect')
    },
    { clock, observer, troubles },
    stop.signal,
  )
  await expect.poll(() => messages.length).toBeGreaterThan(1)
  stop.abort()
  await expect(running).resolves.toBeUndefined()
})

it('a failure while the node stops is no news', async () => {
  const { messages, observer } = logged()
  const stop = new AbortController()
  const run = async () => {
    stop.abort()
    throw new Error('cut off')
  }
  await runSideLoop('pushing', run, { clock, observer, troubles }, stop.signal)
  expect(messages).toEqual([])
})
