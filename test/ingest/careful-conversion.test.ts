import { expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { EventRecord } from '../../src/events/event-log.ts'
import { buryDeaths, CarefulConversion, sandboxEventsMax, waryDeaths } from '../../src/ingest/careful-conversion.ts'
import { Converter } from '../../src/ingest/converter.ts'
import type { DeadLine } from '../../src/ingest/converter.ts'
import type { OwnerRecord } from '../../src/ingest/owner-book.ts'
import type { SandboxOutcome } from '../../src/ingest/sandbox.ts'
import { SystemClock } from '../../src/schedule/clock.ts'

const recordAt = (offset: number): EventRecord => ({ offset: BigInt(offset), timestampMs: 0, key: null, value: Buffer.from(`${offset}`) })
const records = (count: number, from = 0) => Array.from({ length: count }, (_, n) => recordAt(from + n))

/** `kills`: offsets at which the sandbox dies, as often as it says. */
function worldOf(record: Partial<OwnerRecord>, kills: ReadonlyMap<number, number> = new Map()) {
  const left = new Map(kills)
  const calls: string[] = []
  const deaths = new Map(record.suspects)
  let here = 0
  const makeConverter = (onConvert: () => void) =>
    new Converter({
      source: { topic: 't', tombstones: 'skip', decode: { decode: (value) => (onConvert(), value!.toString()) } },
      key: undefined,
      tasks: [{ name: 'a', isTracked: true, convert: (event) => event, encode: String }],
      queues: 1,
      eventBytesMax: 100,
      linesBytesMax: 10_000,
    })
  const sandboxed = makeConverter(() => undefined)
  let troubles = 0
  const ports = {
    clock: new SystemClock(),
    observer: { count: () => undefined, value: () => undefined, committed: () => undefined, log: () => undefined },
    book: {
      begin: () => Promise.reject(new Error('not asked')),
      leave: () => Promise.resolve(),
      suspect: (_: number, offset: bigint) => {
        calls.push(`suspect ${offset}`)
        deaths.set(offset, (deaths.get(offset) ?? 0) + 1)
        return Promise.resolve(deaths.get(offset)!)
      },
      acquit: (_: number, offset: bigint) => {
        calls.push(`acquit ${offset}`)
        deaths.delete(offset)
        return Promise.resolve()
      },
    },
    sandbox: {
      convert: async (some: readonly EventRecord[]): Promise<SandboxOutcome> => {
        if (troubles-- > 0) throw new ForebayError('FB_SANDBOX', 'it does not start')
        calls.push(`try ${some.map(({ offset }) => offset).join(' ')}`)
        const died = some.find(({ offset }) => (left.get(Number(offset)) ?? 0) > 0)
        if (died === undefined) return { converted: sandboxed.convertAll(some, 0) }
        left.set(Number(died.offset), left.get(Number(died.offset))! - 1)
        return { died: { offset: died.offset, how: 'was ended by a test' } }
      },
    },
  }
  const conversion = new CarefulConversion(
    ports,
    makeConverter(() => here++),
    0,
    { deaths: 0, suspects: new Map(), ...record },
  )
  const convert = async (some: readonly EventRecord[]) => {
    const made = await conversion.convertAll(some, new AbortController().signal)
    return made!.map(({ lines }) => (lines[0]!.section === 1 ? (JSON.parse(lines[0]!.text) as DeadLine).error : lines[0]!.text))
  }
  return { conversion, convert, calls, deaths, here: () => here, fail: (times: number) => (troubles = times) }
}

it('converts here, and asks nobody, while owners live', async () => {
  for (const deaths of [0, 1]) {
    const { convert, calls, here } = worldOf({ deaths })
    expect(await convert(records(3))).toEqual(['0', '1', '2'])
    expect([calls, here()]).toEqual([[], 3])
  }
})

it('after two deaths the event that kills is found among many, buried with how, and the others keep their order', async () => {
  const { convert, calls, here, deaths } = worldOf({ deaths: 2 }, new Map([[70, Infinity]]))
  const made = await convert(records(100))
  expect(made.map((text, offset) => text === `${offset}`).indexOf(false)).toBe(70)
  expect(made[70]).toContain('was ended by a test')
  expect(made.filter((text, offset) => text !== `${offset}`)).toHaveLength(1)
  expect(here()).toBe(0)
  expect(deaths.get(70n)).toBe(buryDeaths)
  expect(calls.filter((call) => call.startsWith('suspect'))).toHaveLength(buryDeaths)
  expect(Math.max(...calls.map((call) => call.split(' ').length - 1))).toBe(sandboxEventsMax)
})

it('an event at which the sandbox died by chance is acquitted', async () => {
  const { convert, calls, deaths } = worldOf({ deaths: 2 }, new Map([[1, 1]]))
  expect(await convert(records(3))).toEqual(['0', '1', '2'])
  expect(calls).toEqual(['try 0 1 2', 'suspect 1', 'try 0 1 2', 'acquit 1'])
  expect(deaths.size).toBe(0)
})

it('what is known to kill is not converted again, by no owner and in no state', async () => {
  const { convert, calls, here, conversion } = worldOf({ deaths: 0, suspects: new Map([[1n, buryDeaths]]) })
  expect((await convert(records(3)))[1]).toContain('ends its process')
  expect(calls).toEqual(['try 0 2'])
  for (let from = 3; conversion.isCareful; from += 1000) await convert(records(1000, from))
  expect((await convert(records(3)))[1]).toContain('ends its process')
  expect(here()).toBe(2)
})

it('after ten thousand events without a death the others are trusted again', async () => {
  const { convert, conversion, here } = worldOf({ deaths: 2 })
  await convert(records(9_999))
  expect(conversion.isCareful).toBe(true)
  await convert(records(1, 9_999))
  expect(conversion.isCareful).toBe(false)
  await convert(records(5, 10_000))
  expect(here()).toBe(5)
})

it('where careful owners died too, each event is counted before it is tried', async () => {
  const { convert, calls } = worldOf({ deaths: waryDeaths })
  await convert(records(2))
  expect(calls).toEqual(['suspect 0', 'try 0', 'acquit 0', 'suspect 1', 'try 1', 'acquit 1'])
  // The node itself died at offset 1 three times, each time before it could say so.
  const after = worldOf({ deaths: waryDeaths, suspects: new Map([[1n, buryDeaths]]) })
  expect((await after.convert(records(2)))[1]).toContain('ends its process')
  // Twice is not enough: an operator may have done it.
  const twice = worldOf({ deaths: waryDeaths, suspects: new Map([[1n, buryDeaths - 1]]) })
  expect(await twice.convert(records(2))).toEqual(['0', '1'])
})

it('a sandbox that does not start is waited for, and blames no event', async () => {
  const { convert, calls, fail } = worldOf({ deaths: 2 })
  fail(2)
  expect(await convert(records(2))).toEqual(['0', '1'])
  expect(calls).toEqual(['try 0 1'])
})
