import { beforeEach, expect, it } from 'vitest'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { LatestSnapshot } from '../../src/sinks/web-socket/latest-snapshot.ts'
import { LatestValues } from '../../src/sinks/web-socket/latest-values.ts'
import { decodeLatest, encodeLatest } from '../../src/sinks/web-socket/latest-wire.ts'

const seal = { secret: 'a secret of the test', place: 'm' }
const value = (offset: bigint) => ({ partition: 0, offset, timeMs: 0, json: String(offset) })

/** A grid that counts what is put, and refuses the keys in `refused`. */
class CountingGrid extends LocalJobGrid {
  readonly puts: string[] = []
  readonly refused = new Set<string>()

  override put(map: string, key: string, text: string): Promise<void> {
    this.puts.push(key)
    return this.refused.has(key) ? Promise.reject(new Error('away')) : super.put(map, key, text)
  }
}

let grid: CountingGrid
let values: LatestValues
let foreign: number
let snapshot: LatestSnapshot

beforeEach(() => {
  grid = new CountingGrid({ capacity: 1 })
  values = new LatestValues(10_000)
  foreign = 0
  const apply = (key: string, found: Parameters<LatestValues['apply']>[1]) => void values.apply(key, found)
  snapshot = new LatestSnapshot({ grid, map: 'm', secret: seal.secret, values, apply, onForeign: () => foreign++ })
})

function change(key: string, offset: bigint): void {
  values.apply(key, value(offset))
  snapshot.changed(key)
}
const stored = async () => new Map([...(await grid.entries('m'))].map(([key, text]) => [key, decodeLatest(seal, key, text)?.offset]))

it('what the grid does not take is put again, and nothing twice', async () => {
  for (const key of ['A', 'B', 'C']) change(key, 1n)
  grid.refused.add('B')
  await expect(snapshot.write()).rejects.toThrow('away')
  grid.refused.clear()
  await snapshot.write()
  await snapshot.write()
  expect(grid.puts).toEqual(['A', 'B', 'C', 'B'])
})

it('a write puts a bounded number of keys, and the next ones the rest', async () => {
  for (let n = 0; n < 1200; n++) change(`key ${n}`, 1n)
  await snapshot.write()
  expect(grid.puts).toHaveLength(500)
  await snapshot.write()
  await snapshot.write()
  expect(await grid.entries('m')).toHaveProperty('size', 1200)
})

it('an entry that is older is put right at the second look that finds it so, since another node may be about to write it', async () => {
  values.apply('A', value(5n))
  await grid.put('m', 'A', encodeLatest(seal, 'A', value(3n)))
  await snapshot.reconcile()
  await snapshot.write()
  expect(await stored()).toEqual(new Map([['A', 3n]]))
  await snapshot.reconcile()
  await snapshot.write()
  expect(await stored()).toEqual(new Map([['A', 5n]]))
})

it('an entry that is missing is put right at the first look, except a seed, which every node has itself', async () => {
  values.apply('A', value(5n))
  values.apply('B', value(-1n))
  await snapshot.reconcile()
  await snapshot.write()
  expect(await stored()).toEqual(new Map([['A', 5n]]))
})

it('an entry that is newer is taken, and one that is none of ours is told of', async () => {
  values.apply('A', value(5n))
  await grid.put('m', 'A', encodeLatest(seal, 'A', value(9n)))
  await grid.put('m', 'B', 'nonsense')
  await grid.put('m', 'C', encodeLatest({ ...seal, secret: 'a guess' }, 'C', value(10n)))
  await grid.put('m', 'D', encodeLatest(seal, 'A', value(11n)))
  await snapshot.reconcile()
  expect([...values.entries()]).toEqual([['A', value(9n)]])
  expect(foreign).toBe(3)
})

it('a damaged value of a key held here is told of and put right', async () => {
  values.apply('A', value(5n))
  await grid.put('m', 'A', encodeLatest(seal, 'A', value(5n)).replace('"5"', '"99"'))
  await snapshot.reconcile()
  await snapshot.write()
  expect([values.get('A')?.offset, foreign]).toEqual([5n, 1])
  expect(await stored()).toEqual(new Map([['A', 5n]]))
})
