import { expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import { troubleStatuses } from '../../src/status/trouble-status.ts'
import { TroubleTeller } from '../../src/node/trouble-teller.ts'
import { Troubles } from '../../src/troubles.ts'
import type { TroubleKind } from '../../src/troubles.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const because = (code: string) =>
  new ForebayError('FB_DATABASE_UNREACHABLE', `because of ${code}`, { cause: Object.assign(new Error('x'), { code }) })

async function telling() {
  const clock = new VirtualClock()
  const troubles = new Troubles(clock)
  const lines: string[] = []
  const counts: string[] = []
  const observer = {
    log: (level: string, message: string) => void lines.push(`${level}: ${message}`),
    count: (name: string, by: number, label = '') => void counts.push(`${name} ${by} ${label}`),
  }
  const stop = new AbortController()
  void new TroubleTeller({ troubles, clock, observer }).run(stop.signal)
  const failing = async (kind: TroubleKind, places: number, code: string, forMs: number) => {
    for (let passed = 0; passed < forMs; passed += 500) {
      for (let p = 0; p < places; p++)
        await troubles.watch(kind, `partition ${p}`, () => Promise.reject(because(code))).catch(() => undefined)
      await clock.pass(500)
    }
  }
  const well = (kind: TroubleKind, places: number) =>
    Promise.all(Array.from({ length: places }, (_, p) => troubles.watch(kind, `partition ${p}`, () => Promise.resolve())))
  return { clock, troubles, lines, counts, failing, well }
}

it('tells a kind of trouble once for all its places, again for another reason, and when it is over', async () => {
  const { clock, lines, counts, failing, well } = await telling()
  await failing('settle', 8, 'ECONNREFUSED', 30_000)
  expect(lines).toEqual([
    'error: raising the floor has failed for 5.0 s (partition 0, partition 1, partition 2, partition 3, partition 4 and 3 more): because of ECONNREFUSED',
  ])
  await failing('settle', 8, '53300', 10_000)
  expect(lines.slice(1)).toEqual([
    'error: raising the floor has failed for 30 s (partition 0, partition 1, partition 2, partition 3, partition 4 and 3 more): because of 53300',
  ])
  await failing('settle', 8, 'ECONNREFUSED', 10_000)
  await well('settle', 8)
  await clock.pass(1000)
  expect(lines.slice(2)).toEqual(['info: raising the floor gets through again, after 50 s'])
  expect(counts).toEqual(['troubles 1 settle'])
  await failing('settle', 1, 'ECONNREFUSED', 6000)
  expect(counts).toHaveLength(2)
})

it('warns of what holds nothing up, and shows it in the status without standing still', async () => {
  const { troubles, clock, lines, failing } = await telling()
  await failing('commit', 1, 'ECONNREFUSED', 6000)
  expect(lines).toEqual([expect.stringMatching(/^warn: committing floors for lag tools has failed/)])
  expect(troubleStatuses(troubles, clock)).toMatchObject([
    { kind: 'commit', form: 'fails', sinceMs: 1_700_000_000_000, places: ['partition 0'], placesCount: 1, standsStill: false },
  ])
})

it('holds nothing against a server while this process stood still', async () => {
  const { clock, troubles, lines } = await telling()
  await clock.pass(2000)
  void troubles.watch('append', 'p0.q0', () => new Promise(() => undefined))
  clock.jump(60_000)
  await clock.pass(4000)
  expect(lines).toEqual([])
  await clock.pass(1500)
  expect(lines).toEqual([expect.stringMatching(/^error: appending to the rings of the grid has had no answer for [56]\.\d s \(p0\.q0\)/)])
})

it('does not take a call that nobody makes any more for one that gets through', async () => {
  const { clock, lines, failing } = await telling()
  await failing('fetch', 1, 'ECONNREFUSED', 6000)
  await clock.pass(20_000)
  expect(lines.slice(1)).toEqual([expect.stringMatching(/^info: reading events from the log is not tried here any more, after \d+ s$/)])
})
