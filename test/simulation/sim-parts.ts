/** What both kinds of simulated nodes are made of: the world they live in, their ports, their tasks. */
import type { ConverterOptions } from '../../src/ingest/converter.ts'
import type { NodeTask } from '../../src/node/node.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import type { Observer } from '../../src/observer.ts'
import type { RunningSink } from '../../src/sinks/running-sink.ts'
import type { RepairWatch } from './repair-watch.ts'
import { SimClock } from './sim-clock.ts'
import type { SimDatabase, SimEpoch } from './sim-database.ts'
import { SimEventLog } from './sim-event-log.ts'
import type { SimTopic } from './sim-event-log.ts'
import { SimJobGrid } from './sim-job-grid.ts'
import type { SimGrid } from './sim-job-grid.ts'
import { SimLedger, encodeJob, simEphemeralSink, simSink } from './sim-ledger.ts'
import type { SimBook } from './sim-sandbox.ts'
import type { SimSizes } from './sizes.ts'
import { latestKeyOf, lineOf } from './workload.ts'
import type { SimTask } from './workload.ts'
import type { Wire } from './wire.ts'

export interface SimWorld {
  readonly topic: SimTopic
  readonly grid: SimGrid
  readonly database: SimDatabase
  readonly sizes: SimSizes
  readonly observer: Observer
  readonly repairs: RepairWatch
  /** Undefined in a world without events that end their process. */
  readonly book: SimBook | undefined
  /** Such an event is at hand: the node is gone. */
  readonly onKill: (wire: Wire) => void
  readonly onHalt: (partition: number) => void
  readonly onDeath: (error: unknown) => void
}

export const secret = 'simulation'
export const scopeOf = ({ number, mark }: SimEpoch): string => `sim.s.t.e${number}-${mark}`

/** Another routing sends most keys to other queues, as another hash does. */
export const keyIn = (routing: number, key: string): string => (routing === 0 ? key : `${routing} ${key}`)

type SimEventValue = [number | null, number[], number, 'kills'?]

/** The servers as one incarnation of a node sees them. */
export function portsOf(world: SimWorld, wire: Wire, epoch: SimEpoch) {
  return {
    clock: new SimClock(wire),
    log: new SimEventLog(world.topic, wire),
    grid: new SimJobGrid(world.grid, wire),
    ledger: new SimLedger(world.database, wire, epoch) as Ledger,
    observer: watchRepairs(world, wire.name, scopeOf(epoch)),
  }
}

/** The tasks of `sizes` that run in the epoch. */
export function runningTasks({ tasks }: SimSizes, epoch: SimEpoch): SimTask[] {
  return tasks.filter(({ name, isTracked }) => !isTracked || epoch.tasks.includes(name))
}

export function tasksOf(world: SimWorld, wire: Wire, epoch: SimEpoch): NodeTask[] {
  const { sizes, database } = world
  return runningTasks(sizes, epoch).map((task) => ({
    name: task.name,
    everyMs: task.everyMs,
    rowsMax: task.rowsMax ?? 1000,
    bytesMax: task.bytesMax ?? 100_000,
    isTracked: task.isTracked,
    sink: (task.isTracked ? simSink(database, wire, task.name) : simEphemeralSink(database, wire, task.name)) as RunningSink,
    convert: (event, at) => {
      const [, jobs, fill, kills] = event as SimEventValue
      if (kills !== undefined) world.onKill(wire)
      const count = jobs[sizes.tasks.indexOf(task)]!
      if (count === -1) throw new Error('this event cannot be converted')
      if (count === -2) return ['unencodable']
      const lines = Array.from({ length: count }, (_, ordinal) =>
        lineOf(`${task.name}/${at.partition}/${at.offset}/${ordinal}`, fill, epoch.version),
      )
      return lines.length === 1 ? lines[0] : lines
    },
    latestBy: task.isTracked ? undefined : (job) => latestKeyOf(Number((job as string).split('/')[2])),
    encode: (job) => encodeJob(job as string),
  }))
}

export function convertingOf({ sizes }: SimWorld, { routing }: SimEpoch): Omit<ConverterOptions, 'tasks'> {
  return {
    source: { topic: 'sim', tombstones: 'dead-letter', decode: { decode: (value) => JSON.parse(String(value)) as unknown } },
    key: (event) => {
      const [name] = event as SimEventValue
      if (name === null) throw new Error('this event has no key')
      return keyIn(routing, `k${name}`)
    },
    queues: sizes.queues,
    eventBytesMax: 10_000,
    linesBytesMax: sizes.linesBytesMax,
  }
}

/** What an owner says when it makes queues again, told to the watch too. */
function watchRepairs({ observer, repairs, onHalt }: SimWorld, node: string, scope: string): Observer {
  return {
    ...observer,
    count: (name, by, label) => {
      if (name === 'halts') onHalt(Number(label))
      observer.count(name, by, label)
    },
    log: (level, message, fields) => {
      const partition = /^partition (\d+): the grid lost jobs/.exec(message)?.[1]
      if (partition !== undefined) repairs.repaired(node, scope, Number(partition), fields!['queues'] as number[])
      observer.log(level, message, fields)
    },
  }
}
