import { describe, expect, it } from 'vitest'
import stockTicks from '../../examples/stock-ticks/pipeline.ts'
import { sinkBytesOf, checkMemory, gridBytesWorstCase, memoryBound, nodeBytesWorstCase } from '../../src/node/memory-bound.ts'
import type { EventSettings, GridSettings } from '../../src/config/settings.ts'

const mib = 1024 * 1024
const gib = 1024 * mib

function settingsWith(grid: Partial<GridSettings>) {
  const base: GridSettings = {
    mode: 'embedded',
    clusterName: 'c',
    members: ['a:1', 'b:1', 'c:1'],
    secret: undefined,
    queues: 2,
    capacity: 144,
    segmentBytesMax: 128 * 1024,
    lingerMs: 5,
    backups: 1,
    memberHeapMb: 512,
    beatMs: 300,
    leaseMs: 1200,
    member: undefined,
  }
  return { events: { kind: 'postgres', fetchBytesMax: 4 * mib } as const, grid: { ...base, ...grid }, eventBytesMax: mib }
}

describe('The memory bound', () => {
  it('counts every slot of every ring and its backups', () => {
    // 4 partitions x 2 queues x 144 slots x 128 KiB = 144 MiB
    expect(gridBytesWorstCase(settingsWith({}), 4)).toBe(288 * mib)
    expect(gridBytesWorstCase(settingsWith({ backups: 0 }), 4)).toBe(144 * mib)
    expect(gridBytesWorstCase(settingsWith({ queues: 4 }), 4)).toBe(576 * mib)
  })

  it('counts no backups where there is nowhere to keep them', () => {
    expect(gridBytesWorstCase(settingsWith({ members: ['a:1'] }), 4)).toBe(144 * mib)
    expect(gridBytesWorstCase(settingsWith({ mode: 'local', members: [] }), 4)).toBe(144 * mib)
  })

  it('gives a member its share once the others it may lose are gone', () => {
    expect(memoryBound(settingsWith({}), 4).memberBytes).toBe(144 * mib)
    expect(memoryBound(settingsWith({ members: ['a:1', 'b:1'] }), 4).memberBytes).toBe(144 * mib)
    expect(memoryBound(settingsWith({ mode: 'local', members: [] }), 4).memberBytes).toBeNull()
  })

  it('counts fetches, drafts and windows of a node that owns everything, and its rings when they are in the process', () => {
    // 4 partitions with 5.5 fetches of 4 MiB; 8 queues with 10 segments of 128 KiB for drafts, 64 x 1.2 for the window, 16 x 2 for a read
    // and 8 of its own beside a grid that is elsewhere.
    expect(nodeBytesWorstCase(settingsWith({}), 4)).toBe(Math.ceil((88 + 10 + 64 * 1.2 + 32 + 8) * mib))
    expect(nodeBytesWorstCase(settingsWith({ mode: 'local' }), 4)).toBe(Math.ceil((88 + 10 + 64 * 1.2 + 32 + 144) * mib))
  })

  it('counts what a fetch from Kafka is inflated to, and the largest event', () => {
    const events = { kind: 'kafka', fetchBytesMax: 4 * mib, inflatedBytesMax: 2 * mib } as unknown as EventSettings
    const bytesOf = (over: Partial<EventSettings & { inflatedBytesMax: number }>, eventBytesMax = mib) =>
      memoryBound({ ...settingsWith({}), events: { ...events, ...over } as EventSettings, eventBytesMax }, 1).bufferBytes
    // 3 fetches of 4 MiB, 2 portions of 2 MiB, 4 events of 1 MiB with 64 KiB beside the value, and a block of 4 MiB; the rest as with any log.
    expect(bytesOf({}) - memoryBound(settingsWith({}), 1).bufferBytes).toBe((12 + 4 + 4 + 4 / 16 + 4 - 22) * mib)
    expect(bytesOf({ inflatedBytesMax: 3 * mib }) - bytesOf({})).toBe(2 * mib)
    expect(bytesOf({}, 64 * mib) - bytesOf({})).toBe(4 * 63 * mib)
  })

  it('counts what the sinks hold: of a channel its values, with what is made of them', () => {
    const sinkBytes = sinkBytesOf(stockTicks.tasks)
    expect(sinkBytes).toBe((4.5 * 64 + 32) * mib)
    expect(memoryBound(settingsWith({}), 4, sinkBytes).bufferBytes - memoryBound(settingsWith({}), 4).bufferBytes).toBe(sinkBytes)
    expect(() => checkMemory(settingsWith({}), 4, { sinkBytes, machineBytes: 512 * mib })).toThrow(/, 320MiB of its sinks\) it holds/)
    expect(() => checkMemory(settingsWith({}), 4, { machineBytes: 512 * mib })).not.toThrow()
  })

  it('lets pass what fits', () => {
    expect(checkMemory(settingsWith({}), 4, { machineBytes: gib })).toMatchObject({ gridBytes: 288 * mib, memberBytes: 144 * mib })
  })

  it('refuses rings that do not fit into the members, with the numbers', () => {
    expect(() => checkMemory(settingsWith({ memberHeapMb: 128 }), 4, { machineBytes: gib })).toThrow(
      /4 partitions x 2 queues x 144 segments x 128KiB, 1 backups on 3 members\) need 144MiB .* more than 80% of grid\.memberHeap \(128MiB\)/,
    )
  })

  it('refuses buffers that do not fit into the machine, with the numbers', () => {
    expect(() => checkMemory(settingsWith({}), 4, { machineBytes: 100 * mib })).toThrow(
      /it holds 214.8MiB, more than 80% of the 100MiB it may use/,
    )
  })
})
