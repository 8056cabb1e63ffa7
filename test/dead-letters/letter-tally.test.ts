import { describe, expect, it } from 'vitest'
import { lettersText } from '../../src/dead-letters/letter-tally.ts'
import { watchedNode } from '../support/watched-node.ts'

function lines(node: ReturnType<typeof watchedNode>, wanted: string): string[] {
  return node.told().flatMap(({ level, msg }) => (level === wanted ? [msg] : []))
}

/** Every tenth event cannot be read; every tenth, others, cannot be converted. */
const somePoison = {
  decode: (value: Buffer) => {
    const text = String(value)
    if (text.endsWith('5')) throw new Error(`${text} is no JSON`)
    return text
  },
  convert: (event: unknown) => {
    if (String(event).endsWith('7')) throw new Error(`no price in ${String(event)}`)
    return event
  },
}

describe('dead letters are heard of', () => {
  it('once a minute for each task and for whole events, with the count and the first error', async () => {
    const node = watchedNode(somePoison)
    await node.feed(150_000, 500)
    const warnings = lines(node, 'warn')
    expect(warnings.filter((line) => line.startsWith('task store: '))).toHaveLength(3)
    expect(warnings.filter((line) => / whole events? became /.test(line))).toHaveLength(3)
    expect(warnings).toHaveLength(6)
    expect(warnings[0]).toBe(
      '1 whole event became a dead letter; the first, offset 5 of partition 0: event 5 is no JSON; forebay dead-letters list shows them',
    )
    expect(warnings[2]).toMatch(/^12 whole events became dead letters; the first, offset 15 of partition 0: event 15 is no JSON; /)
    const { deadLetters, misfits, isReady, counters } = node.status()
    expect(deadLetters).toMatchObject([
      { task: null, count: 30, firstAt: '0/5', firstError: 'event 5 is no JSON' },
      { task: 'store', count: 30, firstAt: '0/7', firstError: 'no price in event 7' },
    ])
    expect([counters.deadEvents, counters.deadLetters, misfits, isReady]).toEqual([30, 30, [], true])
    expect(await node.metrics.text()).toMatch(
      /forebay_dead_letters_total\{label="store"\} 30[\s\S]*forebay_dead_events_total\{label=""\} 30/,
    )
    expect(lettersText(deadLetters)).toBe('30 of whole events, 30 of task store; the first, 0/5: event 5 is no JSON')
    await node.stop()
  })

  it('a schema that fits no event is said in the first five seconds, once, whatever the cadence', async () => {
    const decode = () => {
      throw new Error('"price" must be a number')
    }
    const node = watchedNode({ everyMs: 60_000, decode })
    await node.feed(5000)
    const expected =
      /^not one of the first \d+ events could be read by the pipeline, so all become dead letters: "price" must be a number; correct the schema/
    expect(lines(node, 'error')).toEqual([expect.stringMatching(expected)])
    expect(node.status().misfits).toEqual([expect.stringMatching(expected)])
    await node.feed(100_000, 1000)
    expect(lines(node, 'error')).toHaveLength(1)
    await node.stop()
  })

  it('a convert that fits no event is said of its task, and ends when one is taken', async () => {
    let isMended = false
    const convert = (event: unknown) => {
      if (!isMended) throw new Error('event.price is undefined')
      return event
    }
    const node = watchedNode({ convert })
    await node.feed(5000)
    expect(node.status().misfits).toEqual([expect.stringMatching(/could be converted by task store.*event\.price is undefined/)])
    isMended = true
    await node.feed(2000)
    expect(node.status().misfits).toEqual([])
    await node.stop()
  })

  it('one bad event among good ones, or at the start of a sparse topic, is no such thing', async () => {
    const sparse = watchedNode({ decode: () => JSON.parse('{') as unknown })
    await sparse.feed(5000, 5000)
    expect([lines(sparse, 'error'), sparse.status().misfits]).toEqual([[], []])
    expect(lines(sparse, 'warn')).toHaveLength(1)
    await sparse.stop()
  })
})
