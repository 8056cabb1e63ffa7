/** I10: what a node and the grid hold, against the bound that is computed before anything runs. */
import type { PartitionOwner } from '../../src/ingest/partition-owner.ts'
import { bufferBytesWorstCase, gridBytesWorstCase } from '../../src/node/memory-bound.ts'
import type { GridSettings } from '../../src/config/settings.ts'
import type { QueueReader } from '../../src/work/queue-reader.ts'
import { demand } from '../guarantees/violation.ts'
import { headBytesMax } from './oracle.ts'
import type { SimGrid } from './sim-job-grid.ts'
import type { SimSizes } from './sizes.ts'

interface Holder {
  readonly partOwners: readonly PartitionOwner[]
  readonly partReaders: readonly QueueReader[]
}

/** One open draft and one on its way; a third while the open one is being sealed. */
const draftsMax = 3

export class MemoryWatch {
  readonly #sizes: SimSizes
  readonly #nodeBytesMax: number
  readonly #gridBytesMax: number
  /** The most that a node was seen to hold, as a share of the bound. */
  highest = 0

  constructor(sizes: SimSizes) {
    this.#sizes = sizes
    const { queues, capacity } = sizes
    const grid: GridSettings = {
      mode: 'client',
      clusterName: 'sim',
      members: ['sim'],
      secret: undefined,
      queues,
      capacity,
      segmentBytesMax: sizes.linesBytesMax + headBytesMax,
      lingerMs: sizes.lingerMs,
      backups: 0,
      memberHeapMb: 0,
      beatMs: 300,
      leaseMs: 1200,
      member: undefined,
    }
    // A fetch is the log's: what the simulated one hands out is not held by anybody.
    const events = { kind: 'postgres', fetchBytesMax: 0 } as const
    this.#nodeBytesMax = bufferBytesWorstCase({ events, grid, eventBytesMax: 0 }, sizes.partitions)
    this.#gridBytesMax = gridBytesWorstCase({ grid }, sizes.partitions)
  }

  check(name: string, { partOwners, partReaders }: Holder): void {
    const draftsBytesMax = draftsMax * this.#sizes.linesBytesMax
    let bytes = 0
    for (const { outboxes } of partOwners) {
      for (const { bufferedBytes, queue } of outboxes) {
        demand(bufferedBytes <= draftsBytesMax, 'I10', () => `${name} buffers ${bufferedBytes} bytes for queue ${queue}`)
        bytes += bufferedBytes
      }
    }
    for (const reader of partReaders) bytes += reader.heldBytes
    this.highest = Math.max(this.highest, bytes / this.#nodeBytesMax)
    demand(bytes <= this.#nodeBytesMax, 'I10', () => `${name} holds ${bytes} bytes, the bound is ${this.#nodeBytesMax}`)
  }

  /** The rings of one epoch. */
  checkGrid(grid: SimGrid, scope: string): void {
    let bytes = 0
    for (const [name, { entries }] of grid.rings) if (name.includes(scope)) for (const entry of entries) bytes += entry.length
    demand(bytes <= this.#gridBytesMax, 'I10', () => `the rings hold ${bytes} bytes, the bound is ${this.#gridBytesMax}`)
  }
}
