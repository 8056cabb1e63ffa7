/**
 * One node of the cluster: owns its share of the partitions and of the queues, and flushes every task.
 *
 * From `run` until its signal aborts: membership says who lives, `#reconcile` starts and stops partition owners and queue
 * readers so that they match the assignment, runners flush. At the end reading stops first, then what waits is flushed
 * once more, floors are settled and committed, and the node takes its leave.
 *
 * Two nodes that both believe to own something harm nothing: only the ledger fences (fact 1 of the protocol).
 */
import { setMaxListeners } from 'node:events'
import type { ErrorCode, ForebayError } from '../errors.ts'
import { errorCodes, sentenceOf } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { JobGrid } from '../grid/job-grid.ts'
import { flagKey } from '../grid/queue-name.ts'
import { spanText } from '../text/time-text.ts'
import type { CarefulPorts } from '../ingest/careful-conversion.ts'
import { Converter, sectionsOf } from '../ingest/converter.ts'
import type { ConverterOptions, ConvertingTask } from '../ingest/converter.ts'
import { PartitionOwner } from '../ingest/partition-owner.ts'
import type { Observer } from '../observer.ts'
import type { DeadLetter, Ledger } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import { supervise } from '../schedule/supervise.ts'
import type { RunningSink } from '../sinks/running-sink.ts'
import type { TroubleWatch } from '../troubles.ts'
import { QueueReader } from '../work/queue-reader.ts'
import { TaskRunner } from '../work/task-runner.ts'
import { WatermarkWatch } from '../work/watermark-watch.ts'
import type { Membership } from './membership.ts'
import { movesText } from './moves.ts'
import { Reach } from './reach.ts'
import { shareOf } from './shares.ts'

export interface NodePorts {
  readonly log: EventLog
  readonly grid: JobGrid
  readonly ledger: Ledger
  readonly clock: Clock
  readonly observer: Observer
  readonly membership: Membership
  readonly careful?: CarefulPorts
  readonly troubles?: TroubleWatch
}

export interface NodeTask extends ConvertingTask {
  readonly everyMs: number
  readonly rowsMax: number
  readonly bytesMax: number
  readonly sink: RunningSink
  /** Told of the dead letters that a flush of it committed. */
  readonly onBuried?: (letters: readonly DeadLetter[]) => void
}

export interface NodeOptions extends Omit<ConverterOptions, 'tasks'> {
  /** Unique for this life of the process. */
  readonly id: string
  /** What the names of its partitions' owners begin with, unique for each `Node` of a process (rule 8). Default: `id`. */
  readonly ownerName?: string
  readonly scope: string
  readonly secret: string
  readonly partitions: number
  readonly windowSegmentsMax: number
  readonly lingerMs: number
  readonly tasks: readonly NodeTask[]
}

/** A part that runs until it is stopped, and why it does not run at present. */
interface Running<T> {
  /** Such as `partition 3`. */
  readonly name: string
  part: T | undefined
  readonly stop: AbortController
  readonly done: Promise<void>
  /** Kept over the next life until that one has lasted, or a part that halts again and again would look well in between. */
  trouble: string | undefined
  troubleCode: ErrorCode | undefined
  troubleSinceMs: number | undefined
  /** When its present life began; undefined between two lives. */
  bornMs: number | undefined
}

const reconcileMs = 100
/** A life that lasts longer has overcome what ended the one before. */
const overcomeMs = 3000
const commitMs = 1000

export class Node {
  readonly #ports: NodePorts
  readonly #options: NodeOptions
  readonly #converter: Converter
  readonly #runners: readonly TaskRunner[]
  readonly #owners = new Map<number, Running<PartitionOwner>>()
  readonly #readers = new Map<string, Running<QueueReader>>()
  readonly #watch: WatermarkWatch
  readonly #stop = new AbortController()
  readonly #reach: Reach
  /** The nodes, and what they cannot reach, of the last reconciliation. */
  #shared = ''
  #lives = 0
  #failure: unknown
  #committed = new Map<number, bigint>()

  constructor(ports: NodePorts, options: NodeOptions) {
    this.#reach = new Reach(ports)
    this.#ports = { ...ports, ledger: this.#reach.ledger }
    this.#options = options
    this.#watch = new WatermarkWatch(this.#ports)
    // Every part listens to it, and their number is bounded by the partitions.
    setMaxListeners(0, this.#stop.signal)
    this.#converter = new Converter(options)
    const intervalsMax = Math.max(1, Math.floor(options.windowSegmentsMax / 2))
    this.#runners = options.tasks.map(({ name: task, ...rest }) => new TaskRunner(this.#ports, { ...rest, task, intervalsMax }))
  }

  /** Partitions this node owns, those in trouble too. */
  get owners(): ReadonlyMap<number, Readonly<Running<PartitionOwner>>> {
    return this.#owners
  }

  /** Whether a partition that this node owns stands still until somebody mends it. */
  isHalted(partition: number): boolean {
    const code = this.#owners.get(partition)?.troubleCode
    return code !== undefined && errorCodes[code].policy === 'halt'
  }

  get readers(): readonly QueueReader[] {
    return [...this.#readers.values()].flatMap(({ part }) => (part === undefined ? [] : [part]))
  }

  get runners(): readonly TaskRunner[] {
    return this.#runners
  }

  /** Flushes what waits at once, whatever the cadence: the pipeline is asked to drain. */
  hurry(): void {
    for (const runner of this.#runners) runner.hurry()
  }

  /** Throws what stops the whole node: FB_EPOCH_CLOSED, fatal errors, bugs. */
  async run(signal: AbortSignal): Promise<void> {
    const abort = () => this.#stop.abort()
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    const { membership } = this.#ports
    const flushing = new AbortController()
    const members = this.#guard(membership.run(flushing.signal))
    const runners = this.#runners.map((runner) => this.#guard(runner.run(this.#stop.signal)))
    const { signal: stopped } = this.#stop
    const loops = [this.#reconcileUntilStopped(), this.#commitUntilStopped(), this.#reach.run(stopped), this.#watch.run(stopped)]
    await this.#guard(Promise.all(loops).then(() => undefined))
    await Promise.all(runners)
    await this.#drain()
    flushing.abort()
    await members
    signal.removeEventListener('abort', abort)
    if (this.#failure !== undefined) throw this.#failure
  }

  /** The first failure of any part stops them all. */
  async #guard(part: Promise<void>): Promise<void> {
    try {
      await part
    } catch (error) {
      this.#failure ??= error
      this.#stop.abort()
    }
  }

  async #reconcileUntilStopped(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#ports.membership.update({ cut: this.#reach.look(this.#owners.keys()) })
      this.#reconcile()
      this.#tellOvercome()
      await this.#ports.clock.sleep(reconcileMs, this.#stop.signal)
    }
  }

  /** Starts what this node's share gives it and stops what it gives to others. */
  #reconcile(): void {
    const live = this.#ports.membership.live()
    const sharers = live.map(({ id, info }) => ({ id, cut: info.cut }))
    const seen = JSON.stringify(sharers)
    if (seen === this.#shared) return
    this.#shared = seen
    const { id, partitions, queues } = this.#options
    const share = shareOf(id, sharers, { partitions, queues })
    const moves = { taken: [] as number[], given: [] as number[], queuesTaken: 0, queuesGiven: 0 }
    for (let partition = 0; partition < partitions; partition++) {
      const isOwner = share.partitions.has(partition)
      if (isOwner && !this.#owners.has(partition)) {
        moves.taken.push(partition)
        this.#own(partition)
      }
      if (!isOwner && stopAndDelete(this.#owners, partition)) moves.given.push(partition)
      for (let queue = 0; queue < queues; queue++) {
        const key = flagKey({ partition, queue })
        if (share.queues.has(key) && !this.#readers.has(key)) {
          moves.queuesTaken++
          this.#read(key, partition, queue)
        }
        if (!share.queues.has(key) && stopAndDelete(this.#readers, key)) moves.queuesGiven++
      }
    }
    const told = movesText(moves)
    if (told !== undefined) this.#ports.observer.log('info', told)
  }

  /** A part whose life has lasted is well again. */
  #tellOvercome(): void {
    const { clock, observer } = this.#ports
    const nowMs = clock.now()
    for (const entry of [...this.#owners.values(), ...this.#readers.values()]) {
      const { name, trouble, troubleCode, troubleSinceMs, bornMs } = entry
      if (trouble === undefined || bornMs === undefined || nowMs - bornMs < overcomeMs) continue
      const isHalt = troubleCode !== undefined && errorCodes[troubleCode].policy === 'halt'
      observer.log(isHalt ? 'info' : 'debug', `${name} goes on, after ${spanText(nowMs - (troubleSinceMs ?? nowMs))}`)
      entry.trouble = entry.troubleCode = entry.troubleSinceMs = undefined
    }
  }

  #own(partition: number): void {
    const { id, ownerName = id, scope, secret, queues, tasks, linesBytesMax, windowSegmentsMax, lingerMs } = this.#options
    const sections = sectionsOf(tasks)
    const running = this.#start<PartitionOwner>(`partition ${partition}`, (entry) => ({
      live: async (signal) => {
        const owner = `${ownerName}.${this.#lives++}`
        const options = { partition, queues, owner, scope, secret, sections, linesBytesMax, windowSegmentsMax, lingerMs }
        entry.part = new PartitionOwner({ ...this.#ports, log: this.#reach.log }, options, this.#converter)
        await entry.part.run(signal)
      },
      onFailure: (error) => {
        if (error.policy === 'halt') this.#ports.observer.count('halts', 1, String(partition))
      },
    }))
    this.#owners.set(partition, running)
  }

  #read(key: string, partition: number, queue: number): void {
    const { scope, secret, windowSegmentsMax, tasks } = this.#options
    const trackedTasks = tasks.filter((task) => task.isTracked).map((task) => task.name)
    const untrackedTasks = tasks.filter((task) => !task.isTracked).map((task) => task.name)
    const onJobs = (reader: QueueReader) => this.#runners.forEach((runner) => runner.notice(reader))
    const running = this.#start<QueueReader>(`queue ${key}`, (entry) => ({
      live: async (signal) => {
        const reader = new QueueReader(this.#ports, {
          partition,
          queue,
          scope,
          secret,
          trackedTasks,
          untrackedTasks,
          windowSegmentsMax,
          onJobs,
        })
        entry.part = reader
        for (const runner of this.#runners) runner.attach(reader)
        this.#watch.attach(reader)
        try {
          await reader.run(signal)
        } finally {
          this.#watch.detach(reader)
          // What it holds stays attached until the node's last flush; another owner's commit fences it.
          if (!this.#stop.signal.aborted) for (const runner of this.#runners) runner.detach(reader)
        }
      },
      onFailure: () => undefined,
    }))
    this.#readers.set(key, running)
  }

  #start<T>(
    name: string,
    life: (entry: Running<T>) => { live(signal: AbortSignal): Promise<void>; onFailure(error: ForebayError): void },
  ): Running<T> {
    const { clock, observer } = this.#ports
    const stop = new AbortController()
    const forward = () => stop.abort()
    this.#stop.signal.addEventListener('abort', forward, { once: true })
    const none = { part: undefined, trouble: undefined, troubleCode: undefined, troubleSinceMs: undefined, bornMs: undefined }
    const entry: Running<T> = { name, stop, done: Promise.resolve(), ...none }
    const { live, onFailure } = life(entry)
    const supervised = supervise(
      {
        clock,
        live: (signal) => {
          entry.bornMs = clock.now()
          return live(signal)
        },
        onFailure: (error) => {
          // What may pass by itself is told when it lasts, by the watch on the calls.
          if (entry.trouble !== error.message)
            observer.log(error.policy === 'halt' ? 'error' : 'debug', `${name}: ${error.message}`, { code: error.code })
          entry.bornMs = undefined
          entry.troubleSinceMs ??= clock.now()
          entry.trouble = error.message
          entry.troubleCode = error.code
          onFailure(error)
        },
      },
      stop.signal,
    )
    const done = this.#guard(supervised).finally(() => this.#stop.signal.removeEventListener('abort', forward))
    return Object.assign(entry, { done })
  }

  async #commitUntilStopped(): Promise<void> {
    const { clock } = this.#ports
    while (!this.#stop.signal.aborted) {
      await clock.sleep(commitMs, this.#stop.signal)
      await this.#commit()
    }
  }

  /** Tells lag tools the floors that moved since the last time (a hint: it may fail). */
  async #commit(): Promise<void> {
    const moved = new Map<number, bigint>()
    for (const [partition, { part }] of this.#owners) {
      if (part === undefined || part.floor < 0n || this.#committed.get(partition) === part.floor) continue
      moved.set(partition, part.floor)
    }
    if (moved.size === 0) return
    try {
      await this.#ports.log.commit(moved)
      for (const [partition, floor] of moved) this.#committed.set(partition, floor)
    } catch (error) {
      this.#ports.observer.log('debug', `floors were not committed for lag tools: ${sentenceOf(error)}`)
    }
  }

  /** The end of a clean life: reading has stopped; flush, settle and commit once more. */
  async #drain(): Promise<void> {
    await Promise.all([...this.#owners.values(), ...this.#readers.values()].map(({ done }) => done))
    if (this.#failure !== undefined) return
    try {
      for (const runner of this.#runners) await runner.flush(this.#stop.signal)
      await Promise.all([...this.#owners.values()].map(({ part }) => part?.settle()))
      await this.#commit()
      this.#ports.observer.log('info', 'this node stops cleanly: what it had received is applied, and its floors are raised')
    } catch (error) {
      this.#ports.observer.log('warn', `the last flush did not succeed, its jobs stay with the log: ${sentenceOf(error)}`)
    }
  }
}

/** Tells whether there was one. */
function stopAndDelete<K>(parts: Map<K, { stop: AbortController }>, key: K): boolean {
  parts.get(key)?.stop.abort()
  return parts.delete(key)
}
