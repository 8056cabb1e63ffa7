import { describe, expect, it } from 'vitest'
import { ForebayError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { ringName } from '../../src/grid/queue-name.ts'
import type { Call, Fault } from '../support/memory-ports.ts'
import { scope, watchedNode } from '../support/watched-node.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'

type Mode = 'hangs' | 'errors' | 'empty' | 'late'

const lateMs = 4000

function faultOf(mode: Mode, clock: VirtualClock, code: ErrorCode): Fault {
  if (mode === 'hangs') return () => new Promise(() => undefined)
  if (mode === 'errors') return () => Promise.reject(new ForebayError(code, `it is broken (${code})`))
  if (mode === 'empty') return (_, empty) => empty()
  return async (call) => {
    await clock.sleep(lateMs)
    return call()
  }
}

interface Port {
  readonly calls: readonly Call[]
  readonly code: ErrorCode
  /** Begins what the node says of it while it fails, hangs or is late. */
  readonly trouble: RegExp
  /** What it says when answers are empty. */
  readonly empty: RegExp
}

const ports: Record<string, Port> = {
  'log fetch': {
    calls: ['poll'],
    code: 'FB_EVENT_LOG_UNREACHABLE',
    trouble: /^reading events from the log has/,
    empty: /partition 0 has.*nothing has moved for 1\d s.*has not read it yet.*come back without events/,
  },
  'log end': {
    calls: ['range'],
    code: 'FB_EVENT_LOG_UNREACHABLE',
    trouble: /^asking the log for its ends has/,
    empty: /the log ends at 0, before the floor/,
  },
  'ring append': {
    calls: ['append'],
    code: 'FB_GRID_UNREACHABLE',
    trouble: /^appending to the rings of the grid has/,
    empty: /nothing has moved for 1\d s.*the grid has lost its segment/,
  },
  'ring read': {
    calls: ['read'],
    code: 'FB_GRID_UNREACHABLE',
    trouble: /^reading the rings of the grid has/,
    empty: /nothing has moved for 1\d s.*is about to read it/,
  },
  settle: {
    calls: ['settle'],
    code: 'FB_DATABASE_UNREACHABLE',
    trouble: /^raising the floor has/,
    empty: /nothing has moved for 1\d s.*all its jobs are applied/,
  },
  flush: {
    calls: ['flush'],
    code: 'FB_DATABASE_UNREACHABLE',
    trouble: /^flushing into the database has/,
    empty: /nothing has moved for 1\d s/,
  },
  flags: {
    calls: ['flags'],
    code: 'FB_GRID_UNREACHABLE',
    trouble: /^looking for flags in the grid has/,
    // Without a loss nobody needs a flag.
    empty: /^$/,
  },
  membership: {
    calls: ['nodes'],
    code: 'FB_GRID_UNREACHABLE',
    trouble: /^telling the other nodes through the grid that this one lives has/,
    empty: /^the grid does not keep what this node tells of itself/,
  },
}

const kinds = Object.entries(ports).flatMap(([name, port]) =>
  (['hangs', 'errors', 'empty', 'late'] as const)
    .filter((mode) => mode !== 'empty' || port.empty.source !== '^$')
    .map((mode) => [`${name} ${mode}`, port, mode] as const),
)

async function healthy() {
  const node = watchedNode()
  await node.feed(5000)
  expect(node.status()).toMatchObject({ isReady: true, reasons: [], troubles: [], stalls: [] })
  return node
}

/** What the log says at warn or above. */
function warnings(node: ReturnType<typeof watchedNode>): string[] {
  return node.told().flatMap(({ level, msg }) => (level === 'warn' || level === 'error' ? [msg] : []))
}

describe('a stall is named in the log and in the status', () => {
  it.each(kinds)('%s', async (_, { calls, code, trouble, empty }, mode) => {
    const node = await healthy()
    node.faults.set(calls, faultOf(mode, node.clock, code))
    // Ten seconds, and one look.
    await node.feed(mode === 'empty' ? 11_000 : 10_000)
    const expected = mode === 'empty' ? empty : trouble
    const inLog = warnings(node).filter((line) => expected.test(line))
    expect(inLog, warnings(node).join('\n')).toHaveLength(1)
    const { isReady, reasons, troubles } = node.status()
    const told = [...reasons, ...troubles.map(({ kind, form }) => `${kind} ${form}`)]
    if (mode !== 'late') {
      expect(
        reasons.filter((reason) => expected.test(reason) || /has not moved/.test(reason)),
        told.join('\n'),
      ).not.toEqual([])
      expect(isReady).toBe(false)
    } else {
      expect(troubles).toContainEqual(expect.objectContaining({ form: 'late', standsStill: false }))
    }
    expect(node.metrics.total('troubles') + node.metrics.total('stalls')).toBeGreaterThan(0)
    if (mode === 'hangs') return
    node.faults.heal()
    await node.feed(20_000)
    expect(node.status()).toMatchObject({ isReady: true, reasons: [], troubles: [], stalls: [] })
    expect(node.told().some(({ level, msg }) => level === 'info' && / after \d+/.test(msg))).toBe(true)
    await node.stop()
  })
})

const refused =
  (code: ErrorCode, message: string): Fault =>
  () =>
    Promise.reject(new ForebayError(code, message))

describe('what stops only a part is named as well', () => {
  it.each([
    [
      'an unknown codec',
      'poll',
      refused('FB_EVENT_LOG_UNREADABLE', 'offset 17 is in an unknown codec'),
      /^partition 0: offset 17 is in an unknown codec/,
    ],
    [
      'a topic that may not be read',
      'poll',
      refused('FB_EVENT_LOG_REFUSED', 'topic t may not be read'),
      /^partition 0: topic t may not be read/,
    ],
    [
      'a locked row',
      'flush',
      refused('FB_DATABASE_UNREACHABLE', 'no lock in time (SQLSTATE 55P03)'),
      /^flushing into the database has failed.*55P03/,
    ],
    ['a missing table', 'flush', refused('FB_SCHEMA', 'no table store (SQLSTATE 42P01)'), /^task store, table store: no table store/],
    [
      'a full disk',
      'flush',
      refused('FB_DATABASE_FULL', 'No space left on device (SQLSTATE 53100)'),
      /^flushing into the database has failed.*No space left/,
    ],
  ] as const)('%s', async (_, call, fault, sentence) => {
    const node = await healthy()
    node.faults.set([call], fault)
    await node.feed(10_000)
    expect(
      warnings(node).filter((line) => sentence.test(line)),
      warnings(node).join('\n'),
    ).toHaveLength(1)
    const { isReady, reasons } = node.status()
    expect([isReady, reasons.length > 0]).toEqual([false, true])
    node.faults.heal()
    await node.feed(20_000)
    expect(node.status()).toMatchObject({ isReady: true, reasons: [], troubles: [], stalls: [] })
    await node.stop()
  })

  it('a dead member: everything of the grid at once', async () => {
    const node = await healthy()
    node.faults.set(['append', 'read', 'tail', 'flags', 'nodes'], faultOf('errors', node.clock, 'FB_GRID_UNREACHABLE'))
    await node.feed(10_000)
    const lines = warnings(node)
    expect(lines.filter((line) => line.startsWith('appending to the rings'))).toHaveLength(1)
    expect(node.status().isReady).toBe(false)
    node.faults.heal()
    await node.feed(20_000)
    expect(node.status()).toMatchObject({ isReady: true, troubles: [], stalls: [] })
    await node.stop()
  })

  it('a loss that nobody may flag', async () => {
    const node = await healthy()
    node.faults.set(['flags'], faultOf('empty', node.clock, 'FB_GRID_UNREACHABLE'))
    node.faults.set(['read'], faultOf('empty', node.clock, 'FB_GRID_UNREACHABLE'))
    await node.feed(500, 100)
    for (const queue of [0, 1]) node.grid.lose(ringName(scope, { partition: 0, queue }))
    node.faults.set(['read'], (call) => call())
    await node.feed(11_000)
    expect(
      warnings(node).filter((line) => /nothing has moved for 1\d s/.test(line)),
      warnings(node).join('\n'),
    ).toHaveLength(1)
    node.faults.heal()
    await node.feed(20_000)
    expect(node.status()).toMatchObject({ isReady: true, troubles: [], stalls: [] })
    await node.stop()
  })
})

describe('nothing cries wolf', () => {
  it('in a healthy hour', { timeout: 120_000 }, async () => {
    const node = watchedNode({ queues: 1 })
    for (let minute = 0; minute < 60; minute++) {
      // Busy, sparse, and silent ones.
      await node.feed(20_000, 1000)
      await node.feed(20_000, 10_000)
      await node.clock.pass(20_000)
      expect(node.status()).toMatchObject({ isReady: true, troubles: [], stalls: [] })
    }
    expect(warnings(node)).toEqual([])
    expect(node.metrics.total('troubles') + node.metrics.total('stalls')).toBe(0)
    await node.stop()
  })

  it('at a cadence of a minute', async () => {
    const node = watchedNode({ everyMs: 60_000, queues: 1 })
    await node.feed(200_000, 2000)
    expect(warnings(node)).toEqual([])
    expect(node.status()).toMatchObject({ isReady: true, stalls: [] })
    await node.stop()
  })

  it('while a process stood still', async () => {
    const node = await healthy()
    node.clock.jump(120_000)
    await node.feed(5000)
    expect(warnings(node)).toEqual([])
    expect(node.status()).toMatchObject({ isReady: true, troubles: [], stalls: [] })
    await node.stop()
  })

  it('of short failures', async () => {
    const node = await healthy()
    for (const calls of [['poll'], ['append', 'read'], ['settle', 'flush']] as Call[][]) {
      node.faults.set(calls, faultOf('errors', node.clock, 'FB_DATABASE_UNREACHABLE'))
      await node.feed(3000)
      node.faults.heal()
      await node.feed(5000)
    }
    expect(warnings(node)).toEqual([])
    await node.stop()
  })
})
