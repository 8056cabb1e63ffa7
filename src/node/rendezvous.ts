/**
 * Who owns what: rendezvous hashing, a pure function of names. Every node that sees the same live nodes decides the same,
 * without asking, and a change of the nodes moves little.
 */
import { must } from '../assert.ts'

/** The node with the highest score for `resource`; undefined without nodes. */
export function ownerOf(resource: string, nodes: readonly string[]): string | undefined {
  let owner: { node: string; score: number } | undefined
  for (const node of nodes) {
    const score = scoreOf(resource, node)
    if (owner === undefined || score > owner.score || (score === owner.score && node < owner.node)) owner = { node, score }
  }
  return owner?.node
}

/**
 * An owner for every resource, in shares that differ by one at most: with few resources plain rendezvous hashing would
 * leave some nodes without any. Pairs are taken in the order of their score; a node that has its share takes no more.
 * The order of the arguments does not matter, nor do duplicates. Empty without nodes.
 */
export function assign(resources: readonly string[], nodes: readonly string[]): Map<string, string> {
  const wanted = [...new Set(resources)].toSorted()
  const loads = new Map([...new Set(nodes)].toSorted().map((node) => [node, 0]))
  const owners = new Map<string, string>()
  if (loads.size === 0) return owners
  const share = Math.floor(wanted.length / loads.size)
  let extras = wanted.length % loads.size
  for (const { resource, node } of pairsByScore(wanted, [...loads.keys()])) {
    const load = must(loads.get(node), 'the load of a node')
    if (owners.has(resource) || load > share || (load === share && extras === 0)) continue
    if (load === share) extras--
    owners.set(resource, node)
    loads.set(node, load + 1)
  }
  return owners
}

/** Sorted from the highest score down; equal scores stay in the order of the names. */
function pairsByScore(resources: readonly string[], nodes: readonly string[]): { resource: string; node: string; score: number }[] {
  const pairs = resources.flatMap((resource) => nodes.map((node) => ({ resource, node, score: scoreOf(resource, node) })))
  return pairs.toSorted((a, b) => b.score - a.score)
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
