/**
 * Who owns what: rendezvous hashing, a pure function of names. Every node that sees the same live nodes decides the same,
 * without asking, and a change of the nodes moves little.
 */
/** The node with the highest score for `resource`; undefined without nodes. */
export function ownerOf(resource: string, nodes: readonly string[]): string | undefined {
  let owner: { node: string; score: number } | undefined
  for (const node of nodes) {
    const score = scoreOf(resource, node)
    if (owner === undefined || score > owner.score || (score === owner.score && node < owner.node)) owner = { node, score }
  }
  return owner?.node
}

export type MayOwn = (resource: string, node: string) => boolean

/**
 * An owner for every resource, in shares that differ by one at most: with few resources plain rendezvous hashing would
 * leave some nodes without any. Pairs are taken in the order of their score; a node that has its share takes no more.
 * Where `mayOwn` says no, a resource goes to another node, even beyond its share; where it says no to all nodes, to any.
 * The order of the arguments does not matter, nor do duplicates. Empty without nodes.
 */
export function assign(resources: readonly string[], nodes: readonly string[], mayOwn: MayOwn = () => true): Map<string, string> {
  const wanted = [...new Set(resources)].toSorted()
  const names = [...new Set(nodes)].toSorted()
  const owners = new Map<string, string>()
  if (names.length === 0) return owners
  const loads = names.map(() => 0)
  const share = Math.floor(wanted.length / names.length)
  let extras = wanted.length % names.length
  const hasRoom = (node: number) => loads[node]! < share || (loads[node] === share && extras > 0)
  const scores = scoresOf(wanted, names)
  const order = Uint32Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]! || a - b)
  const place = (isWanted: (resource: number, node: number) => boolean) => {
    for (const pair of order) {
      if (owners.size === wanted.length) return
      const resource = Math.floor(pair / names.length)
      const node = pair % names.length
      if (owners.has(wanted[resource]!) || !isWanted(resource, node)) continue
      if (loads[node] === share) extras--
      loads[node]!++
      owners.set(wanted[resource]!, names[node]!)
    }
  }
  place((resource, node) => hasRoom(node) && mayOwn(wanted[resource]!, names[node]!))
  place((resource, node) => mayOwn(wanted[resource]!, names[node]!))
  place(() => true)
  return owners
}

/** The score of each pair, all nodes of the first resource first. */
function scoresOf(resources: readonly string[], nodes: readonly string[]): Uint32Array {
  const scores = new Uint32Array(resources.length * nodes.length)
  let pair = 0
  for (const resource of resources) for (const node of nodes) scores[pair++] = scoreOf(resource, node)
  return scores
}

/** FNV-1a over both names, then mixed, so that names that differ in one digit score independently. */
function scoreOf(resource: string, node: string): number {
  let hash = 0x811c9dc5
  const text = `${node}\n${resource}`
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
