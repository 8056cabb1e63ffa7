import { counterNames, type CounterName } from '../../src/observer.ts'
import { Histogram } from '../../src/status/histogram.ts'
import type { NodeStatus, PartitionStatus } from '../../src/status/status.ts'

/** A status with something in every part; its partitions may be changed. */
export function nodeStatus(): NodeStatus & { partitions: PartitionStatus[] } {
  return {
    node: 'node-1',
    version: '0.1.0',
    pipeline: 'stock-ticks',
    epoch: 1,
    scope: 'd.stock-ticks.trades.e1',
    pid: 1,
    nowMs: 1000,
    startedAtMs: 0,
    firstEventAtMs: null,
    lastRowAtMs: null,
    isReady: true,
    reasons: [],
    members: [{ node: 'node-1', isSelf: true, http: null }],
    servers: { database: null, grid: null, eventLog: null },
    troubles: [],
    stalls: [],
    deadLetters: [],
    misfits: [],
    partitions: [
      {
        partition: 2,
        floor: '88',
        position: '99',
        endOffset: '101',
        lagEvents: 12,
        retentionLeftMs: null,
        haltedReason: 'retention passed',
        haltedCode: 'FB_RETENTION_PASSED',
        outboxes: [{ queue: 0, sent: '99', isIdle: true, windowSegments: 16, windowSegmentsMax: 64, windowBytes: 2048 }],
      },
    ],
    queues: [
      {
        partition: 2,
        queue: 0,
        received: '99',
        applied: { storeTrade: '88' },
        pendingJobs: 11,
        windowUsed: 0.25,
        inboxes: { storeTrade: { jobs: 11, bytes: 990, intervals: 2, oldestMs: 1000, oldestOffset: '89' } },
      },
    ],
    tasks: [
      {
        task: 'storeTrade',
        everyMs: 15,
        rows: 88,
        tickSlipP99Ms: 1,
        flushP99Ms: 4,
        lastError: null,
        lastErrorCode: null,
        lastErrorState: null,
        attempts: 0,
        failingSinceMs: null,
        flushingSinceMs: null,
        nextTryMs: null,
        blockedReason: 'table trades is missing',
      },
    ],
    channels: [{ channel: 'prices', keys: 3, clients: 1, dropped: 0 }],
    cron: [
      {
        task: 'closeDay',
        expression: '0 30 16 * * 1-5',
        timezone: 'America/New_York',
        nextAtMs: 86_400_000,
        trouble: null,
        runs: [
          {
            task: 'closeDay',
            scheduledMs: 0,
            outcome: 'failed',
            attempts: 5,
            node: 'node-1',
            startedMs: 1000,
            endedMs: 2000,
            error: 'the day is not over',
          },
        ],
      },
    ],
    counters: Object.fromEntries(Object.keys(counterNames).map((name) => [name, 0])) as Record<CounterName, number>,
    latency: { storeTrade: new Histogram().toJSON() },
    memory: { rssBytes: 1048576, heapUsedBytes: 1048576, externalBytes: 0 },
    eventLoop: { delayP99Ms: 1, delayMaxMs: 2 },
    converting: { share: 0, sliceP99Ms: null },
  }
}
