/**
 * Who owns what among whole nodes. While faults happen anything goes: two owners, or none. Once they stop, every partition
 * has one owner and every queue one reader, among nodes that live.
 */
import { SimMember } from './sim-member.ts'
import type { SimSizes } from './sizes.ts'

export class OwnershipWatch {
  readonly #sizes: SimSizes
  /** How often a partition was seen with more than one owner. */
  twoOwners = 0

  constructor(sizes: SimSizes) {
    this.#sizes = sizes
  }

  look(nodes: readonly object[]): void {
    const owners = this.#owned(nodes).filter((name) => name.startsWith('partition'))
    if (new Set(owners).size < owners.length) this.twoOwners++
  }

  /** Always true of nodes that are told what they own. */
  hasSettled(nodes: readonly object[]): boolean {
    if (!this.#sizes.isClustered) return true
    const owned = this.#owned(nodes)
    const { partitions, queues } = this.#sizes
    return owned.length === partitions * (1 + queues) && new Set(owned).size === owned.length
  }

  describe(nodes: readonly object[]): string {
    return this.#owned(nodes).sort().join(', ')
  }

  #owned(nodes: readonly object[]): string[] {
    return nodes.flatMap((node) =>
      node instanceof SimMember
        ? [
            ...node.partitions.map((partition) => `partition ${partition}`),
            ...node.partReaders.map(({ id }) => `queue ${id.partition}/${id.queue}`),
          ]
        : [],
    )
  }
}
