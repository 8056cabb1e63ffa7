/** One incarnation of a whole node: the real `Node` with the real `Membership`, which find their share by themselves. */
import { isForebayError } from '../../src/errors.ts'
import { Converter } from '../../src/ingest/converter.ts'
import type { PartitionOwner } from '../../src/ingest/partition-owner.ts'
import { Membership } from '../../src/node/membership.ts'
import { noCut } from '../../src/node/reach.ts'
import { Node } from '../../src/node/node.ts'
import type { QueueReader } from '../../src/work/queue-reader.ts'
import type { SimEpoch } from './sim-database.ts'
import { convertingOf, portsOf, scopeOf, secret, tasksOf } from './sim-parts.ts'
import type { SimWorld } from './sim-parts.ts'
import { carefulOf } from './sim-sandbox.ts'
import type { Wire } from './wire.ts'

export class SimMember {
  readonly wire: Wire
  readonly epoch: SimEpoch
  /** It stopped by itself: asked to, or because its epoch was closed. */
  isEnded = false
  readonly #node: Node
  readonly #world: SimWorld
  readonly #stop = new AbortController()

  constructor(world: SimWorld, wire: Wire, epoch: SimEpoch) {
    this.#world = world
    this.wire = wire
    this.epoch = epoch
    const { sizes } = world
    const scope = scopeOf(epoch)
    const ports = portsOf(world, wire, epoch)
    const info = { epoch: epoch.number, http: null, pid: 1, cut: noCut }
    const membership = new Membership(ports, { id: wire.name, scope }, info)
    const tasks = tasksOf(world, wire, epoch)
    const converter = new Converter({ ...convertingOf(world, epoch), tasks })
    this.#node = new Node(
      { ...ports, membership, ...carefulOf(world, wire, epoch, converter) },
      {
        ...convertingOf(world, epoch),
        id: wire.name,
        scope,
        secret,
        partitions: sizes.partitions,
        windowSegmentsMax: sizes.windowSegmentsMax,
        lingerMs: sizes.lingerMs,
        tasks,
      },
    )
    this.#run().catch(world.onDeath)
  }

  get partOwners(): PartitionOwner[] {
    return [...this.#node.owners.values()].flatMap(({ part }) => (part === undefined ? [] : [part]))
  }

  get partReaders(): readonly QueueReader[] {
    return this.#node.readers
  }

  /** Partitions it holds for its own, halted ones too. */
  get partitions(): number[] {
    return [...this.#node.owners.keys()]
  }

  async #run(): Promise<void> {
    try {
      await this.#node.run(this.#stop.signal)
    } catch (error) {
      if (!isForebayError(error, 'FB_EPOCH_CLOSED')) throw error
    }
    this.isEnded = true
  }

  get isStopping(): boolean {
    return this.#stop.signal.aborted
  }

  /** SIGTERM. */
  stop(): void {
    this.#stop.abort()
  }

  /** The process is gone: nothing it waits for ever settles. */
  crash(): void {
    this.wire.sever()
    this.#world.grid.listeners.delete(this.wire.node)
  }
}
