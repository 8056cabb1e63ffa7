/**
 * A node's measurements: what the core reports through `Observer`, kept as plain numbers and told as Prometheus text,
 * as parts of `GET /status` and as log lines.
 *
 * Boundary: the hot path only adds to numbers here; names, units and text are made when somebody asks.
 * Labels are tasks and partitions; beyond `labelsMax` of them a name counts under `other`, so that memory stays bounded.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Logger } from 'pino'
import { Counter, Gauge, Registry } from 'prom-client'
import type { CronRun } from '../cron/cron-runs.ts'
import { recordTimeMsMax } from '../events/record-time.ts'
import { counterNames, valueNames, type CounterName, type Observer, type ValueName } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'
import { CronMetrics } from './cron-metrics.ts'
import { Histogram, type HistogramJson } from './histogram.ts'
import { RecentShare } from './recent-share.ts'
import { registerHistogram } from './prometheus-histogram.ts'
import type { BufferStatus, ConvertingStatus, EventLoopStatus, MemoryStatus, NodeStatus } from './status.ts'

const labelsMax = 1000

export interface NodeMetricsOptions {
  readonly logger: Logger
  readonly clock: Clock
  /** Where the gauges come from when metrics are asked for; left out, there are none. */
  readonly status?: () => NodeStatus
}

export class NodeMetrics implements Observer, AsyncDisposable {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE
  /** Where cron tasks count their runs. */
  readonly cron: CronMetrics
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #registry = new Registry()
  readonly #counts = new Map<CounterName, Map<string, number>>()
  readonly #values = new Map<ValueName, Map<string, Histogram>>()
  readonly #latency = new Map<string, Histogram>()
  readonly #loopDelay = monitorEventLoopDelay({ resolution: 20 })
  readonly #gauges: NodeGauges
  readonly #converting = new RecentShare()
  #status: (() => NodeStatus) | undefined
  #firstEventAtMs: number | undefined
  #lastRowAtMs: number | undefined

  constructor(options: NodeMetricsOptions) {
    this.#logger = options.logger
    this.#clock = options.clock
    this.#status = options.status
    this.#loopDelay.enable()
    for (const name of namesOf(counterNames)) this.#registerCounter(name)
    for (const name of namesOf(valueNames)) {
      const byLabel = new Map<string, Histogram>()
      this.#values.set(name, byLabel)
      registerHistogram(this.#registry, {
        name: `forebay_${snake(name).replace(/_ms$/, '')}_seconds`,
        help: valueNames[name],
        label: 'label',
        histograms: byLabel,
      })
    }
    registerHistogram(this.#registry, {
      name: 'forebay_commit_latency_seconds',
      help: 'from the time of the record to the commit of its jobs',
      label: 'task',
      histograms: this.#latency,
    })
    this.cron = new CronMetrics(this.#registry)
    this.#gauges = new NodeGauges(this.#registry)
  }

  /** Names where the gauges come from, once the node is put together. */
  watch(status: () => NodeStatus): void {
    this.#status = status
  }

  count(name: CounterName, by: number, label = ''): void {
    if (name === 'events') this.#firstEventAtMs ??= this.#clock.wallMs()
    else if (name === 'rows') this.#lastRowAtMs = this.#clock.wallMs()
    const byLabel = this.#counts.get(name)!
    const key = boundedLabel(byLabel, label)
    byLabel.set(key, (byLabel.get(key) ?? 0) + by)
  }

  value(name: ValueName, value: number, label = ''): void {
    if (name === 'convertMs') this.#converting.add(this.#clock.now(), value)
    histogramOf(this.#values.get(name)!, label).record(value)
  }

  committed(task: string, recordTimeMs: number, count: number): void {
    // A time that was moved to one of the ends tells no latency.
    if (recordTimeMs <= 0 || recordTimeMs >= recordTimeMsMax) return
    histogramOf(this.#latency, task).record(this.#clock.wallMs() - recordTimeMs, count)
  }

  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#logger[level](fields ?? {}, message)
  }

  /** Wall clock of the first event polled since start, and of the last flush committed; null before. */
  activity(): { readonly firstEventAtMs: number | null; readonly lastRowAtMs: number | null } {
    return { firstEventAtMs: this.#firstEventAtMs ?? null, lastRowAtMs: this.#lastRowAtMs ?? null }
  }

  /** Total of a counter since start, over all labels or of one. */
  total(name: CounterName, label?: string): number {
    const byLabel = this.#counts.get(name)!
    if (label !== undefined) return byLabel.get(label) ?? 0
    let sum = 0
    for (const value of byLabel.values()) sum += value
    return sum
  }

  /** Every counter, as the status shows it. */
  counters(): Record<CounterName, number> {
    return Object.fromEntries(namesOf(counterNames).map((name) => [name, this.total(name)])) as Record<CounterName, number>
  }

  /** Percentile of a measured value in its own unit since start; null before the first. */
  percentile(name: ValueName, percent: number, label = ''): number | null {
    return this.#values.get(name)!.get(label)?.percentile(percent) ?? null
  }

  /** Latencies from record time to commit, by task. */
  latency(): Record<string, HistogramJson> {
    return Object.fromEntries([...this.#latency].map(([task, histogram]) => [task, histogram.toJSON()]))
  }

  eventLoop(): EventLoopStatus {
    // The monitor measures its own 10 ms interval, so what exceeds that is the delay.
    const delayMs = (nanoseconds: number) => Math.max(0, Math.round(nanoseconds / 1e5) / 10 - 10)
    return { delayP99Ms: delayMs(this.#loopDelay.percentile(99)), delayMaxMs: delayMs(this.#loopDelay.max) }
  }

  /** Share of the last ten seconds that went into decode, key and convert, and how long they took for a slice of events. */
  converting(): ConvertingStatus {
    return { share: this.#converting.share(this.#clock.now()), sliceP99Ms: this.percentile('convertMs', 99) }
  }

  memory(): MemoryStatus {
    const { rss, heapUsed, external } = process.memoryUsage()
    return { rssBytes: rss, heapUsedBytes: heapUsed, externalBytes: external }
  }

  /** All metrics in the Prometheus text format. */
  async text(): Promise<string> {
    const status = this.#status?.()
    for (const { task } of status?.cron ?? []) this.cron.know(task)
    this.#gauges.set({ status, memory: this.memory(), eventLoop: this.eventLoop() })
    return this.#registry.metrics()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#loopDelay.disable()
    this.#registry.clear()
    return Promise.resolve()
  }

  #registerCounter(name: CounterName): void {
    const byLabel = new Map<string, number>()
    this.#counts.set(name, byLabel)
    new Counter({
      name: `forebay_${snake(name)}_total`,
      help: counterNames[name],
      labelNames: ['label'],
      registers: [this.#registry],
      collect() {
        this.reset()
        if (byLabel.size === 0) this.inc({ label: '' }, 0)
        for (const [label, value] of byLabel) this.inc({ label }, value)
      },
    })
  }
}

interface GaugeSource {
  readonly status: NodeStatus | undefined
  readonly memory: MemoryStatus
  readonly eventLoop: EventLoopStatus
}

/** The gauges, set afresh for each answer so that what a node no longer owns disappears. */
class NodeGauges {
  readonly #registry: Registry
  readonly #gauges = new Map<string, Gauge>()

  constructor(registry: Registry) {
    this.#registry = registry
  }

  set({ status, memory, eventLoop }: GaugeSource): void {
    for (const gauge of this.#gauges.values()) gauge.reset()
    this.#put('resident_memory_bytes', 'memory of the process', memory.rssBytes)
    this.#put('heap_used_bytes', 'JavaScript heap in use', memory.heapUsedBytes)
    this.#put('external_memory_bytes', 'memory outside the JavaScript heap', memory.externalBytes)
    this.#put('event_loop_delay_p99_seconds', 'how late timers came since start, p99', eventLoop.delayP99Ms / 1000)
    this.#put('event_loop_delay_max_seconds', 'longest stall of the event loop since start', eventLoop.delayMaxMs / 1000)
    if (!status) return
    this.#put('ready', '1 when the node is ready', status.isReady ? 1 : 0)
    for (const { partition, sinceMs } of status.stalls)
      this.#put('partition_stalled_seconds', 'how long the floor has stood although the log holds more', (status.nowMs - sinceMs) / 1000, {
        partition: String(partition),
      })
    for (const { kind, sinceMs } of status.troubles.toReversed())
      this.#put('trouble_seconds', 'how long calls of this kind have not got through', (status.nowMs - sinceMs) / 1000, { kind })
    this.#put('members', 'live nodes as this one sees them', status.members.length)
    if (status.buffers) this.#putBuffers(status.buffers)
    for (const { partition, floor, position, lagEvents, retentionLeftMs, haltedReason } of status.partitions) {
      const labels = { partition: String(partition) }
      this.#put('partition_floor', 'everything at or below this offset is applied', Number(floor), labels)
      this.#put('partition_position', 'last offset read', Number(position), labels)
      this.#put('partition_halted', '1 when the partition stands still', haltedReason === null ? 0 : 1, labels)
      if (retentionLeftMs !== null)
        this.#put(
          'partition_retention_left_seconds',
          'until retention passes the floor at the present rate',
          retentionLeftMs / 1000,
          labels,
        )
      if (lagEvents !== null) this.#put('partition_lag_events', 'events in the log above the floor', lagEvents, labels)
    }
    for (const { partition, queue, pendingJobs, windowUsed } of status.queues) {
      const labels = { partition: String(partition), queue: String(queue) }
      this.#put('queue_pending_jobs', 'jobs received and not yet applied', pendingJobs, labels)
      if (windowUsed !== undefined) this.#put('queue_window_used_ratio', 'share of the window in use', windowUsed, labels)
    }
    for (const { task, blockedReason } of status.tasks)
      this.#put('task_blocked', '1 when the task stands still', blockedReason === null ? 0 : 1, { task })
    for (const { task, runs } of status.cron) this.#putLastSuccess(task, runs)
    for (const { channel, clients, keys, dropped } of status.channels) {
      this.#put('websocket_clients', 'connected WebSocket clients', clients, { channel })
      this.#put('websocket_keys', 'keys with a latest value', keys, { channel })
      this.#put('websocket_clients_dropped', 'clients dropped since start because they were too slow', dropped, { channel })
    }
  }

  #putLastSuccess(task: string, runs: readonly CronRun[]): void {
    const endedMs = runs.find(({ outcome }) => outcome === 'succeeded')?.endedMs ?? null
    const help = 'when a run of the cron task last succeeded, on whichever node'
    if (endedMs !== null) this.#put('cron_last_success_timestamp_seconds', help, endedMs / 1000, { task })
  }

  #putBuffers({ fetchedBytes, unsentBytes, unflushedBytes, bytesMax }: BufferStatus): void {
    const help = 'bytes of events on their way: fetched, converted and unsent, read from the grid and unflushed'
    this.#put('buffer_bytes', help, fetchedBytes, { stage: 'fetched' })
    this.#put('buffer_bytes', help, unsentBytes, { stage: 'unsent' })
    this.#put('buffer_bytes', help, unflushedBytes, { stage: 'unflushed' })
    this.#put('buffer_bytes_max', 'what the buffers of a node that owns everything hold at worst', bytesMax)
  }

  #put(name: string, help: string, value: number, labels: Record<string, string> = {}): void {
    let gauge = this.#gauges.get(name)
    if (!gauge) {
      gauge = new Gauge({ name: `forebay_${name}`, help, labelNames: Object.keys(labels), registers: [this.#registry] })
      this.#gauges.set(name, gauge)
    }
    gauge.set(labels, value)
  }
}

function histogramOf(byLabel: Map<string, Histogram>, label: string): Histogram {
  const key = boundedLabel(byLabel, label)
  let histogram = byLabel.get(key)
  if (!histogram) byLabel.set(key, (histogram = new Histogram()))
  return histogram
}

function boundedLabel(byLabel: ReadonlyMap<string, unknown>, label: string): string {
  return byLabel.size < labelsMax || byLabel.has(label) ? label : 'other'
}

function namesOf<Name extends string>(names: Readonly<Record<Name, string>>): Name[] {
  return Object.keys(names) as Name[]
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
