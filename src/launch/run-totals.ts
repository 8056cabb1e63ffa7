/** Adds up what all lives of all nodes told: rates, lag, latencies and the summary of a run. No I/O. */
import { Histogram, type HistogramJson } from '../status/histogram.ts'
import type { NodeStatus } from '../status/status.ts'
import { own } from '../own.ts'

/** The last line of a drained run. */
export interface RunSummary {
  readonly events: number
  /** Jobs applied by task. */
  readonly jobs: Readonly<Record<string, number>>
  /** Rows that the tables have more than before, by task. */
  readonly rows: Readonly<Record<string, number>>
  /** From the first event polled to the last row committed. */
  readonly seconds: number
  readonly eventsPerSecond: number
  readonly repairs: number
  readonly deadLetters: number
  /** From intended send to committed row, of the first task that writes rows; null when events were preloaded. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly p99_9: number } | null
  readonly tickSlipMs: { readonly p99: number }
}

export interface RunMoment {
  readonly atMs: number
  readonly events: number
  readonly jobs: number
  readonly lagEvents: number
  readonly deadLetters: number
  readonly latency: HistogramJson | undefined
}

/**
 * The last status of every life of every node; a restarted node has a new id and counts anew. What a killed node did after
 * its last status is missing here.
 */
export class RunTotals {
  readonly #lives = new Map<string, NodeStatus>()
  #current: readonly NodeStatus[] = []
  readonly #misfits = new Set<string>()

  /** What nodes say while no event at all fits; each once. */
  newMisfits(): string[] {
    const found = this.#current.flatMap(({ misfits }) => misfits).filter((misfit) => !this.#misfits.has(misfit))
    for (const misfit of found) this.#misfits.add(misfit)
    return [...new Set(found)]
  }

  /** The statuses of the nodes that answer now. */
  update(statuses: readonly NodeStatus[]): void {
    this.#current = statuses
    for (const status of statuses) this.#lives.set(status.node, status)
  }

  moment(atMs: number): RunMoment {
    const lag = new Map<number, number>()
    for (const { partitions } of this.#current) for (const { partition, lagEvents } of partitions) lag.set(partition, lagEvents ?? 0)
    const jobs = Object.values(this.jobs()).reduce((sum, count) => sum + count, 0)
    const lagEvents = [...lag.values()].reduce((sum, count) => sum + count, 0)
    const events = this.#sum(({ counters }) => counters.events)
    const deadLetters = this.#sum(({ counters }) => counters.deadLetters + counters.deadEvents)
    return { atMs, events, jobs, lagEvents, deadLetters, latency: this.#latency()?.toJSON() }
  }

  jobs(): Record<string, number> {
    const jobs = new Map<string, number>()
    for (const { tasks } of this.#lives.values()) for (const { task, rows } of tasks) jobs.set(task, (jobs.get(task) ?? 0) + rows)
    return Object.fromEntries(jobs)
  }

  summary(counted: Pick<RunSummary, 'events' | 'rows' | 'deadLetters'> & { readonly isPreloaded: boolean }): RunSummary {
    const { events, rows, deadLetters, isPreloaded } = counted
    const lives = [...this.#lives.values()]
    const firstMs = Math.min(...lives.flatMap(({ firstEventAtMs }) => firstEventAtMs ?? []))
    const lastMs = Math.max(...lives.flatMap(({ lastRowAtMs }) => lastRowAtMs ?? []))
    const seconds = lastMs > firstMs ? Math.round(lastMs - firstMs) / 1000 : 0
    const latency = isPreloaded ? undefined : this.#latency()
    const percentile = (percent: number) => latency?.percentile(percent) ?? 0
    return {
      events,
      jobs: this.jobs(),
      rows,
      seconds,
      eventsPerSecond: seconds > 0 ? Math.round(events / seconds) : 0,
      repairs: this.#sum((status) => status.counters.repairs),
      deadLetters,
      latencyMs: latency === undefined ? null : { p50: percentile(50), p99: percentile(99), p99_9: percentile(99.9) },
      tickSlipMs: { p99: Math.max(0, ...lives.flatMap(({ tasks }) => tasks.flatMap(({ tickSlipP99Ms }) => tickSlipP99Ms ?? []))) },
    }
  }

  #sum(of: (status: NodeStatus) => number): number {
    let sum = 0
    for (const status of this.#lives.values()) sum += of(status)
    return sum
  }

  /** Of the first task, in the pipeline's order, that has any. */
  #latency(): Histogram | undefined {
    const lives = [...this.#lives.values()]
    const names = lives.flatMap(({ tasks }) => tasks.map(({ task }) => task))
    const task = names.find((name) => lives.some(({ latency }) => (own(latency, name)?.count ?? 0) > 0))
    if (task === undefined) return undefined
    const merged = new Histogram()
    for (const found of lives.flatMap(({ latency }) => own(latency, task) ?? [])) merged.merge(Histogram.fromJSON(found))
    return merged
  }
}

/** One line about the time between two moments. */
export function liveLine(before: RunMoment, now: RunMoment): string {
  const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000)
  const rate = (later: number, earlier: number) => Math.max(0, Math.round((later - earlier) / seconds)).toLocaleString('en')
  const p99 = recentP99(before.latency, now.latency)
  const letters = now.deadLetters === 0 ? '' : `, ${now.deadLetters.toLocaleString('en')} dead letters`
  return `${rate(now.events, before.events)} events/s, ${rate(now.jobs, before.jobs)} rows/s, lag ${now.lagEvents.toLocaleString('en')}, p99 ${p99 === null ? '-' : `${p99} ms`}${letters}`
}

/** The 99th percentile of what was recorded between two states of one histogram. */
function recentP99(before: HistogramJson | undefined, now: HistogramJson | undefined): number | null {
  if (now === undefined) return null
  const counts = new Map(before?.buckets)
  const recent = new Histogram()
  for (const [valueMs, count] of now.buckets) {
    const added = count - (counts.get(valueMs) ?? 0)
    if (added > 0) recent.record(valueMs, added)
  }
  return recent.percentile(99)
}
