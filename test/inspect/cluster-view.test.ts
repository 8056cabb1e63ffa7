import { expect, it } from 'vitest'
import { clusterText } from '../../src/inspect/cluster-text.ts'
import { clusterView } from '../../src/inspect/cluster-view.ts'
import type { ClusterFacts } from '../../src/inspect/cluster-view.ts'
import { nodeStatus } from '../node/node-status.ts'

const node = {
  id: 'node-1',
  url: 'http://h:1',
  pid: 7,
  status: nodeStatus(),
  silence: null,
  isSuspended: false,
  isBeating: true,
  epoch: 1,
} as const
const facts = (change: Partial<ClusterFacts> = {}): ClusterFacts => ({
  nowMs: 10_000,
  pipeline: 'stock-ticks',
  topic: 'trades',
  ledger: { away: 'Postgres did not answer' },
  ranges: { found: new Map([[2, { startOffset: 10n, endOffset: 101n }]]) },
  oldestMs: new Map([[2, 4000]]),
  grid: null,
  nodes: [node],
  ...change,
})

it('puts owner, lag, windows and tasks of all nodes together, with what is away', () => {
  const view = clusterView(facts())
  expect(view).toMatchObject({
    isWell: false,
    epoch: 1,
    lag: { events: 12, jobs: 11, bytes: 990, ms: 6000 },
    partitions: [
      { partition: 2, owner: 'node-1', floor: '88', lagEvents: 12, lagMs: 6000, spareOffsets: 79, haltedReason: 'retention passed' },
    ],
    queues: [{ queue: '2/0', owner: 'node-1', reader: 'node-1', windowSegments: 16, jobs: 11, bytes: 990, oldestMs: 0 }],
    tasks: [{ task: 'storeTrade', rows: 88, jobsWaiting: 11, tickSlipP99Ms: 1, flushP99Ms: 4, blockedReason: 'table trades is missing' }],
  })
  expect(view.troubles).toEqual(['Postgres did not answer'])
  const text = clusterText(view, (_, words) => words)
  expect(text).toMatch(
    /not well {2}12 events behind, the oldest for 6\.0 s[\s\S]*2\/0 +node-1 +node-1 +16\/64[\s\S]*blocked: table trades is missing/,
  )
})

it('sums rows and takes the worst of cadence over nodes, and names partitions nobody owns and nodes that are gone', () => {
  const other = {
    ...nodeStatus(),
    node: 'node-2',
    partitions: [],
    queues: [],
    tasks: nodeStatus().tasks.map((row) => ({ ...row, rows: 12, flushP99Ms: 9 })),
  }
  const gone = { ...node, id: 'node-3', url: 'http://h:3', status: null, silence: 'refused' } as const
  const ranges = new Map([2, 3].map((partition) => [partition, { startOffset: 0n, endOffset: 101n }]))
  const view = clusterView(facts({ nodes: [node, { ...node, id: 'node-2', status: other }, gone], ranges: { found: ranges } }))
  expect(view.tasks).toMatchObject([{ rows: 100, flushP99Ms: 9 }])
  expect(view.troubles).toEqual(['Postgres did not answer', 'no status from http://h:3: is the node running?', 'partition 3 has no owner'])
  expect(view.lag.events).toBeNull()
})

it('shows open dead letters, what is slow at nodes, and that no event fits', () => {
  const trouble = { kind: 'append', form: 'late', sinceMs: 0, places: ['p2.q0'], placesCount: 1, code: null, reason: 'late' } as const
  const troubles = [{ ...trouble, sentence: 'the last call took 2.0 s', standsStill: false }]
  const status = { ...nodeStatus(), nowMs: 9000, troubles, misfits: ['not one of the first 7 events fits'] }
  const openLetters = [{ task: 'storeTrade', count: 4, firstAt: '2/7', firstError: 'no price' }]
  const ledger = {
    ...{ deployment: 'd', nowMs: 0, epoch: null, partitions: new Map(), sessions: [], present: [], cut: null },
    openLetters,
  }
  const view = clusterView(facts({ ledger: { found: ledger }, nodes: [{ ...node, status }] }))
  expect(view.deadLetters).toEqual(openLetters)
  expect(view.troubles).toEqual([
    'node-1: not one of the first 7 events fits',
    'node-1: appending to the rings of the grid has been slow for 9.0 s (p2.q0): the last call took 2.0 s',
  ])
  expect(clusterText(view, (_, words) => words)).toContain('dead letters open: 4 of task storeTrade; the first, 2/7: no price')
})
