/**
 * The trial of `forebay tune --validate`: a whole node with the advised settings, for a short time, on scratch tables, a scratch ledger and a scratch
 * scope of the grid. It reads the live topic from its end through cursors of its own and tells nobody its floors; when nobody publishes, it
 * is fed the newest events again at the rate that was planned for.
 */
import { linesBytesMaxOf } from '../ingest/converting.ts'
import { randomBytes } from 'node:crypto'
import { convertingTask, destroyQuietly, openScratchLedger } from './tune.ts'
import type { ScratchTask, TuneBase } from './tune.ts'
import type { EventLog } from '../events/event-log.ts'
import { startFloors } from '../events/start-floors.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { LocalJobGrid } from '../grid/local-job-grid.ts'
import { fanoutRingName, flagMapName, latestMapName, ringName } from '../grid/queue-name.ts'
import { Histogram } from '../status/histogram.ts'
import { Membership, membershipMap } from '../node/membership.ts'
import { noCut } from '../node/reach.ts'
import { Node } from '../node/node.ts'
import type { NodeTask } from '../node/node.ts'
import { windowSegmentsMax } from '../config/settings.ts'
import type { NodeSettings } from '../config/settings.ts'
import { silent } from '../observer.ts'
import type { Observer } from '../observer.ts'
import { closeSinks, openSink } from './sinks.ts'
import type { TaskSink } from './sinks.ts'
import type { EventSample } from '../tune/measure-events.ts'
import { PacedLog } from '../tune/paced-log.ts'
import type { TaskChoice } from '../tune/predict.ts'
import { goOn } from '../tune/tune-step.ts'
import type { OnStep } from '../tune/tune-step.ts'

export interface TrialOptions {
  /** With the advised grid. */
  readonly settings: NodeSettings
  readonly choices: ReadonlyMap<string, TaskChoice>
  readonly sample: EventSample
  readonly forMs: number
  readonly onStep: OnStep
  readonly signal: AbortSignal
}

export interface Trial {
  readonly isLive: boolean
  /** Entries of the rings it had: those that run may be smaller than advised. */
  readonly capacity: number
  readonly eventsPerSecond: number
  /** By task; a task without rows is missing. */
  readonly tasks: ReadonlyMap<string, { readonly p50Ms: number; readonly p99Ms: number; readonly rows: number }>
}

const stepMs = 250
/** The first moments belong to connections and statements that are met for the first time. */
const warmUpMsMax = 3000
const warmUpShare = 0.25

/** Throws FB_INTERRUPTED, and what a node throws. */
export async function runTrial(base: TuneBase, options: TrialOptions): Promise<Trial> {
  const { clock, identity, settings: present } = base
  const { settings, sample, signal } = options
  const scope = `trial-${randomBytes(6).toString('hex')}`
  const isLocal = present.grid.mode === 'local'
  const grid = isLocal ? new LocalJobGrid({ capacity: settings.grid.capacity }) : base.grid.writer
  const held = await grid.capacity(ringName(scope, { partition: 0, queue: 0 }))
  const trialSettings = { ...settings, grid: { ...settings.grid, capacity: Math.min(settings.grid.capacity, held) } }
  const log = sample.isLive
    ? withoutCommit(base.log)
    : new PacedLog(clock, { identity, records: sample.records, perSecond: sample.measurement.perSecond })
  const ledger = await openScratchLedger({ ...base, settings }, scope, () => startFloors(log, identity.partitions, 'latest'))
  const secret = settings.grid.secret ?? ledger.deployment
  const recorder = new Recorder(base)
  const opened: TaskSink[] = []
  const tasks: NodeTask[] = []
  for (const task of base.tasks)
    tasks.push(await trialTask(task, { base, grid, scope, secret, observer: recorder.observer, options, opened }))
  const membership = new Membership(
    { grid, clock, observer: silent },
    { id: scope, scope, beatMs: settings.grid.beatMs, leaseMs: settings.grid.leaseMs },
    { epoch: ledger.epoch, http: null, pid: process.pid, cut: noCut },
  )
  const node = new Node(
    { log, grid, ledger, clock, observer: recorder.observer, membership },
    {
      id: scope,
      scope,
      secret,
      partitions: identity.partitions,
      queues: settings.grid.queues,
      windowSegmentsMax: windowSegmentsMax(trialSettings.grid.capacity),
      lingerMs: settings.grid.lingerMs,
      eventBytesMax: settings.eventBytesMax,
      linesBytesMax: linesBytesMaxOf(settings.grid.segmentBytesMax),
      source: base.pipeline.source,
      key: base.pipeline.key,
      tasks,
    },
  )
  try {
    await runFor(node, opened, recorder, { ...options, base })
  } finally {
    await closeSinks(opened)
    await destroyQuietly(grid, namesOf(scope, base, settings, opened), isLocal ? () => undefined : base.warn)
    if (isLocal) await grid[Symbol.asyncDispose]()
  }
  goOn(signal)
  return {
    isLive: sample.isLive,
    capacity: trialSettings.grid.capacity,
    eventsPerSecond: recorder.eventsPerSecond,
    tasks: recorder.results(),
  }
}

async function runFor(
  node: Node,
  opened: readonly TaskSink[],
  recorder: Recorder,
  { base: { clock }, forMs, onStep, signal }: TrialOptions & { base: TuneBase },
): Promise<void> {
  const stop = new AbortController()
  const abort = () => stop.abort()
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  const following = opened.map(({ open }) => open.follow?.(stop.signal))
  const running = node.run(stop.signal).finally(abort)
  // Its failure is thrown below; until then it must not be nobody's.
  running.catch(() => undefined)
  const startedMs = clock.now()
  const warmUpMs = Math.min(warmUpMsMax, forMs * warmUpShare)
  while (!stop.signal.aborted && clock.now() - startedMs < forMs + warmUpMs) {
    const passedMs = clock.now() - startedMs
    if (passedMs >= warmUpMs) recorder.begin()
    onStep('trial', Math.min(1, passedMs / (forMs + warmUpMs)))
    await clock.sleep(stepMs, stop.signal)
  }
  recorder.end()
  stop.abort()
  signal.removeEventListener('abort', abort)
  await Promise.all([running, ...following])
}

/** Latencies as a node measures them, from `begin` to `end`. */
class Recorder {
  readonly observer: Observer
  readonly #clock: TuneBase['clock']
  readonly #latency = new Map<string, Histogram>()
  #events = 0
  #begunMs: number | undefined
  #endedMs: number | undefined

  constructor({ clock }: TuneBase) {
    this.#clock = clock
    this.observer = {
      ...silent,
      count: (name, by) => {
        if (name === 'events' && this.#isOn) this.#events += by
      },
      committed: (task, recordTimeMs, count) => {
        if (!this.#isOn) return
        const histogram = this.#latency.get(task) ?? new Histogram()
        histogram.record(clock.wallMs() - recordTimeMs, count)
        this.#latency.set(task, histogram)
      },
    }
  }

  begin(): void {
    this.#begunMs ??= this.#clock.now()
  }

  end(): void {
    this.#endedMs = this.#clock.now()
  }

  get eventsPerSecond(): number {
    if (this.#begunMs === undefined || this.#endedMs === undefined) return 0
    return (this.#events * 1000) / (this.#endedMs - this.#begunMs)
  }

  results(): Trial['tasks'] {
    return new Map(
      [...this.#latency].map(([task, histogram]) => [
        task,
        { p50Ms: histogram.percentile(50)!, p99Ms: histogram.percentile(99)!, rows: histogram.count },
      ]),
    )
  }

  get #isOn(): boolean {
    return this.#begunMs !== undefined && this.#endedMs === undefined
  }
}

interface TrialTaskParts {
  readonly base: TuneBase
  readonly grid: JobGrid
  readonly scope: string
  readonly secret: string
  readonly observer: Observer
  readonly options: TrialOptions
  /** Takes what is opened. */
  readonly opened: TaskSink[]
}

async function trialTask(task: ScratchTask, { base, options, opened, ...ports }: TrialTaskParts): Promise<NodeTask> {
  const { definition } = task
  const choice = options.choices.get(definition.name)!
  if (definition.sink.traits?.isWithinNodes !== true) return { ...convertingTask(task), sink: task.sink, ...choice }
  const context = { ...ports, pipeline: base.pipeline.name, node: ports.scope, database: base.scratch.pool, clock: base.clock }
  const one = await openSink(definition, context)
  opened.push(one)
  return { ...convertingTask({ ...task, sink: one.running }), sink: one.running, ...choice }
}

function withoutCommit(log: EventLog): EventLog {
  return {
    identity: () => log.identity(),
    range: (partition) => log.range(partition),
    offsetAt: (partition, timestampMs) => log.offsetAt(partition, timestampMs),
    eventAt: (partition, offset) => log.eventAt(partition, offset),
    open: (partition, nextOffset) => log.open(partition, nextOffset),
    commit: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function namesOf(
  scope: string,
  { identity }: TuneBase,
  { grid }: NodeSettings,
  opened: readonly TaskSink[],
): Parameters<JobGrid['destroy']>[0] {
  const channels = opened.flatMap(({ open }) => open.channel?.stats.channel ?? [])
  const queues = Array.from({ length: identity.partitions }, (_, partition) => partition).flatMap((partition) =>
    Array.from({ length: grid.queues }, (_, queue) => ringName(scope, { partition, queue })),
  )
  return {
    rings: [...queues, ...channels.map((channel) => fanoutRingName(scope, channel))],
    maps: [flagMapName(scope), membershipMap(scope), ...channels.map((channel) => latestMapName(scope, channel))],
  }
}
