/**
 * What `forebay tune` advises for the grid. Pure.
 *
 * Segments: the smallest size that holds twice what a queue collects in `linger` at the busiest rate, the largest event seen, and that carries four
 * times the rate of a queue with one append after the other. Queues: two for each node over all partitions, or as many as keep one
 * queue's rate below half of what a ring takes. Capacity: a window that holds a second of the busiest rate, so that a database that
 * stands still for that long stops no reading, as far as it fits the heap that the members have. Heap: what full rings need with one
 * fifth left free. Backups: one where there are several members.
 */
import { memoryBound } from '../node/memory-bound.ts'
import type { MemoryBound } from '../node/memory-bound.ts'
import { windowSegmentsMax } from '../config/settings.ts'
import type { GridSettings, NodeSettings } from '../config/settings.ts'
import type { Measurements } from './measurements.ts'
import type { GridChoice } from './predict.ts'
import { meanTimeAt } from './series.ts'

export interface GridAdvice {
  /** Routing. */
  readonly queues: number
  /** Routing. */
  readonly segmentBytesMax: number
  readonly capacity: number
  readonly backups: number
  readonly memberHeapMb: number
  readonly worstCase: MemoryBound
}

export interface GridNeeds {
  readonly eventLinesBytesMax: number
  readonly isRoutingFree: boolean
  readonly sinkBytes: number
}

const kibibyte = 1024
const segmentSizes = [96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192].map((size) => size * kibibyte)
const capacityLeast = 48
const capacityMost = 4096
const heapStepMb = 128
const heapMbLeast = 256
const queuesMost = 64
const headBytesMax = 4096
const mebibyte = kibibyte ** 2
const heapShare = 0.8
const windowMs = 1000

/**
 * Without `isRoutingFree` queues and segment size stay as they are set, and the rest is fitted to them. `sinkBytes` push to clients: they
 * count in the worst case, as they do at start.
 */
export function recommendGrid(
  measurements: Pick<Measurements, 'events' | 'grid'>,
  settings: Pick<NodeSettings, 'events' | 'grid' | 'eventBytesMax'>,
  { eventLinesBytesMax, isRoutingFree, sinkBytes }: GridNeeds,
): GridAdvice {
  const { grid } = settings
  const routing = isRoutingFree ? routingOf(measurements, grid, eventLinesBytesMax) : grid
  const { queues, segmentBytesMax } = routing
  const backups =
    grid.mode !== 'local' && grid.members.length > 1 ? Math.max(1, Math.min(grid.backups, grid.members.length - 1)) : grid.backups
  const routed = { ...grid, queues, segmentBytesMax, backups }
  const capacity = capacityOf(settings, routed, measurements.events)
  const worstCase = memoryBound({ ...settings, grid: { ...routed, capacity } }, measurements.events.partitions, sinkBytes)
  const heapMb = Math.ceil((worstCase.memberBytes ?? 0) / heapShare / mebibyte / heapStepMb) * heapStepMb
  const memberHeapMb = worstCase.memberBytes === null ? grid.memberHeapMb : Math.max(heapMbLeast, heapMb)
  return { queues, segmentBytesMax, backups, capacity, memberHeapMb, worstCase }
}

function routingOf(
  { events, grid: measured }: Pick<Measurements, 'events' | 'grid'>,
  grid: GridSettings,
  eventLinesBytesMax: number,
): Pick<GridAdvice, 'queues' | 'segmentBytesMax'> {
  const nodes = Math.max(1, grid.members.length)
  const bytesPerMs = (events.peakPerSecond / events.partitions / 1000) * events.lineBytesPerEvent
  const bytesPerMsOf = (size: number) => size / Math.max(1e-6, meanTimeAt(measured.append, size))
  const ringBytesPerMs = Math.max(...measured.append.map(({ size }) => bytesPerMsOf(size)))
  const queues = Math.min(queuesMost, Math.max(1, Math.ceil((2 * nodes) / events.partitions), Math.ceil((2 * bytesPerMs) / ringBytesPerMs)))
  const least = Math.max((2 * bytesPerMs * grid.lingerMs) / queues, eventLinesBytesMax + headBytesMax)
  const segmentBytesMax = segmentSizes.find((size) => size >= least && bytesPerMsOf(size) >= (4 * bytesPerMs) / queues)
  return { queues, segmentBytesMax: segmentBytesMax ?? segmentSizes.at(-1)! }
}

function capacityOf(
  settings: Pick<NodeSettings, 'events' | 'grid' | 'eventBytesMax'>,
  grid: GridSettings,
  { peakPerSecond, partitions, lineBytesPerEvent }: Measurements['events'],
): number {
  const perMs = peakPerSecond / partitions / 1000
  const byBytes = ((perMs / grid.queues) * lineBytesPerEvent) / grid.segmentBytesMax
  const byLinger = 1 / (Math.max(1, grid.lingerMs) + 1 / Math.max(perMs, 1e-9))
  const wanted = 2 * Math.ceil(windowMs * Math.max(byBytes, byLinger)) + 16
  const heapBytes = Math.max(grid.memberHeapMb, heapMbLeast) * mebibyte * heapShare
  const perSlot =
    memoryBound({ ...settings, grid: { ...grid, mode: grid.mode === 'local' ? 'client' : grid.mode, capacity: 1 } }, partitions)
      .memberBytes ?? 0
  const fits = Math.floor(heapBytes / Math.max(1, perSlot))
  const capacity = Math.min(Math.max(wanted, capacityLeast), capacityMost, Math.max(fits, 20))
  return Math.max(20, capacity - (capacity % 2))
}

/** Of settings, for the model. */
export function gridChoiceOf({
  queues,
  segmentBytesMax,
  capacity,
  lingerMs,
}: Pick<GridSettings, 'queues' | 'segmentBytesMax' | 'capacity' | 'lingerMs'>): GridChoice {
  return { queues, segmentBytesMax, lingerMs, windowSegmentsMax: windowSegmentsMax(capacity) }
}
