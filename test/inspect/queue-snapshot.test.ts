import { expect, it } from 'vitest'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { decodeSegment, encodeSegment } from '../../src/grid/segment.ts'
import { snapshotQueue } from '../../src/inspect/queue-snapshot.ts'
import { copyQueue, queueText } from '../../src/inspect/queue-view.ts'

const secret = 'a secret of the test'
const ring = 'forebay.scope.p2.q0'
const place = { partition: 2, queue: 0 }
const decoded = (sequence: bigint, entry: Buffer) => ({ sequence, segment: decodeSegment(entry, secret) })

function segment(lo: bigint, hi: bigint, key = secret): Buffer {
  const offsets = Array.from({ length: Number(hi - lo) }, (_, index) => lo + 1n + BigInt(index))
  const section = {
    task: 'store',
    kind: 'job' as const,
    offsets,
    timesMs: offsets.map(() => 1000),
    text: offsets.map((o) => `row ${o}\n`).join(''),
  }
  return encodeSegment({ scope: 'scope', partition: 2, queue: 0, owner: 'n1.0', repair: 0, lo, hi }, [section], key)
}

it('copies what a ring holds now, and neither takes anything nor sees what comes later', async () => {
  await using grid = new LocalJobGrid({ capacity: 20 })
  for (let n = 0n; n < 5n; n++) await grid.append(ring, segment(n * 3n, n * 3n + 3n))
  const snapshot = await snapshotQueue(grid, ring, decoded)
  await grid.append(ring, segment(15n, 18n))
  expect(snapshot.slots.map(({ sequence, segment: of }) => [sequence, of?.lo, of?.hi])).toEqual(
    [0n, 1n, 2n, 3n, 4n].map((n) => [n, n * 3n, n * 3n + 3n]),
  )
  expect([snapshot.tailSequence, snapshot.overwritten]).toEqual([4n, 0])
  expect((await grid.read(ring, 0n, { countMax: 10, waitMs: 0 })).entries).toHaveLength(6)
})

it('begins at the head of a ring that has gone round, and names what it cannot read', async () => {
  await using grid = new LocalJobGrid({ capacity: 20 })
  for (let n = 0n; n < 30n; n++) await grid.append(ring, segment(n, n + 1n, n === 29n ? 'another secret of it' : secret))
  const { slots } = await snapshotQueue(grid, ring, decoded)
  expect([slots.length, slots[0]?.sequence, slots.at(-1)?.segment]).toEqual([20, 10n, undefined])
})

it('tells segments, jobs by task, age and at most the lines that were asked for', async () => {
  await using grid = new LocalJobGrid({ capacity: 20 })
  await grid.append(ring, segment(0n, 3n))
  await grid.append(ring, segment(3n, 5n))
  const copy = await copyQueue(grid, place, { scope: 'scope', secret, jobsMax: 4, nowMs: 4000 })
  expect(copy.segments).toMatchObject([
    { sequence: '0', lo: '0', hi: '3', owner: 'n1.0', jobs: { store: { jobs: 3, deadLetters: 0 } }, oldestMs: 1000 },
    { sequence: '1', lines: ['4 store row 4'] },
  ])
  expect(queueText(copy)).toMatch(/^queue 2\/0: 2 segments up to sequence 1[\s\S]*\(0, 3\] +n1\.0 +0 +\S+ +3\.0 s +store 3/)
})

it('finds an empty queue empty', async () => {
  await using grid = new LocalJobGrid({ capacity: 20 })
  expect(await snapshotQueue(grid, ring, decoded)).toEqual({ tailSequence: -1n, slots: [], overwritten: 0 })
})

it('tells the same of its segments without their jobs, out of the headers alone', async () => {
  await using grid = new LocalJobGrid({ capacity: 20 })
  await grid.append(ring, segment(0n, 3n))
  await grid.append(ring, segment(3n, 5n))
  await grid.append(ring, Buffer.from('FBS1 and nothing that follows it, as if it had been cut off in the middle'))
  const options = { scope: 'scope', secret, nowMs: 4000 }
  const proven = await copyQueue(grid, place, { ...options, jobsMax: 1000 })
  const quick = await copyQueue(grid, place, { ...options, jobsMax: 0 })
  expect(quick).toEqual({ ...proven, segments: proven.segments.map((of) => ({ ...of, lines: [] })) })
  expect(quick.segments.map(({ isReadable }) => isReadable)).toEqual([true, true, false])
  expect(await copyQueue(grid, place, { ...options, secret: 'another secret of it', jobsMax: 0 })).toEqual(quick)
})

it('is read beside the reader, never through it', async () => {
  await using grid = new LocalJobGrid({ capacity: 20 })
  await grid.append(ring, segment(0n, 3n))
  const { entries, nextSequence } = await grid.read(ring, 0n, { countMax: 10, waitMs: 0 })
  grid.peek = (_ring, from) => Promise.resolve(from === 0n ? { entries, nextSequence } : { entries: [], nextSequence: from })
  grid.read = () => Promise.reject(new Error('this is the way of the reader'))
  expect((await copyQueue(grid, place, { scope: 'scope', secret, jobsMax: 5, nowMs: 4000 })).segments).toHaveLength(1)
})
