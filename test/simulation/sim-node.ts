/** One incarnation of a node that is told what it owns: the real owners and readers on simulated ports. */
import { isForebayError } from '../../src/errors.ts'
import { Converter, sectionsOf } from '../../src/ingest/converter.ts'
import { PartitionOwner } from '../../src/ingest/partition-owner.ts'
import { QueueReader } from '../../src/work/queue-reader.ts'
import { TaskRunner } from '../../src/work/task-runner.ts'
import { WatermarkWatch } from '../../src/work/watermark-watch.ts'
import type { SimEpoch } from './sim-database.ts'
import { convertingOf, portsOf, runningTasks, scopeOf, secret, tasksOf } from './sim-parts.ts'
import type { SimWorld } from './sim-parts.ts'
import { carefulOf } from './sim-sandbox.ts'
import type { Wire } from './wire.ts'

export class SimNode {
  readonly wire: Wire
  readonly epoch: SimEpoch
  /** A runner met that its epoch is closed, and does not come back. */
  wasClosed = false
  readonly owners = new Map<number, { owner: PartitionOwner | undefined; stop: AbortController }>()
  readonly readers = new Map<string, { reader: QueueReader; stop: AbortController }>()
  readonly runners: TaskRunner[] = []
  readonly #world: SimWorld
  readonly #ports: ReturnType<typeof portsOf>
  readonly #converter: Converter
  readonly #watch: WatermarkWatch
  readonly #stop = new AbortController()
  #lives = 0

  constructor(world: SimWorld, wire: Wire, epoch: SimEpoch) {
    this.#world = world
    this.wire = wire
    this.epoch = epoch
    this.#ports = portsOf(world, wire, epoch)
    const tasks = tasksOf(world, wire, epoch)
    this.#converter = new Converter({ ...convertingOf(world, epoch), tasks })
    Object.assign(this.#ports, carefulOf(world, wire, epoch, this.#converter))
    const intervalsMax = Math.max(1, Math.floor(world.sizes.windowSegmentsMax / 2))
    for (const { name: task, ...rest } of tasks) {
      const runner = new TaskRunner(this.#ports, { ...rest, task, intervalsMax })
      this.runners.push(runner)
      this.#run(runner).catch(world.onDeath)
    }
    this.#watch = new WatermarkWatch(this.#ports)
    this.#watch.run(this.#stop.signal).catch(world.onDeath)
    this.#publish().catch(world.onDeath)
  }

  get partOwners(): PartitionOwner[] {
    return [...this.owners.values()].flatMap(({ owner }) => (owner === undefined ? [] : [owner]))
  }

  get partReaders(): QueueReader[] {
    return [...this.readers.values()].map(({ reader }) => reader)
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
    const { sizes } = this.#world
    const tasks = runningTasks(sizes, this.epoch)
    const names = (isTracked: boolean) => tasks.filter((task) => task.isTracked === isTracked).map((task) => task.name)
    const stop = new AbortController()
    const reader = new QueueReader(this.#ports, {
      partition,
      queue,
      scope: scopeOf(this.epoch),
      secret,
      trackedTasks: names(true),
      untrackedTasks: names(false),
      windowSegmentsMax: sizes.windowSegmentsMax,
      onJobs: (from) => this.runners.forEach((runner) => runner.notice(from)),
    })
    this.readers.set(name, { reader, stop })
    for (const runner of this.runners) runner.attach(reader)
    this.#watch.attach(reader)
    this.#runReader(reader, stop.signal).catch(this.#world.onDeath)
  }

  /** As `Node` does: what a reader holds is flushed until it has noticed that the queue is no longer its own. */
  async #runReader(reader: QueueReader, signal: AbortSignal): Promise<void> {
    await reader.run(signal)
    for (const runner of this.runners) runner.detach(reader)
    this.#watch.detach(reader)
  }

  unserve(partition: number, queue: number): void {
    const name = `${partition}/${queue}`
    this.readers.get(name)?.stop.abort()
    this.readers.delete(name)
  }

  /** Until its epoch is closed. */
  async #run(runner: TaskRunner): Promise<void> {
    try {
      await runner.run(this.#stop.signal)
    } catch (error) {
      if (!isForebayError(error, 'FB_EPOCH_CLOSED')) throw error
      this.wasClosed = true
    }
  }

  /** Lives of an owner, one after the other, until its partition is given away. */
  async #runOwner(partition: number, signal: AbortSignal): Promise<void> {
    const { sizes } = this.#world
    while (!signal.aborted) {
      const options = {
        partition,
        queues: sizes.queues,
        owner: `${this.wire.name}.${++this.#lives}`,
        scope: scopeOf(this.epoch),
        secret,
        sections: sectionsOf(runningTasks(sizes, this.epoch)),
        linesBytesMax: sizes.linesBytesMax,
        windowSegmentsMax: sizes.windowSegmentsMax,
        lingerMs: sizes.lingerMs,
      }
      const owner = new PartitionOwner(this.#ports, options, this.#converter)
      const held = this.owners.get(partition)
      if (held === undefined || signal.aborted) return
      held.owner = owner
      try {
        await owner.run(signal)
      } catch (error) {
        if (!isForebayError(error) || error.policy === 'fatal') throw error
        if (error.policy === 'halt' && error.code !== 'FB_EPOCH_CLOSED') {
          this.#ports.observer.count('halts', 1, String(partition))
        }
        await this.#ports.clock.sleep(error.policy === 'halt' ? 1000 : 100, signal)
      }
    }
  }

  /** Tells the log how far everything is, for lag tools. */
  async #publish(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#ports.clock.sleep(700, this.#stop.signal)
      const floors = new Map(
        [...this.owners].flatMap(([partition, { owner }]) =>
          owner === undefined || owner.floor < 0n ? [] : [[partition, owner.floor] as const],
        ),
      )
      await this.#ports.log.commit(floors).catch((error: unknown) => {
        if (!isForebayError(error)) throw error
      })
    }
  }

  /** The process is gone: nothing it waits for ever settles. */
  crash(): void {
    this.wire.sever()
    this.#world.grid.listeners.delete(this.wire.node)
  }
}
