/** The world of one seed: sizes, servers, and those who watch them. */
import { queueOf } from '../../src/ingest/converter.ts'
import { lowestWatermark } from '../../src/ledger/ledger.ts'
import { Faults, losses } from './faults.ts'
import { Oracle } from './oracle.ts'
import { Random } from './random.ts'
import { RepairWatch } from './repair-watch.ts'
import { Scheduler } from './scheduler.ts'
import { SimDatabase } from './sim-database.ts'
import { SimTopic } from './sim-event-log.ts'
import { SimGrid } from './sim-job-grid.ts'
import { keyIn, scopeOf, secret } from './sim-parts.ts'
import { SimBook } from './sim-sandbox.ts'
import { drawCalmSizes, drawHotSizes, drawSizes } from './sizes.ts'
import type { SimSizes } from './sizes.ts'
import { drawTaskSet } from './workload.ts'

/** What loses something, and what may make three nodes write into one ring at once. */
const disabledWithoutLoss = [
  ...losses,
  'crash',
  'falseDeath',
  'upgrade',
  'routingCut',
  'reset',
  'pause',
  'cutPort',
  'duplicate',
  'retentionPast',
  'truncation',
  'logRefusal',
  'foreignEntry',
]

const killRate = 0.04

export interface BuiltWorld {
  readonly random: Random
  /** Chance of its own for what operators say, so that other worlds stay what they were. */
  readonly words: Random
  readonly sizes: SimSizes
  readonly faults: Faults
  readonly scheduler: Scheduler
  readonly oracle: Oracle
  readonly repairs: RepairWatch
  readonly topic: SimTopic
  readonly grid: SimGrid
  readonly database: SimDatabase
  /** Nothing is ever lost and nobody takes over: no repair may happen. */
  readonly isLossless: boolean
  /** Of a world in which events end their process. */
  readonly book: SimBook | undefined
  /** Nothing goes wrong at all, and little happens. */
  readonly isCalm: boolean
}

export function buildWorld(seed: number): BuiltWorld {
  const random = new Random(seed)
  const isCalm = random.chance(0.1)
  const isHot = !isCalm && random.chance(0.15)
  const sizes = isCalm ? drawCalmSizes(random) : isHot ? drawHotSizes(random) : drawSizes(random)
  const faults = new Faults(random)
  faults.isQuiet = isCalm
  const scheduler = new Scheduler(random)
  scheduler.haste = 0.02 + random.next() * 0.2
  const isLossless = isCalm || (!isHot && random.chance(0.25))
  if (isHot) faults.focus(['tailLoss', 'entryLoss', 'ringLoss', 'pause', 'slow', 'falseDeath'])
  if (isLossless) faults.disable(disabledWithoutLoss)
  const { tasks, partitions, queues, linesBytesMax, windowSegmentsMax, firstOffset } = sizes
  const watermarkOf = (partition: number, queue: number): bigint => lowestWatermark(database.view(partition), queue)
  const repairs = new RepairWatch({ watermarkOf, windowSegmentsMax })
  const epochOf = (scope: string) => database.everOpened.find((epoch) => scope === scopeOf(epoch))
  const queueOfKey = (key: string, routing: number) => queueOf(keyIn(routing, key), queues)
  const replacedFrom = (partition: number): bigint | undefined => topic.partitions[partition]?.truncatedAt
  const oracle: Oracle = new Oracle({ replacedFrom, repairs, tasks, queueOfKey, epochOf, secret, linesBytesMax })
  const hasLeaderEpochs = random.chance(0.5)
  const isHalted = (partition: number): boolean => database.halts.has(partition)
  const killing = new Random(seed + 7_000_003)
  const topic = new SimTopic({ random, partitions, traffic: sizes.traffic, tasks, oracle, firstOffset, killing, hasLeaderEpochs, isHalted })
  const book = killing.chance(0.25) && !isLossless && !isCalm ? new SimBook() : undefined
  if (book !== undefined) topic.killRate = killRate
  for (let i = 0; i < sizes.firstEvents; i++) topic.produce(random.int(0, partitions - 1), 0)
  const grid = new SimGrid(sizes.capacity, {
    appended: (ring, entry, standing) => oracle.appended(ring, entry, standing),
    removed: (entry, pushers) => repairs.removed(entry, pushers),
    hidden: (entry) => repairs.hidden(entry),
  })
  const floor = BigInt(firstOffset) - 1n
  const words = new Random(seed + 0x7a5c)
  const firstTasks = drawTaskSet(words, tasks)
  const database = new SimDatabase({ oracle, scheduler, tasks, partitions, queues, floor, version: 'v1', firstTasks })
  oracle.opened(database.epoch, { floors: [], given: [], isBack: false })
  for (let p = 0; p < partitions; p++) oracle.floorRaised(p, firstOffset - 1)
  return { random, sizes, faults, scheduler, oracle, repairs, topic, grid, database, words, isLossless, isCalm, book }
}
