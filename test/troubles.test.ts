import { describe, expect, it } from 'vitest'
import { ForebayError } from '../src/errors.ts'
import { Troubles } from '../src/troubles.ts'
import { VirtualClock } from './support/virtual-clock.ts'

const away = (code = 'ECONNREFUSED') =>
  new ForebayError('FB_DATABASE_UNREACHABLE', `away (${code})`, { cause: Object.assign(new Error('socket'), { code }) })

function watched() {
  const clock = new VirtualClock()
  const troubles = new Troubles(clock)
  /** Ends after `tookMs`. */
  const call = async (tookMs: number, error?: unknown, waitMs = 0) => {
    const outcome = troubles.watch(
      'settle',
      'partition 0',
      async () => {
        await clock.sleep(tookMs)
        if (error !== undefined) throw error
        return 'answer'
      },
      waitMs,
    )
    const settled = outcome.catch((thrown: unknown) => thrown)
    await clock.pass(tookMs)
    return settled
  }
  return { clock, troubles, call }
}

describe('troubles', () => {
  it('hands every outcome on as it is', async () => {
    const { call } = watched()
    const error = away()
    expect(await call(1)).toBe('answer')
    expect(await call(1, error)).toBe(error)
  })

  it('are what fails again and again for five seconds, and end with the first success', async () => {
    const { troubles, call } = watched()
    for (let i = 0; i < 4; i++) await call(1000, away())
    expect(troubles.present()).toEqual([])
    await call(1500, away())
    expect(troubles.present()).toEqual([
      {
        kind: 'settle',
        where: 'partition 0',
        sinceMs: 0,
        form: 'fails',
        code: 'FB_DATABASE_UNREACHABLE',
        sentence: 'away (ECONNREFUSED)',
        reason: 'FB_DATABASE_UNREACHABLE ECONNREFUSED',
      },
    ])
    await call(10)
    expect(troubles.present()).toEqual([])
  })

  it('are calls that never settle, from their start', async () => {
    const { clock, troubles } = watched()
    void troubles.watch('append', 'p0.q0', () => new Promise(() => undefined))
    await clock.pass(4999)
    expect(troubles.present()).toEqual([])
    await clock.pass(1001)
    expect(troubles.present()).toMatchObject([
      { kind: 'append', form: 'hangs', sinceMs: 0, sentence: 'the call under way has not come back' },
    ])
  })

  it('are calls that all come late, but not one that was asked to wait', async () => {
    const { troubles, call } = watched()
    for (let i = 0; i < 4; i++) await call(2000)
    expect(troubles.present()).toMatchObject([{ form: 'late', sinceMs: 0, sentence: 'the last call took 2.0 s' }])
    await call(5, undefined, 0)
    for (let i = 0; i < 4; i++) await call(2000, undefined, 2000)
    expect(troubles.present()).toEqual([])
  })

  it('are not one failure that nobody tried to mend, nor a refusal that is an answer', async () => {
    const { clock, troubles, call } = watched()
    await call(1, away())
    await clock.pass(8000)
    expect(troubles.present()).toEqual([])
    for (let i = 0; i < 8; i++) await call(900, new ForebayError('FB_FENCED', 'another node was faster'))
    expect(troubles.present()).toEqual([])
  })

  it('end when nobody tries any more, and are forgotten', async () => {
    const { clock, troubles, call } = watched()
    for (let i = 0; i < 6; i++) await call(1000, away())
    expect(troubles.present()).toHaveLength(1)
    await clock.pass(15_000)
    expect(troubles.present()).toEqual([])
    await clock.pass(60_000)
    troubles.tidy()
    await call(1000, away())
    expect(troubles.present(0)).toEqual([])
  })

  it('count no time in which the process stood still', async () => {
    const { clock, troubles } = watched()
    void troubles.watch('append', 'p0.q0', () => new Promise(() => undefined))
    clock.jump(20_000)
    troubles.skip(20_000)
    expect(troubles.present()).toEqual([])
    await clock.pass(5000)
    expect(troubles.present()).toMatchObject([{ form: 'hangs', sinceMs: 20_000 }])
  })
})
