/**
 * The memory bound of protocol rule 3: what the grid and one node hold at the very worst, computed before anything runs.
 */
import { totalmem } from 'node:os'
import { ForebayError } from '../errors.ts'
import { recentEntriesMax } from '../grid/job-grid.ts'
import type { TaskDefinition } from '../pipeline/pipeline.ts'
import { sizeText } from '../text/units.ts'
import { readEntriesMax } from '../work/queue-reader.ts'
import { windowSegmentsMax } from '../config/settings.ts'
import type { GridSettings, NodeSettings } from '../config/settings.ts'

/**
 * Of one partition, in sizes of a fetch: the batch that is worked on, and the next one as it comes in, first in the pieces of the
 * socket and then whole.
 */
const fetchesHeld = 3
/** In Postgres' log the objects of their events take up to 1.25 times as much again, with events of 128 bytes; less with larger ones. */
const eventObjectsFactor = 2 * 1.25
/** In Kafka's: the portion of events that is worked on and the next one, with their objects; each may end with an event beyond its size. */
const portionsHeld = 2
/** And an event in the pieces of which it is inflated, and put together from them. */
const eventsHeld = 2
/** And the block that is being inflated: lz4 has the largest, and zstd a window of that order. */
const blockBytesMax = 4 * 1024 * 1024
/** Key and headers of an event. */
const besideValueBytesMax = 64 * 1024
/**
 * Of one queue, in sizes of a segment: one open draft and one on its way, whose lines are text in pieces, with their offsets and
 * times, which takes up to four times their bytes; and the encoded segment, twice while the client copies it.
 */
const draftBytesFactor = 2 * 4 + 2
/** Line offsets and times that a reader decodes out of a segment beside its bytes, for lines of 50 bytes. */
const decodedShare = 1.2
/** A read of a ring comes in as pieces of the socket and is put together from them. */
const readBytesFactor = 2
/** A member needs room for its own objects and for copies in migration. */
const memberHeapShareMax = 0.8
const machineShareMax = 0.8

export interface MemoryBound {
  /** Full rings and their backups, over all members. */
  readonly gridBytes: number
  /** What one member holds of it after as many others died as there are backups; null when the grid is in the process or not ours. */
  readonly memberBytes: number | null
  /** Buffers of a node that owns every partition and every queue, and the values of its channels. */
  readonly bufferBytes: number
  /** The same and its rings when the grid is in the process. */
  readonly nodeBytes: number
}

type Sized = Pick<NodeSettings, 'events' | 'grid' | 'eventBytesMax'>

/** Bytes of full rings with their backups, over all members. A single member has nowhere to keep backups. */
export function gridBytesWorstCase({ grid }: Pick<Sized, 'grid'>, partitions: number): number {
  return ringBytes(grid, partitions) * copiesOn(grid, memberCount(grid))
}

/**
 * Bytes of buffers of a node that owns everything: fetches, drafts of segments, and what its readers hold. Those take a full window
 * and one read beyond it, and `sinkBytes`, what the sinks hold; own segments are kept for them beside a grid that is elsewhere. COPY takes the segments as they are; merged rows are few against them.
 */
export function bufferBytesWorstCase({ events, grid, eventBytesMax }: Sized, partitions: number, sinkBytes = 0): number {
  const queues = partitions * grid.queues
  const { segmentBytesMax, capacity } = grid
  const fetches = partitions * (events.fetchBytesMax * fetchesHeld + eventBytesOf(events, eventBytesMax))
  const drafts = queues * segmentBytesMax * draftBytesFactor
  const windows = queues * segmentBytesMax * windowSegmentsMax(capacity) * decodedShare
  const reads = queues * segmentBytesMax * Math.min(readEntriesMax, capacity) * readBytesFactor
  const recents = grid.mode === 'local' ? 0 : queues * segmentBytesMax * recentEntriesMax
  return Math.ceil(fetches + drafts + windows + reads + recents + sinkBytes)
}

/** The same with the rings, when they are in the process. */
export function nodeBytesWorstCase(settings: Sized, partitions: number, sinkBytes = 0): number {
  const { grid } = settings
  return bufferBytesWorstCase(settings, partitions, sinkBytes) + (grid.mode === 'local' ? ringBytes(grid, partitions) : 0)
}

export function memoryBound(settings: Sized, partitions: number, sinkBytes = 0): MemoryBound {
  const { grid } = settings
  const survivors = Math.max(1, memberCount(grid) - grid.backups)
  const memberBytes = grid.mode === 'local' ? null : (ringBytes(grid, partitions) * copiesOn(grid, survivors)) / survivors
  const gridBytes = gridBytesWorstCase(settings, partitions)
  const bufferBytes = bufferBytesWorstCase(settings, partitions, sinkBytes)
  return { gridBytes, memberBytes, bufferBytes, nodeBytes: nodeBytesWorstCase(settings, partitions, sinkBytes) }
}

/**
 * Throws FB_CONFIG with the numbers when full rings would not fit into the members' heaps, or a node's buffers into this
 * machine. `sinkBytes`: what its sinks hold (default nothing). `machineBytes`: memory this process may use; default: that of the machine, or of
 * its container.
 */
export function checkMemory(
  settings: Sized,
  partitions: number,
  { sinkBytes = 0, machineBytes = memoryOfMachine() }: { sinkBytes?: number; machineBytes?: number } = {},
): MemoryBound {
  const bound = memoryBound(settings, partitions, sinkBytes)
  const { grid } = settings
  const heapBytes = grid.memberHeapMb * 1024 * 1024
  const rings = `${partitions} partitions x ${grid.queues} queues x ${grid.capacity} segments x ${sizeText(grid.segmentBytesMax)}`
  if (bound.memberBytes !== null && bound.memberBytes > heapBytes * memberHeapShareMax) {
    throw new ForebayError(
      'FB_CONFIG',
      `the grid does not fit: full rings (${rings}, ${grid.backups} backups on ${memberCount(grid)} members) need ${sizeText(bound.memberBytes)} in each member` +
        ` when ${grid.backups} of them are gone, more than ${memberHeapShareMax * 100}% of grid.memberHeap (${sizeText(heapBytes)}); raise grid.memberHeap, or lower grid.capacity or grid.segmentBytesMax`,
    )
  }
  if (bound.nodeBytes > machineBytes * machineShareMax) {
    throw new ForebayError(
      'FB_CONFIG',
      `a node does not fit: owning everything (${rings}, fetches of ${sizeText(settings.events.fetchBytesMax)}${sinkBytes === 0 ? '' : `, ${sizeText(sinkBytes)} of its sinks`}) it holds ${sizeText(bound.nodeBytes)},` +
        ` more than ${machineShareMax * 100}% of the ${sizeText(machineBytes)} it may use; lower grid.capacity, grid.segmentBytesMax, events.fetchBytesMax or events.inflatedBytesMax`,
    )
  }
  return bound
}

/** What the sinks of `tasks` hold on a node at most. */
export function sinkBytesOf(tasks: readonly Pick<TaskDefinition, 'sink'>[]): number {
  return tasks.reduce((sum, { sink }) => sum + (sink.traits?.memoryBytesMax ?? 0), 0)
}

/** Of one partition, beside what was fetched. */
function eventBytesOf(events: NodeSettings['events'], eventBytesMax: number): number {
  if (events.kind === 'postgres') return events.fetchBytesMax * eventObjectsFactor
  return events.inflatedBytesMax * portionsHeld + (eventBytesMax + besideValueBytesMax) * (portionsHeld + eventsHeld) + blockBytesMax
}

function ringBytes(grid: GridSettings, partitions: number): number {
  return partitions * grid.queues * grid.capacity * grid.segmentBytesMax
}

function memberCount(grid: GridSettings): number {
  return Math.max(1, grid.members.length)
}

function copiesOn(grid: GridSettings, members: number): number {
  return grid.mode === 'local' ? 1 : Math.min(1 + grid.backups, members)
}

function memoryOfMachine(): number {
  // A limit of the container counts when it is below the machine's memory; without one the figure is huge or 0.
  const constrained = process.constrainedMemory()
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem()
}
