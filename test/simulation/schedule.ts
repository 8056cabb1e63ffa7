/** One schedule: a seed, a world of its own, faults for a while, then peace, in which everything must come to its end. */
import { counterNames } from '../../src/observer.ts'
import type { CounterName, Observer } from '../../src/observer.ts'
import { queueOf } from '../../src/ingest/converter.ts'
import { lowestWatermark } from '../../src/offsets/ledger.ts'
import { Violation, demand } from '../guarantees/violation.ts'
import { Faults, losses } from './faults.ts'
import type { FaultName } from './faults.ts'
import { Nemesis } from './nemesis.ts'
import { Oracle } from './oracle.ts'
import { Random } from './random.ts'
import { RepairWatch } from './repair-watch.ts'
import { Scheduler } from './scheduler.ts'
import { SimDatabase } from './sim-database.ts'
import { SimTopic } from './sim-event-log.ts'
import { SimGrid } from './sim-job-grid.ts'
import { scopeOf, secret } from './sim-node.ts'
import { drawSizes } from './sizes.ts'

export interface ScheduleResult {
  readonly seed: number
  readonly steps: number
  readonly faults: number
  readonly hash: number
  readonly counts: Readonly<Record<string, number>>
  /** What went wrong, or undefined. */
  readonly violation: string | undefined
}

/** Changes one thing in a world, to see whether the simulation notices. */
export type Mutation = (world: { database: SimDatabase; grid: SimGrid; topic: SimTopic }) => void

export interface ScheduleOptions {
  readonly onTrace?: ((line: string) => void) | undefined
  readonly mutate?: Mutation | undefined
}

const peaceStepsMax = 40_000

export async function runSchedule(seed: number, options: ScheduleOptions = {}): Promise<ScheduleResult> {
  const random = new Random(seed)
  const sizes = drawSizes(random)
  const faults = new Faults(random)
  const scheduler = new Scheduler(random)
  scheduler.haste = 0.02 + random.next() * 0.2
  scheduler.onTrace = options.onTrace
  // In some schedules nothing is ever lost and nobody takes over: there no repair may happen (L2).
  const isLossless = random.chance(0.25)
  if (isLossless)
    faults.disable([...losses, 'crash', 'falseDeath', 'upgrade', 'pause', 'cutPort', 'duplicate', 'retentionPast', 'foreignEntry'])
  const versions = ['v1']
  const versionOf = (scope: string) => versions.find((_, i) => scope === scopeOf(i + 1))
  const repairs: RepairWatch = new RepairWatch({
    watermarkOf: (partition, queue) => lowestWatermark(database.view(partition), queue),
    windowSegmentsMax: sizes.windowSegmentsMax,
  })
  const oracle = new Oracle({
    repairs,
    tasks: sizes.tasks,
    queueOfKey: (key) => queueOf(key, sizes.queues),
    secret,
    versionOf,
    linesBytesMax: sizes.linesBytesMax,
  })
  const topic = new SimTopic({
    random,
    partitions: sizes.partitions,
    keys: sizes.keys,
    tasks: sizes.tasks,
    oracle,
    firstOffset: sizes.firstOffset,
  })
  for (let i = 0; i < sizes.firstEvents; i++) topic.produce(random.int(0, sizes.partitions - 1), 0)
  const grid = new SimGrid(sizes.capacity, {
    appended: (ring, entry) => oracle.appended(ring, entry),
    removed: (entry, pushers) => repairs.removed(entry, pushers),
    hidden: (entry) => repairs.hidden(entry),
  })
  const database: SimDatabase = new SimDatabase({
    oracle,
    scheduler,
    tasks: sizes.tasks,
    partitions: sizes.partitions,
    queues: sizes.queues,
    floor: BigInt(sizes.firstOffset) - 1n,
    version: 'v1',
  })
  for (let p = 0; p < sizes.partitions; p++) oracle.floorRaised(p, sizes.firstOffset - 1)
  const counts: Record<string, number> = {}
  let death: unknown
  const observer = countingObserver(counts)
  const halted = new Set<number>()
  const world = {
    topic,
    grid,
    database,
    sizes,
    observer,
    repairs,
    onHalt: (partition: number) => void halted.add(partition),
    onDeath: (error: unknown) => void (death ??= error),
  }
  const nemesis = new Nemesis({ world, random, faults, scheduler, versions })
  options.mutate?.({ database, grid, topic })
  const alive = () => {
    if (death instanceof Error)
      throw death instanceof Violation ? death : new Violation('crash', `a part of a node died: ${death.stack ?? death.message}`)
  }
  const isEnded = (partition: number) => database.partitions[partition]!.floor >= topic.partitions[partition]!.endOffset - 1n
  /** I11: events are gone that nobody had processed. */
  const isGone = (partition: number) => database.partitions[partition]!.floor + 1n < topic.partitions[partition]!.startOffset
  const peace = async (until: number) => {
    await scheduler.run(() => {
      alive()
      return (
        scheduler.steps >= until ||
        (scheduler.steps % 8 === 0 && topic.partitions.every((_, p) => isEnded(p) || (isGone(p) && halted.has(p))))
      )
    })
    alive()
    topic.partitions.forEach((_, p) => {
      demand(
        isEnded(p) || (isGone(p) && halted.has(p)),
        'L1',
        () => `partition ${p} is stuck at floor ${database.partitions[p]!.floor}, the log ends at ${topic.partitions[p]!.endOffset}`,
      )
      oracle.complete(p, Number(database.partitions[p]!.floor))
    })
  }
  let violation: string | undefined
  try {
    nemesis.begin()
    await scheduler.run(() => {
      alive()
      if (scheduler.steps >= sizes.faultySteps) return true
      if (random.chance(sizes.produceRate)) topic.produce(random.int(0, sizes.partitions - 1), scheduler.nowMs)
      nemesis.act()
      return false
    })
    alive()
    nemesis.heal()
    halted.clear()
    await peace(scheduler.steps + peaceStepsMax)
    if (isLossless) demand((counts['repairs'] ?? 0) === 0, 'L2', () => `${counts['repairs']} repairs although nothing was lost`)
    const repairs = counts['repairs'] ?? 0
    // More events in peace. What was lost before may show now, once a queue; more would be a storm of repairs.
    for (let i = 0; i < 6; i++) topic.produce(random.int(0, sizes.partitions - 1), scheduler.nowMs)
    await peace(scheduler.steps + peaceStepsMax)
    const extraMax = isLossless ? 0 : sizes.partitions * sizes.queues
    demand((counts['repairs'] ?? 0) - repairs <= extraMax, 'L2', () => `${(counts['repairs'] ?? 0) - repairs} repairs in peace`)
  } catch (error) {
    violation = error instanceof Violation ? error.message : `crash: ${error instanceof Error ? error.stack : String(error)}`
  }
  nemesis.stop()
  if (violation === undefined && repairs.repairs !== counts['repairs']) violation = 'L2: a repair was not told of'
  counts['overwrites'] = grid.overwrites
  for (const [name, count] of faults.counts) counts[`fault.${name satisfies FaultName}`] = count
  return { seed, steps: scheduler.steps, faults: faults.total, hash: scheduler.hash, counts, violation }
}

function countingObserver(counts: Record<string, number>): Observer {
  for (const name of Object.keys(counterNames) as CounterName[]) counts[name] = 0
  return {
    count: (name, by) => void (counts[name] = (counts[name] ?? 0) + by),
    value: () => undefined,
    committed: () => undefined,
    log: () => undefined,
  }
}
