import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/status/logger.ts'
import { redactSecrets } from '../../src/text/redaction.ts'
import { NodeMetrics } from '../../src/status/metrics.ts'
import { renderStatusText } from '../../src/status/status.ts'
import { SystemClock, type Clock } from '../../src/schedule/clock.ts'
import { nodeStatus } from '../node/node-status.ts'

class FixedClock extends SystemClock implements Clock {
  override wallMs(): number {
    return 1_000_000
  }
}

const open: NodeMetrics[] = []
afterEach(async () => {
  for (const metrics of open.splice(0)) await metrics[Symbol.asyncDispose]()
})

function metricsWith(options: Partial<ConstructorParameters<typeof NodeMetrics>[0]> = {}): NodeMetrics {
  const metrics = new NodeMetrics({ logger: pino({ level: 'silent' }), clock: new FixedClock(), ...options })
  open.push(metrics)
  return metrics
}

describe('NodeMetrics', () => {
  it('tells counters by label and in total', async () => {
    const metrics = metricsWith()
    metrics.count('segmentBytes', 100, '0')
    metrics.count('segmentBytes', 50, '1')
    metrics.count('segmentBytes', 5, '1')
    const text = await metrics.text()
    expect(text).toContain('forebay_segment_bytes_total{label="0"} 100')
    expect(text).toContain('forebay_segment_bytes_total{label="1"} 55')
    expect(metrics.total('segmentBytes')).toBe(155)
    expect(metrics.counters().segmentBytes).toBe(155)
    expect(metrics.counters().gaps).toBe(0)
  })

  it('tells the bytes in buffers by stage, and their bound', async () => {
    const buffers = { fetchedBytes: 20, unsentBytes: 3, unflushedBytes: 400, bytes: 423, bytesMax: 1000 }
    const text = await metricsWith({ status: () => ({ ...nodeStatus(), buffers }) }).text()
    expect(text).toContain('forebay_buffer_bytes{stage="fetched"} 20')
    expect(text).toContain('forebay_buffer_bytes{stage="unsent"} 3')
    expect(text).toContain('forebay_buffer_bytes{stage="unflushed"} 400')
    expect(text).toMatch(/^forebay_buffer_bytes_max 1000$/m)
  })

  it('tells the same counter again on a second look', async () => {
    const metrics = metricsWith()
    metrics.count('events', 7)
    await metrics.text()
    expect(await metrics.text()).toMatch(/^forebay_events_total\{label=""\} 7$/m)
  })

  it('measures the time from the record to the commit', async () => {
    const metrics = metricsWith()
    metrics.committed('storeTrade', 1_000_000 - 20, 3)
    metrics.committed('storeTrade', 1_000_000 - 400, 1)
    const text = await metrics.text()
    expect(metrics.latency()['storeTrade']!.buckets).toEqual([
      [20, 3],
      [400, 1],
    ])
    expect(text).toContain('forebay_commit_latency_seconds_bucket{task="storeTrade",le="0.015"} 0')
    expect(text).toContain('forebay_commit_latency_seconds_bucket{task="storeTrade",le="0.025"} 3')
    expect(text).toContain('forebay_commit_latency_seconds_bucket{task="storeTrade",le="+Inf"} 4')
    expect(text).toContain('forebay_commit_latency_seconds_count{task="storeTrade"} 4')
    expect(text).toContain('# TYPE forebay_commit_latency_seconds histogram')
  })

  it('keeps percentiles of measured values', () => {
    const metrics = metricsWith()
    for (let ms = 1; ms <= 100; ms++) metrics.value('flushMs', ms, 'storeTrade')
    expect(metrics.percentile('flushMs', 99, 'storeTrade')).toBe(99)
    expect(metrics.percentile('flushMs', 99, 'other task')).toBeNull()
  })

  it('sets gauges from the status and drops those of partitions no longer owned', async () => {
    const status = nodeStatus()
    const metrics = metricsWith()
    metrics.watch(() => status)
    expect(await metrics.text()).toContain('forebay_partition_lag_events{partition="2"} 12')
    status.partitions.length = 0
    expect(await metrics.text()).not.toContain('forebay_partition_lag_events{partition="2"}')
  })

  it('tells runs of cron tasks by outcome, skipped times and the last success', async () => {
    const status = nodeStatus()
    const metrics = metricsWith({ status: () => status })
    const before = await metrics.text()
    expect(before).toContain('forebay_cron_runs_total{task="closeDay",outcome="failed"} 0')
    expect(before).toContain('forebay_cron_skipped_total{task="closeDay"} 0')
    expect(before).not.toContain('forebay_cron_last_success_timestamp_seconds')
    metrics.cron.ran('closeDay', 'retrying')
    metrics.cron.ran('closeDay', 'succeeded')
    metrics.cron.skipped('closeDay', 3)
    const [task] = status.cron
    const [failed] = task!.runs
    const runs = [failed!, { ...failed!, outcome: 'succeeded' as const, endedMs: 1500, error: null }]
    metrics.watch(() => ({ ...status, cron: [{ ...task!, runs }] }))
    const text = await metrics.text()
    expect(text).toContain('forebay_cron_runs_total{task="closeDay",outcome="retrying"} 1')
    expect(text).toContain('forebay_cron_runs_total{task="closeDay",outcome="succeeded"} 1')
    expect(text).toContain('forebay_cron_skipped_total{task="closeDay"} 3')
    expect(text).toContain('forebay_cron_last_success_timestamp_seconds{task="closeDay"} 1.5')
  })

  it('counts under `other` beyond a thousand labels', () => {
    const metrics = metricsWith()
    for (let label = 0; label < 1500; label++) metrics.count('rows', 1, `task ${label}`)
    expect(metrics.total('rows', 'other')).toBe(500)
    expect(metrics.total('rows')).toBe(1500)
  })
})

describe('createLogger', () => {
  function logged(log: (logger: ReturnType<typeof createLogger>) => void): string {
    const lines: string[] = []
    log(createLogger({ node: 'node-1', secrets: ['s3cr"et', 'abc'], destination: { write: (line) => void lines.push(line) } }))
    return lines.join('')
  }

  it('writes one line of JSON with the level as a word', () => {
    const line = JSON.parse(logged((logger) => logger.warn({ partition: 3 }, 'halted')))
    expect(line).toMatchObject({ level: 'warn', node: 'node-1', partition: 3, msg: 'halted' })
  })

  it.each([
    ['in a message', (logger) => logger.info('connecting to postgres://app:hunter2@db/app')],
    ['in a field', (logger) => logger.info({ url: 'postgres://app:hun/ter2@db/app' }, 'connecting')],
    ['in an error', (logger) => logger.error({ err: new Error('postgres://app:hunter2@db refused') }, 'failed')],
    ['as a field of its own', (logger) => logger.info({ password: 'hunter2', db: { password: 'hunter2' } }, 'config')],
    ['as a parameter', (logger) => logger.info('host=db password=hunter2')],
    ['as a known secret', (logger) => logger.info({ key: 's3cr"et' }, 'key is s3cr"et')],
  ] as [string, (logger: ReturnType<typeof createLogger>) => void][])('blots out a password %s', (_where, log) => {
    const text = logged(log)
    expect(text).toContain('***')
    expect(text).not.toMatch(/hunter|ter2|s3cr/)
    expect(() => JSON.parse(text)).not.toThrow()
  })

  it('leaves text without secrets as it is', () => {
    expect(redactSecrets('see http://127.0.0.1:8080/ and mail a@b')).toBe('see http://127.0.0.1:8080/ and mail a@b')
  })
})

describe('renderStatusText', () => {
  it('shows buffers against their bound', () => {
    const mib = 1024 * 1024
    const buffers = { fetchedBytes: 2 * mib, unsentBytes: 0, unflushedBytes: 3 * mib, bytes: 5 * mib, bytesMax: 190 * mib }
    expect(renderStatusText({ ...nodeStatus(), buffers })).toContain('5 of at most 190 MiB in buffers')
    expect(renderStatusText(nodeStatus())).not.toContain('in buffers')
  })

  it('shows lag, halted partitions, blocked tasks and why the node is not ready', () => {
    const text = renderStatusText({ ...nodeStatus(), isReady: false, reasons: ['partition 2 is halted'] })
    expect(text).toMatch(/not ready\n {2}partition 2 is halted/)
    expect(text).toMatch(/^2 +88 +99 +101 +12 +halted: retention passed$/m)
    expect(text).toMatch(/blocked: table trades is missing/)
  })
})
