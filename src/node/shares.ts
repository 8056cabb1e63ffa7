/**
 * Which partitions and queues are whose, as every node that sees the same live nodes decides it: by rendezvous hashing, among the
 * nodes that reach what the work needs (rule 22). A partition needs its part of the log, and the database; a queue the database.
 */
import { flagKey } from '../grid/queue-name.ts'
import type { Cut } from './reach.ts'
import { assign } from './rendezvous.ts'

export interface Share {
  readonly partitions: ReadonlySet<number>
  /** Names of queues as `flagKey` makes them. */
  readonly queues: ReadonlySet<string>
}

export interface Sharer {
  readonly id: string
  readonly cut: Cut
}

export interface SharedWork {
  readonly partitions: number
  /** Queues of each partition. */
  readonly queues: number
}

/** The share of node `id` among `nodes`. */
export function shareOf(id: string, nodes: readonly Sharer[], { partitions, queues }: SharedWork): Share {
  const cuts = new Map(nodes.map((node) => [node.id, node.cut]))
  const numbers = new Map(Array.from({ length: partitions }, (_, partition) => [`p${partition}`, partition]))
  const queueKeys = [...numbers.values()].flatMap((partition) =>
    Array.from({ length: queues }, (_, queue) => flagKey({ partition, queue })),
  )
  const readers = reaching(
    nodes,
    ({ log, database }) => !log && !database,
    ({ doubts }) => doubts.log || doubts.database,
  )
  const canRead = (resource: string, node: string) => cuts.get(node)?.partitions.includes(numbers.get(resource)!) !== true
  const flushers = reaching(
    nodes,
    ({ database }) => !database,
    ({ doubts }) => doubts.database,
  )
  return {
    partitions: new Set(ownedBy(id, assign([...numbers.keys()], readers, canRead)).map((name) => numbers.get(name)!)),
    queues: new Set(ownedBy(id, assign(queueKeys, flushers))),
  }
}

/** The names of those that reach what is needed; of all when none of them does without a doubt, since then it makes no difference who waits. */
function reaching(nodes: readonly Sharer[], reaches: (cut: Cut) => boolean, doubts: (cut: Cut) => boolean): string[] {
  const fitting = nodes.filter(({ cut }) => reaches(cut))
  return (fitting.some(({ cut }) => !doubts(cut)) ? fitting : nodes).map(({ id }) => id)
}

function ownedBy(id: string, owners: ReadonlyMap<string, string>): string[] {
  return [...owners].flatMap(([resource, owner]) => (owner === id ? [resource] : []))
}
