/** One incarnation of a node: the real owners and readers on simulated ports. */
import { isForebayError } from '../../src/errors.ts'
import { Converter, sectionsOf } from '../../src/ingest/converter.ts'
import type { ConvertingTask } from '../../src/ingest/converter.ts'
import { PartitionOwner } from '../../src/ingest/partition-owner.ts'
import type { Ledger } from '../../src/offsets/ledger.ts'
import type { Observer } from '../../src/observer.ts'
import type { RunningSink } from '../../src/sinks/sink.ts'
import type { RepairWatch } from './repair-watch.ts'
import { QueueReader } from '../../src/work/queue-reader.ts'
import { TaskRunner } from '../../src/work/task-runner.ts'
import { SimClock } from './sim-clock.ts'
import type { SimDatabase } from './sim-database.ts'
import { SimEventLog } from './sim-event-log.ts'
import type { SimTopic } from './sim-event-log.ts'
import { SimJobGrid } from './sim-job-grid.ts'
import type { SimGrid } from './sim-job-grid.ts'
import { SimLedger, encodeJob, simEphemeralSink, simSink } from './sim-ledger.ts'
import type { SimSizes } from './sizes.ts'
import { lineOf } from './workload.ts'
import type { Wire } from './wire.ts'

export interface SimWorld {
  readonly topic: SimTopic
  readonly grid: SimGrid
  readonly database: SimDatabase
  readonly sizes: SimSizes
  readonly observer: Observer
  readonly repairs: RepairWatch
  readonly onHalt: (partition: number) => void
  readonly onDeath: (error: unknown) => void
}

export const secret = 'simulation'
export const scopeOf = (epoch: number): string => `sim.s.t.e${epoch}`

type SimEventValue = [number | null, number[], number]

export class SimNode {
  readonly wire: Wire
  readonly epoch: number
  readonly owners = new Map<number, { owner: PartitionOwner | undefined; stop: AbortController }>()
  readonly readers = new Map<string, { reader: QueueReader; stop: AbortController }>()
  readonly runners: TaskRunner[] = []
  readonly #world: SimWorld
  readonly #version: string
  readonly #clock: SimClock
  readonly #log: SimEventLog
  readonly #grid: SimJobGrid
  readonly #ledger: SimLedger
  readonly #stop = new AbortController()
  #lives = 0

  constructor(world: SimWorld, wire: Wire, epoch: number, version: string) {
    this.#world = { ...world, observer: watchRepairs(world, wire.name, scopeOf(epoch)) }
    this.wire = wire
    this.epoch = epoch
    this.#version = version
    this.#clock = new SimClock(wire)
    this.#log = new SimEventLog(world.topic, wire, (floors) => {
      for (const [partition, floor] of floors) world.database.oracle.floorPublished(partition, Number(floor))
    })
    this.#grid = new SimJobGrid(world.grid, wire)
    this.#ledger = new SimLedger(world.database, wire, epoch)
    for (const task of world.sizes.tasks) {
      const sink = task.isTracked ? simSink(world.database, wire, task.name) : simEphemeralSink(world.database, wire, task.name)
      const runner = new TaskRunner(
        { clock: this.#clock, ledger: this.#ledger as Ledger, observer: this.#world.observer },
        {
          task: task.name,
          everyMs: task.everyMs,
          rowsMax: task.rowsMax ?? 1000,
          bytesMax: task.bytesMax ?? 100_000,
          intervalsMax: Math.max(1, Math.floor(world.sizes.windowSegmentsMax / 2)),
          isTracked: task.isTracked,
          sink: sink as RunningSink,
        },
      )
      this.runners.push(runner)
      this.#run(runner).catch(world.onDeath)
    }
    this.#publish().catch(world.onDeath)
  }

  own(partition: number): void {
    if (this.owners.has(partition)) return
    const stop = new AbortController()
    this.owners.set(partition, { owner: undefined, stop })
    this.#runOwner(partition, stop.signal).catch(this.#world.onDeath)
  }

  disown(partition: number): void {
    this.owners.get(partition)?.stop.abort()
    this.owners.delete(partition)
  }

  serve(partition: number, queue: number): void {
    const name = `${partition}/${queue}`
    if (this.readers.has(name)) return
    const { sizes, observer } = this.#world
    const names = (isTracked: boolean) => sizes.tasks.filter((task) => task.isTracked === isTracked).map((task) => task.name)
    const stop = new AbortController()
    const reader = new QueueReader(
      { grid: this.#grid, ledger: this.#ledger, clock: this.#clock, observer },
      {
        partition,
        queue,
        scope: scopeOf(this.epoch),
        secret,
        trackedTasks: names(true),
        untrackedTasks: names(false),
        windowSegmentsMax: sizes.windowSegmentsMax,
        onJobs: (from) => this.runners.forEach((runner) => runner.notice(from)),
      },
    )
    this.readers.set(name, { reader, stop })
    for (const runner of this.runners) runner.attach(reader)
    reader.run(stop.signal).catch(this.#world.onDeath)
  }

  unserve(partition: number, queue: number): void {
    const name = `${partition}/${queue}`
    const found = this.readers.get(name)
    if (found === undefined) return
    found.stop.abort()
    for (const runner of this.runners) runner.detach(found.reader)
    this.readers.delete(name)
  }

  /** Until its epoch is closed. */
  async #run(runner: TaskRunner): Promise<void> {
    try {
      await runner.run(this.#stop.signal)
    } catch (error) {
      if (!isForebayError(error, 'FB_EPOCH_CLOSED')) throw error
    }
  }

  /** Lives of an owner, one after the other, until its partition is given away. */
  async #runOwner(partition: number, signal: AbortSignal): Promise<void> {
    const { sizes, observer } = this.#world
    while (!signal.aborted) {
      const options = {
        partition,
        queues: sizes.queues,
        owner: `${this.wire.name}.${++this.#lives}`,
        scope: scopeOf(this.epoch),
        secret,
        sections: sectionsOf(sizes.tasks),
        linesBytesMax: sizes.linesBytesMax,
        windowSegmentsMax: sizes.windowSegmentsMax,
        lingerMs: sizes.lingerMs,
      }
      const ports = { log: this.#log, grid: this.#grid, ledger: this.#ledger, clock: this.#clock, observer }
      const owner = new PartitionOwner(ports, options, this.#newConverter())
      const held = this.owners.get(partition)
      if (held === undefined || signal.aborted) return
      held.owner = owner
      try {
        await owner.run(signal)
      } catch (error) {
        if (!isForebayError(error) || error.policy === 'fatal') throw error
        if (error.policy === 'halt' && error.code !== 'FB_EPOCH_CLOSED') {
          observer.count('halts', 1)
          this.#world.onHalt(partition)
        }
        await this.#clock.sleep(error.policy === 'halt' ? 1000 : 100, signal)
      }
    }
  }

  /** Tells the log how far everything is, for lag tools. */
  async #publish(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#clock.sleep(700, this.#stop.signal)
      const floors = new Map(
        [...this.owners].flatMap(([partition, { owner }]) =>
          owner === undefined || owner.floor < 0n ? [] : [[partition, owner.floor] as const],
        ),
      )
      await this.#log.commit(floors).catch((error: unknown) => {
        if (!isForebayError(error)) throw error
      })
    }
  }

  #newConverter(): Converter {
    const { tasks, queues, linesBytesMax } = this.#world.sizes
    const version = this.#version
    const converting = tasks.map((task, index): ConvertingTask => ({
      name: task.name,
      isTracked: task.isTracked,
      convert: (event, at) => {
        const [, jobs, fill] = event as SimEventValue
        const count = jobs[index]!
        if (count === -1) throw new Error('this event cannot be converted')
        if (count === -2) return ['unencodable']
        return Array.from({ length: count }, (_, ordinal) => lineOf(`${task.name}/${at.partition}/${at.offset}/${ordinal}`, fill, version))
      },
      encode: encodeJob,
    }))
    const key = (event: unknown) => {
      const [name] = event as SimEventValue
      if (name === null) throw new Error('this event has no key')
      return `k${name}`
    }
    return new Converter({
      decode: (value) => JSON.parse(value.toString()) as unknown,
      key,
      tasks: converting,
      queues,
      eventBytesMax: 10_000,
      linesBytesMax,
    })
  }

  /** The process is gone: nothing it waits for ever settles. */
  crash(): void {
    this.wire.sever()
    this.#world.grid.listeners.delete(this.wire.node)
  }
}

/** What an owner says when it makes queues again, told to the watch too. */
function watchRepairs({ observer, repairs }: SimWorld, node: string, scope: string): Observer {
  return {
    ...observer,
    log: (level, message, fields) => {
      const partition = /^partition (\d+): the grid lost jobs/.exec(message)?.[1]
      if (partition !== undefined) repairs.repaired(node, scope, Number(partition), fields!['queues'] as number[])
      observer.log(level, message, fields)
    },
  }
}
