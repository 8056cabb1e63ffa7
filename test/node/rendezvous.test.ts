import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { must } from '../../src/assert.ts'
import { assign, ownerOf } from '../../src/node/rendezvous.ts'

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}${n}`)
const nodeIds = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,12}$/), { minLength: 1, maxLength: 8 })
const resourceNames = fc.uniqueArray(fc.stringMatching(/^[a-z0-9.]{1,12}$/), { maxLength: 40 })

function loadsOf(owners: ReadonlyMap<string, string>, nodes: readonly string[]): number[] {
  return nodes.map((node) => [...owners.values()].filter((owner) => owner === node).length)
}

describe('ownerOf', () => {
  it('names one of the nodes whatever their order', () => {
    fc.assert(
      fc.property(fc.string(), nodeIds, (resource, nodes) => {
        const owner = must(ownerOf(resource, nodes), 'an owner')
        expect(nodes).toContain(owner)
        expect(ownerOf(resource, nodes.toReversed())).toBe(owner)
      }),
    )
  })

  it('moves only what the node that leaves owned', () => {
    fc.assert(
      fc.property(fc.string(), nodeIds, (resource, nodes) => {
        const owner = must(ownerOf(resource, nodes), 'an owner')
        for (const gone of nodes.filter((node) => node !== owner))
          expect(
            ownerOf(
              resource,
              nodes.filter((node) => node !== gone),
            ),
          ).toBe(owner)
      }),
    )
  })

  it('names nobody without nodes', () => {
    expect(ownerOf('p0', [])).toBeUndefined()
  })

  it('spreads names that differ in one digit', () => {
    const nodes = names('node-', 3)
    const owners = names('p', 3000).map((resource) => ownerOf(resource, nodes))
    for (const node of nodes) expect(owners.filter((owner) => owner === node).length).toBeGreaterThan(850)
  })
})

describe('assign', () => {
  it('gives every resource one owner and nobody more than one above another', () => {
    fc.assert(
      fc.property(resourceNames, nodeIds, (resources, nodes) => {
        const owners = assign(resources, nodes)
        expect([...owners.keys()].toSorted()).toEqual(resources.toSorted())
        const loads = loadsOf(owners, nodes)
        expect(loads.reduce((a, b) => a + b, 0)).toBe(resources.length)
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('depends on the names only, not on their order or repetition', () => {
    fc.assert(
      fc.property(resourceNames, nodeIds, (resources, nodes) => {
        const sorted = (owners: Map<string, string>) => [...owners].toSorted()
        expect(sorted(assign([...resources.toReversed(), ...resources], nodes.toReversed()))).toEqual(sorted(assign(resources, nodes)))
      }),
    )
  })

  it.each([
    [4, 3],
    [8, 3],
    [3, 3],
    [32, 5],
  ])('leaves none of the nodes idle: %d resources over %d nodes', (resources, nodes) => {
    for (let round = 0; round < 50; round++) {
      const ids = names(`round-${round}-node-`, nodes)
      expect(Math.min(...loadsOf(assign(names('p', resources), ids), ids))).toBe(Math.floor(resources / nodes))
    }
  })

  it.each([
    [4, 3],
    [8, 3],
    [32, 3],
    [32, 6],
  ])('moves little when a node leaves: %d resources, %d nodes', (count, nodeCount) => {
    const resources = names('p', count)
    let moved = 0
    let lost = 0
    for (let round = 0; round < 100; round++) {
      const nodes = names(`round-${round}-node-`, nodeCount)
      const [gone, ...rest] = nodes
      const before = assign(resources, nodes)
      const after = assign(resources, rest)
      lost += [...before.values()].filter((owner) => owner === gone).length
      moved += resources.filter((resource) => before.get(resource) !== after.get(resource)).length
    }
    // What the lost node owned has to move; keeping the shares even may move about as much again.
    expect(moved).toBeGreaterThanOrEqual(lost)
    expect(moved).toBeLessThan(lost * 2)
  })

  it('is empty without nodes or without resources', () => {
    expect(assign(['a'], [])).toEqual(new Map())
    expect(assign([], ['a'])).toEqual(new Map())
  })
})
