import type { Cause } from '../../src/status/verdict.ts'
import { describe, expect, it } from 'vitest'
import { explain } from '../../src/inspect/explain.ts'
import { explanationText } from '../../src/inspect/explanation-text.ts'
import type { EventFacts, ExplainFacts, LedgerFacts, LetterFacts, NodeFacts, SessionFacts } from '../../src/inspect/facts.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import type { TroubleKind } from '../../src/troubles.ts'
import { nodeStatus } from '../node/node-status.ts'

const nowMs = 100_000
const fingerprint = { queues: 1, hash: 'h', segmentBytesMax: 131_072, eventBytesMax: 1_000_000, tasks: ['storeTrade'], version: '1' }

/** Partition 2: floor 88, event 90 of queue 0 waits for task storeTrade at node-1, which owns and reads everything. */
function facts(change: Partial<ExplainFacts> = {}): ExplainFacts {
  return {
    nowMs,
    pipeline: 'stock-ticks',
    topic: 'trades',
    partition: 2,
    asked: null,
    askedEvent: null,
    differences: [],
    ledger: { found: ledger() },
    letters: [],
    range: { found: { startOffset: 0n, endOffset: 101n } },
    pending: { found: event() },
    grid: {
      found: {
        rings: [{ queue: 0, tail: null, holding: { sequence: 7n, lo: 88n, hi: 99n, owner: 'node-1.a.0', repair: 0 } }],
        flags: new Map(),
      },
    },
    nodes: [node(status())],
    ...change,
  }
}

function ledger(change: Partial<LedgerFacts> = {}): LedgerFacts {
  return {
    deployment: 'd',
    nowMs,
    epoch: { epoch: 1, reset: 0, version: '1', fingerprint, openedMs: 0, mark: 'aaaa' },
    partitions: new Map([[2, { floor: 88n, rows: new Map([['storeTrade', [88n]]]) }]]),
    sessions: [],
    present: [],
    cut: null,
    openLetters: [],
    ...change,
  }
}

function event(offset = 90n): EventFacts {
  return { offset, timestampMs: nowMs - 41_000, key: 'SPY', queue: 0, jobs: [{ task: 'storeTrade', jobs: 1, error: null }] }
}

/** A node that is well; `nodeStatus` is one that is not. */
function status(change: Partial<NodeStatus> = {}): NodeStatus {
  const base = nodeStatus()
  return {
    ...base,
    node: 'node-1.a',
    nowMs,
    partitions: base.partitions.map((row) => ({ ...row, haltedReason: null, haltedCode: null })),
    tasks: base.tasks.map((row) => ({ ...row, blockedReason: null })),
    ...change,
  }
}

function task(change: Partial<NodeStatus['tasks'][number]>): NodeStatus {
  return status({ tasks: status().tasks.map((row) => ({ ...row, ...change })) })
}

function node(of: NodeStatus | null, change: Partial<NodeFacts> = {}): NodeFacts {
  return {
    id: 'node-1.a',
    url: 'http://127.0.0.1:1',
    pid: 7,
    status: of,
    silence: null,
    isSuspended: false,
    isBeating: true,
    epoch: 1,
    ...change,
  }
}

function session(change: Partial<SessionFacts>): SessionFacts {
  return {
    pid: 1,
    application: 'forebay node-1',
    user: 'forebay',
    client: null,
    state: 'active',
    waitsFor: null,
    transactionMs: 5000,
    statementMs: 5000,
    query: 'update forebay.watermarks set applied',
    blockedBy: [],
    ...change,
  }
}

const letter: LetterFacts = {
  id: '17',
  offset: 90n,
  queue: 0,
  ordinal: 0,
  task: null,
  error: 'not JSON',
  createdMs: 0,
  attempts: 1,
  resolution: null,
}
const waits = [
  session({ blockedBy: [2], waitsFor: 'Lock: transactionid' }),
  session({ pid: 2, application: 'psql', user: 'anna', state: 'idle in transaction', query: 'select 1 for update' }),
]
const outbox = { queue: 0, sent: '95', isIdle: false, windowSegments: 64, windowSegmentsMax: 64, windowBytes: 9000 }
const fullAt95 = (of: NodeStatus) =>
  ({ ...of, partitions: of.partitions.map((row) => ({ ...row, position: '95', outboxes: [outbox] })) }) satisfies NodeStatus
const troubled = (server: 'database' | 'grid' | 'eventLog') =>
  status({ servers: { database: null, grid: null, eventLog: null, [server]: { sinceMs: nowMs - 9000, sentence: `${server} is away` } } })
const troubledAt = (kind: TroubleKind, place: string) =>
  status({
    troubles: [
      {
        ...{ kind, form: 'hangs', sinceMs: nowMs - 9000, places: [place], placesCount: 1, code: null, reason: 'hangs', standsStill: true },
        sentence: 'the call under way has not come back',
      },
    ],
  })
const stall = { partition: 2, sinceMs: nowMs - 12_000, floor: '88', cause: null, sentence: '', mend: null }
const unsent = status().partitions.map((row) => ({
  ...row,
  position: '99',
  outboxes: row.outboxes.map((of) => ({ ...of, sent: '95', windowSegments: 1 })),
}))
const unread = (of: NodeStatus): NodeStatus => ({
  ...of,
  queues: of.queues.map((row) => ({ ...row, received: '88', pendingJobs: 0, inboxes: {} })),
})
const relation = 'relation "trades" does not exist'

const situations: [string, ExplainFacts, Cause, RegExp][] = [
  [
    'a dead database',
    facts({ ledger: { away: 'refused' }, nodes: [node(troubled('database'))] }),
    'database-away',
    /for 9\.0 s: database is away/,
  ],
  ['a dead database and no node', facts({ ledger: { away: 'refused' }, nodes: [] }), 'database-away', /refused/],
  [
    'a database that only the node does not reach',
    facts({ nodes: [node(troubled('database'))] }),
    'database-away',
    /node-1\.a does not reach/,
  ],
  [
    'a locked row',
    facts({ ledger: { found: ledger({ sessions: waits }) } }),
    'row-locked',
    /process 2 \("psql", user anna; idle in transaction/,
  ],
  [
    'a lock nobody waits for just now',
    facts({ nodes: [node(task({ attempts: 3, lastError: 'x', lastErrorState: '55P03' }))] }),
    'row-locked',
    /3 times so far/,
  ],
  [
    'a missing table',
    facts({ nodes: [node(task({ attempts: 4, failingSinceMs: nowMs - 4000, blockedReason: relation, lastErrorState: '42P01' }))] }),
    'missing-table',
    /storeTrade.*4 attempts.*trades/,
  ],
  [
    'no permission',
    facts({ nodes: [node(task({ blockedReason: 'permission denied', lastErrorState: '42501' }))] }),
    'task-refused',
    /permission denied/,
  ],
  [
    'a poison event',
    facts({ asked: 50n, askedEvent: event(50n), letters: [{ ...letter, offset: 50n }] }),
    'dead-lettered',
    /dead letter 17.*not JSON/,
  ],
  [
    'a poison event above the floor',
    facts({ asked: 90n, askedEvent: { ...event(), jobs: [] }, letters: [letter] }),
    'dead-lettered',
    /whole event/,
  ],
  [
    'a slow statement',
    facts({
      nodes: [node(task({ flushingSinceMs: nowMs - 8000 }))],
      ledger: { found: ledger({ sessions: [session({ query: 'copy trades', waitsFor: 'Timeout: PgSleep' })] }) },
    }),
    'slow-sink',
    /under way for 8\.0 s.*copy trades.*PgSleep/,
  ],
  ['a slow handler', facts({ nodes: [node(task({ flushingSinceMs: nowMs - 8000 }))] }), 'slow-sink', /itself takes the time/],
  [
    'a failing task',
    facts({ nodes: [node(task({ attempts: 2, lastError: 'deadlock', nextTryMs: nowMs + 1500 }))] }),
    'task-failing',
    /deadlock/,
  ],
  [
    'a suspended node',
    facts({ nodes: [node(null, { isSuspended: true, silence: 'silent' })] }),
    'node-suspended',
    /node-1\.a.*process 7 is stopped/,
  ],
  ['a silent node elsewhere', facts({ nodes: [node(null, { isSuspended: null, silence: 'silent' })] }), 'node-silent', /says nothing/],
  ['no node at all', facts({ nodes: [node(null, { isSuspended: null, silence: 'refused' })] }), 'no-node', /nothing listens for node-1\.a/],
  ['a lost grid', facts({ nodes: [node(unread(troubled('grid')))] }), 'grid-lost', /grid is away/],
  [
    'a lost segment',
    facts({ nodes: [node(unread(status()))], grid: { found: { rings: [], flags: new Map([['p2.q0', 'x']]) } } }),
    'repairing',
    /flagged/,
  ],
  [
    'a full queue',
    facts({ asked: 99n, askedEvent: event(99n), nodes: [node(fullAt95(task({ blockedReason: relation, lastErrorState: '42P01' })))] }),
    'queue-full',
    /queue 2\/0 is full \(64 segments/,
  ],
  [
    'another epoch',
    facts({ nodes: [node(status({ epoch: null, reasons: ['queues differ'], tasks: [] }), { epoch: null })] }),
    'wrong-epoch',
    /epoch 1 \(version 1\) is active.*waits: queues differ/,
  ],
  [
    'another epoch by the database',
    facts({ nodes: [], ledger: { found: ledger({ present: [{ node: 'n9', epoch: null, waitsFor: 'queues 3', http: null, ageMs: 1 }] }) } }),
    'wrong-epoch',
    /n9 waits: queues 3/,
  ],
  ['a drain', facts({ ledger: { found: ledger({ cut: { purpose: 'a reset', requestedBy: 'anna' } }) } }), 'draining', /anna drains/],
  [
    'retention',
    facts({ range: { found: { startOffset: 95n, endOffset: 101n } } }),
    'retention-passed',
    /floor is 88.*begins at 95, so 6 offsets are gone/,
  ],
  ['a log cut short', facts({ range: { found: { startOffset: 0n, endOffset: 50n } } }), 'log-truncated', /ends at 50/],
  [
    'a silent event log',
    facts({ asked: 100n, range: { away: 'no broker' }, pending: { away: 'no broker' }, nodes: [node(troubled('eventLog'))] }),
    'event-log-away',
    /eventLog is away/,
  ],
  [
    'an offset behind another',
    facts({ asked: 99n, askedEvent: { ...event(99n), jobs: [] } }),
    'held-behind',
    /makes no jobs and is counted.*offset 90/,
  ],
  ['an offset not yet read', facts({ asked: 100n, askedEvent: event(100n) }), 'catching-up', /at offset 99, 1 before it/],
  [
    'a slow convert',
    facts({ asked: 100n, askedEvent: event(100n), nodes: [node(status({ converting: { share: 0.83, sliceP99Ms: 412 } }))] }),
    'slow-convert',
    /83% of its time goes into the pipeline's decode, key and convert, which took 412 ms for up to 512 events/,
  ],
  [
    'a read that hangs',
    facts({ asked: 100n, askedEvent: event(100n), nodes: [node(troubledAt('fetch', 'partition 2'))] }),
    'event-log-away',
    /node-1\.a: reading events from the log has had no answer for 9\.0 s \(partition 2\)/,
  ],
  [
    'schemas that cannot be fetched',
    facts({ asked: 100n, askedEvent: event(100n), nodes: [node(troubledAt('schemas', 'partition 2'))] }),
    'registry-away',
    /node-1\.a: fetching schemas of events from the schema registry has had no answer for 9\.0 s \(partition 2\)/,
  ],
  [
    'an append that hangs',
    facts({ asked: 99n, askedEvent: event(99n), nodes: [node({ ...fullAt95(troubledAt('append', 'p2.q0')), partitions: unsent })] }),
    'grid-lost',
    /appending to the rings of the grid has had no answer/,
  ],
  [
    'a ring that is not read',
    facts({ nodes: [node(unread(troubledAt('ring-read', 'p2.q0')))] }),
    'grid-lost',
    /reading the rings of the grid/,
  ],
  [
    'a floor that cannot be raised',
    facts({ pending: { found: null }, nodes: [node(troubledAt('settle', 'partition 2'))] }),
    'database-away',
    /raising the floor has had no answer/,
  ],
  [
    'a floor that stands although nothing fails',
    facts({ asked: 100n, askedEvent: event(100n), nodes: [node(status({ stalls: [stall] }))] }),
    'stalled',
    /nothing has moved for 12 s, although no call fails: node-1\.a has not read it yet/,
  ],
  ['an offset not yet published', facts({ asked: 500n }), 'no-such-event', /next event gets 101/],
  ['a committed offset', facts({ asked: 12n, askedEvent: event(12n) }), 'committed', /floor of the partition is 88/],
  [
    'nothing behind',
    facts({ pending: { found: null }, range: { found: { startOffset: 0n, endOffset: 89n } } }),
    'committed',
    /end of the log/,
  ],
  [
    'a pipeline never started',
    facts({ nodes: [], ledger: { found: ledger({ epoch: null, partitions: new Map() }) } }),
    'never-started',
    /never been started/,
  ],
  ['a job that waits for its tick', facts(), 'in-flight', /next flush of task storeTrade/],
]

describe('explain', () => {
  it.each(situations)('names the culprit: %s', (_, given, cause, sentence) => {
    const explanation = explain(given)
    expect([explanation.cause, explanation.sentence]).toEqual([cause, expect.stringMatching(sentence)])
    expect(explanation.next).not.toBe('')
    expect(() => JSON.stringify(explanation)).not.toThrow()
  })

  it('tells job, queue, segment, owner, reader, age and floor', () => {
    expect(explain(facts())).toMatchObject({
      offset: '90',
      isCommitted: false,
      floor: '88',
      lagEvents: 12,
      queue: '2/0',
      segment: { lo: '88', hi: '99', sequence: '7' },
      task: 'storeTrade',
      job: { offset: '90', ordinal: 0 },
      ageMs: 41_000,
      owner: 'node-1.a',
      reader: 'node-1.a',
    })
  })

  it('says what is behind a full queue and behind an offset that waits for another', () => {
    const blocked = fullAt95(task({ blockedReason: relation, lastErrorState: '42P01' }))
    expect(explain(facts({ asked: 99n, askedEvent: event(99n), nodes: [node(blocked)] })).because?.cause).toBe('missing-table')
    const behind = facts({
      asked: 99n,
      askedEvent: { ...event(99n), jobs: [] },
      nodes: [node(task({ blockedReason: relation, lastErrorState: '42P01' }))],
    })
    expect(explain(behind).because?.cause).toBe('missing-table')
  })

  it('takes a node that commits for a proof that the database runs', () => {
    const away = { away: 'this machine has no way there' }
    const explanation = explain(facts({ ledger: away, nodes: [node(status({ lastRowAtMs: nowMs - 100 }))] }))
    expect(explanation.cause).not.toBe('database-away')
    expect(explanation.unseen.join()).toContain('this machine has no way there')
  })

  it('names the suspended node that holds a lock', () => {
    const held = [waits[0]!, session({ pid: 2, application: 'forebay node-2', state: 'idle in transaction' })]
    const suspended = node(null, { id: 'node-2.b', pid: 9, isSuspended: true })
    const given = facts({ ledger: { found: ledger({ sessions: held }) }, nodes: [node(status()), suspended] })
    expect(explain(given)).toMatchObject({ cause: 'row-locked', mend: expect.stringContaining('node-2.b is suspended') })
  })

  it('notes other nodes in trouble and a configuration of another epoch', () => {
    const given = facts({ differences: ['queues: 1 and 3'], nodes: [node(status()), node(null, { id: 'node-2.b', isSuspended: true })] })
    expect(explain(given).notes.join('\n')).toMatch(/node-2\.b is suspended[\s\S]*queues: 1 and 3/)
  })

  it('reads as text', () => {
    const text = explanationText(explain(facts({ ledger: { found: ledger({ sessions: waits }) } })), (_, words) => words)
    expect(text).toMatch(/^trades\/2@90 {2}not committed for 41 s {2}row-locked\n {2}why {7}forebay node-1 has waited 5\.0 s/)
    expect(text).toContain('queue     trades/2/0, segment (88, 99] at sequence 7, written by node-1.a, read by node-1.a')
  })
})
