import { describe, expect, it } from 'vitest'
import type { DatabaseFacts } from '../../src/doctor/check-database.ts'
import { judgeDatabase } from '../../src/doctor/check-database.ts'
import { judgeFutureEvents, readFutureEvents } from '../../src/doctor/check-event-log.ts'
import { judgeMembers } from '../../src/doctor/check-grid.ts'
import { judgeLetters, judgeNodes, judgeTopic } from '../../src/doctor/check-nodes.ts'
import { judgeVersions } from '../../src/doctor/check-versions.ts'
import type { Finding } from '../../src/doctor/finding.ts'
import type { EventLog } from '../../src/events/event-log.ts'
import type { NodeFacts } from '../../src/inspect/facts.ts'
import type { NodeStatus } from '../../src/status/status.ts'
import { nodeStatus } from '../node/node-status.ts'

const well: DatabaseFacts = {
  versionNumber: 180_004,
  settings: {
    fsync: 'on',
    full_page_writes: 'on',
    synchronous_commit: 'on',
    max_connections: '100',
    superuser_reserved_connections: '3',
    autovacuum: 'on',
  },
  connections: 10,
  isStandby: false,
  hasSchema: true,
  missingGrants: [],
  tables: [{ table: 'trades', problem: null }],
  hotTables: [{ table: 'floors', liveRows: 4, deadRows: 100, bytes: 8192 }],
  idleInTransactionMs: 0,
  statementTimeout: null,
  skewMs: 3,
  roundTripMs: 1,
}
const settings = {
  database: {
    url: '',
    poolMax: 8,
    statementTimeoutMs: 30_000,
    lockTimeoutMs: 1,
    synchronousCommit: 'on' as const,
    resolvedLettersKeptMs: 3_600_000,
  },
}
const judged = (change: Partial<DatabaseFacts>, nodes = 3) => notOk(judgeDatabase({ ...well, ...change }, settings, nodes))
const notOk = (findings: readonly Finding[]) => findings.filter(({ severity }) => severity !== 'ok')
const withSetting = (name: string, value: string) => ({ settings: { ...well.settings, [name]: value } })

/** A log of the times of its events, by partition and offset. */
function logOf(partitions: readonly (readonly number[])[]): EventLog {
  const log: Pick<EventLog, 'range' | 'offsetAt' | 'eventAt'> = {
    range: (partition) => Promise.resolve({ startOffset: 0n, endOffset: BigInt(partitions[partition]!.length) }),
    offsetAt: (partition, timestampMs) => {
      const times = partitions[partition]!
      const found = times.findIndex((time) => time >= timestampMs)
      return Promise.resolve(BigInt(found < 0 ? times.length : found))
    },
    eventAt: (partition, offset) =>
      Promise.resolve({ offset, timestampMs: partitions[partition]![Number(offset)]!, key: null, value: null }),
  }
  return log as EventLog
}

describe('forebay doctor', () => {
  it('finds nothing wrong with a database that is well', () => {
    expect(judged({})).toEqual([])
    expect(judgeDatabase(well, settings, 3).length).toBeGreaterThan(4)
  })

  it.each<[string, Partial<DatabaseFacts>, 'warn' | 'error']>([
    ['fsync is off', withSetting('fsync', 'off'), 'error'],
    ['full_page_writes is off', withSetting('full_page_writes', 'off'), 'error'],
    ['autovacuum is off', withSetting('autovacuum', 'off'), 'error'],
    ['synchronous_commit is off at the server', withSetting('synchronous_commit', 'off'), 'warn'],
    ['3 nodes use up to 24 of 22 connections', withSetting('max_connections', '25'), 'error'],
    ['PostgreSQL 12.1', { versionNumber: 120_001 }, 'error'],
    ['it is a standby', { isStandby: true }, 'error'],
    ['may not use the schema forebay', { missingGrants: ['grant usage on schema forebay to "app"'] }, 'error'],
    ['there is no schema forebay', { hasSchema: false, missingGrants: ['grant create on database "shop" to "app"'] }, 'error'],
    ['Table trades does not exist', { tables: [{ table: 'trades', problem: 'Table trades does not exist; create it.' }] }, 'error'],
    ['its clock is 5.0 s behind', { skewMs: -5000 }, 'warn'],
    ['a round trip takes 90 ms', { roundTripMs: 90 }, 'warn'],
    ['statement_timeout is set to 5s', { statementTimeout: '5s' }, 'warn'],
    ['forebay.floors takes 128MiB', { hotTables: [{ table: 'floors', liveRows: 4, deadRows: 1e6, bytes: 2 ** 27 }] }, 'warn'],
    ['a transaction has been idle for 2 min', { idleInTransactionMs: 120_000 }, 'warn'],
  ])('says of the database: %s', (what, change, severity) => {
    expect(judged(change)).toEqual([expect.objectContaining({ severity, what: expect.stringContaining(what) })])
    for (const { consequence, mend } of judged(change)) expect([consequence, mend]).not.toContain(null)
  })

  it('tells one member that is away from a grid that is', () => {
    const up = { isListening: true, clusterSize: 2, isSafe: true }
    const down = { isListening: false, clusterSize: null, isSafe: null }
    const of = (...members: (typeof up | typeof down)[]) =>
      notOk(judgeMembers(members.map((health, n) => ({ member: `m${n}:1`, ...health }))))
    expect(of(up, up)).toEqual([])
    expect(of(up, down)).toMatchObject([{ severity: 'warn', what: 'no member listens at m1:1' }])
    expect(of(down, down)).toMatchObject([{ severity: 'error', what: 'no member of the grid answers (m0:1, m1:1)' }])
    expect(of({ ...up, clusterSize: 1 }, up)).toMatchObject([{ severity: 'warn', what: expect.stringContaining('in a cluster of 1') }])
  })

  it('names members that are too old, or of several versions', () => {
    const of = (...versions: string[]) => judgeVersions(new Map(versions.map((version, n) => [`m${n}:1`, version])))
    expect(of('5.7.0', '5.7.0')).toMatchObject([{ severity: 'ok', what: 'Hazelcast 5.7.0 on every member' }])
    expect(of('5.3.8')).toMatchObject([{ severity: 'ok' }])
    expect(of('6.0.0')).toMatchObject([{ severity: 'ok' }])
    expect(of('5.2.5')).toMatchObject([{ severity: 'error', what: 'Hazelcast 5.2.5 at m0:1' }])
    expect(of('5.7.0', '5.6.1')).toMatchObject([{ severity: 'warn', what: expect.stringContaining('5.7.0 at m0:1, 5.6.1 at m1:1') }])
    expect(of('4.2.0', '5.7.0').map(({ severity }) => severity)).toEqual(['error', 'warn'])
    expect(of()).toEqual([])
  })

  it('names the event that is furthest in the future, and none where all times have come', async () => {
    const nowMs = 100_000
    const find = async (...partitions: number[][]) =>
      judgeFutureEvents('t', await readFutureEvents(logOf(partitions), partitions.length, nowMs))
    expect(await find([1, 2, nowMs + 2000 - 1], [])).toMatchObject([{ severity: 'ok' }])
    expect(await find([1, 2], [1, nowMs + 5000, 3])).toMatchObject([
      { severity: 'warn', what: 'the event t/1@1 is 5.0 s in the future by the clock here' },
    ])
    const [both] = await find([nowMs + 3000], [1], [nowMs + 600_000])
    expect(both!.what).toMatch(/^the event t\/2@0 is 10 min .* \(2 partitions have such events\)$/)
    expect(judgeFutureEvents('t', [{ partition: 0, offset: 7n, aheadMs: null }])[0]!.what).toContain('t/0@7 is 2.0 s')
  })

  it('judges nodes, their clocks and a configuration of another epoch', () => {
    const status = { ...nodeStatus(), nowMs: 10_000 }
    const node = { id: 'n.1', url: 'http://h', pid: 7, status, silence: null, isSuspended: false, isBeating: true, epoch: 1 }
    expect(notOk(judgeNodes([node], [], 10_500))).toEqual([])
    expect(notOk(judgeNodes([node], ['queues'], 20_000)).map(({ what }) => what)).toEqual([
      'the clock of n.1 is 10 s off',
      'it is not that of the active epoch: queues',
    ])
    expect(judgeNodes([{ ...node, status: null, isSuspended: true }], [], 0)).toMatchObject([{ severity: 'error', mend: 'kill -CONT 7' }])
  })

  it('says which dead letters are open, which calls do not get through, and that no event fits', () => {
    expect(judgeLetters([])).toMatchObject([{ severity: 'ok' }])
    const open = [{ task: null, count: 3, firstAt: '0/5', firstError: 'no JSON' }]
    expect(judgeLetters(open)).toMatchObject([
      {
        area: 'dead letters',
        severity: 'warn',
        what: 'open: 3 of whole events; the first, 0/5: no JSON',
        mend: expect.stringContaining('redrive'),
      },
    ])
    const of = (change: Partial<NodeStatus>): NodeFacts => ({
      ...{ id: 'n.1', url: 'http://h:1', pid: 7, silence: null, isSuspended: false, isBeating: true, epoch: 1 },
      status: { ...nodeStatus(), nowMs: 10_000, ...change },
    })
    const trouble = { kind: 'commit', form: 'fails', sinceMs: 1000, places: ['floors'], placesCount: 1, sentence: 'not allowed' } as const
    const troubles = [{ ...trouble, code: null, reason: 'x', standsStill: false }]
    expect(judgeNodes([of({ troubles })], [], 10_000)).toMatchObject([
      { severity: 'warn', what: 'n.1: committing floors for lag tools has failed for 9.0 s (floors): not allowed' },
    ])
    expect(judgeNodes([of({ misfits: ['not one fits'] })], [], 10_000)).toMatchObject([{ severity: 'error', what: 'n.1: not one fits' }])
  })

  it('says what a topic lacks', () => {
    expect(judgeTopic('t', null, [])).toMatchObject([{ severity: 'error', mend: 'forebay topics apply' }])
    const found = {
      partitions: 4,
      replication: 1,
      minInsyncReplicas: 1,
      cleanupPolicy: 'delete',
      retentionMs: 1,
      retentionBytes: null,
      retentionEvents: null,
    }
    expect(judgeTopic('t', found, [])).toMatchObject([{ severity: 'warn', what: 'topic t has one replica' }])
    expect(judgeTopic('t', { ...found, replication: 3 }, [])).toMatchObject([{ severity: 'ok' }])
  })
})
