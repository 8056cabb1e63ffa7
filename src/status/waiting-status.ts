import type { CronTaskStatus } from '../cron/cron-schedule.ts'
import type { NodeMetrics } from './metrics.ts'
import type { NodeStatus } from './status.ts'
import type { TroubleStatus } from './trouble-status.ts'

export interface WaitingSources {
  readonly id: string
  readonly version: string
  readonly pipeline: string
  readonly startedAtMs: number
  readonly metrics: NodeMetrics
  readonly cron: () => readonly CronTaskStatus[]
  readonly troubles: () => readonly TroubleStatus[]
  readonly nowMs: number
  /** What the node waits for, in a sentence. */
  readonly waitsFor: string
}

/** What `GET /status` answers from a node that waits for an epoch: it owns nothing. */
export function waitingStatus({
  id,
  version,
  pipeline,
  startedAtMs,
  metrics,
  cron,
  waitsFor,
  troubles,
  nowMs,
}: WaitingSources): NodeStatus {
  return {
    node: id,
    version,
    pipeline,
    epoch: null,
    scope: '',
    pid: process.pid,
    nowMs,
    startedAtMs,
    ...metrics.activity(),
    isReady: false,
    reasons: [waitsFor],
    servers: { database: null, grid: null, eventLog: null },
    troubles: troubles(),
    stalls: [],
    deadLetters: [],
    misfits: [],
    members: [],
    partitions: [],
    queues: [],
    tasks: [],
    channels: [],
    cron: cron(),
    counters: metrics.counters(),
    latency: metrics.latency(),
    memory: metrics.memory(),
    eventLoop: metrics.eventLoop(),
    converting: metrics.converting(),
  }
}
