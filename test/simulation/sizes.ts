/** How large one schedule is: small enough that windows fill, segments are cut and rings overwrite. */
import type { Random } from './random.ts'
import { drawTasks } from './workload.ts'
import type { SimTask, SimTraffic } from './workload.ts'

export interface SimSizes {
  readonly nodes: number
  readonly partitions: number
  readonly queues: number
  readonly traffic: SimTraffic
  readonly tasks: readonly SimTask[]
  readonly windowSegmentsMax: number
  readonly linesBytesMax: number
  readonly lingerMs: number
  readonly capacity: number
  readonly firstOffset: number
  readonly firstEvents: number
  /** Chance of a new event per step while faults happen. */
  readonly produceRate: number
  readonly faultySteps: number
  /** Whole nodes that find their share by membership, instead of owners and readers that are told. */
  readonly isClustered: boolean
}

/** Seldom an event, and tasks of long cadence among others: queues stand idle for seconds while the floor moves. */
export function drawCalmSizes(random: Random): SimSizes {
  const sizes = drawSizes(random)
  const tasks = sizes.tasks.map((task) => (random.chance(0.4) ? { ...task, everyMs: random.int(1000, 4000) } : task))
  const produceRate = 0.005 + random.next() * 0.02
  return { ...sizes, tasks, produceRate, firstEvents: random.int(0, 4), faultySteps: 2500, isClustered: false }
}

/**
 * A hot key whose large jobs fill small windows, beside queues whose open drafts wait long for company: a repair of one queue
 * then meets what others have buffered and not sent.
 */
export function drawHotSizes(random: Random): SimSizes {
  const windowSegmentsMax = random.int(2, 3)
  return {
    ...drawSizes(random),
    partitions: 1,
    queues: random.int(2, 3),
    traffic: { keys: random.int(4, 8), hotShare: 0.5 + random.next() * 0.3 },
    windowSegmentsMax,
    capacity: 2 * windowSegmentsMax + 16,
    lingerMs: random.chance(0.3) ? random.int(2, 10) : random.int(500, 2000),
    produceRate: 0.1 + random.next() * 0.15,
    isClustered: false,
  }
}

export function drawSizes(random: Random): SimSizes {
  const windowSegmentsMax = random.int(2, 6)
  return {
    nodes: random.int(2, 3),
    partitions: random.int(1, 2),
    queues: random.int(1, 3),
    traffic: { keys: random.int(2, 8), hotShare: 0 },
    tasks: drawTasks(random),
    windowSegmentsMax,
    linesBytesMax: random.int(900, 1500),
    lingerMs: random.int(2, 40),
    capacity: 2 * windowSegmentsMax + 16,
    // Offsets of one digit beside those of two and three: compared as strings they would be out of order.
    firstOffset: random.pick([0, 0, 5, 95]),
    firstEvents: random.int(3, 25),
    produceRate: 0.02 + random.next() * 0.08,
    faultySteps: random.int(450, 900),
    isClustered: random.chance(0.3),
  }
}
