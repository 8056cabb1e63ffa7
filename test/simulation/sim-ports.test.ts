/** The simulated servers keep the contracts that the real ones keep: what is proven on them is proven of the ports. */
import { ForebayError } from '../../src/errors.ts'
import { headersOfTexts } from '../../src/pipeline/event-headers.ts'
import { floorBefore } from '../../src/events/event-log.ts'
import { JobLines } from '../../src/grid/segment.ts'
import { describeEventLog } from '../ports/event-log.contract.ts'
import { describeJobGrid } from '../ports/job-grid.contract.ts'
import { describeLedger } from '../ports/ledger.contract.ts'
import type { LedgerWorld } from '../ports/ledger.contract.ts'
import { RealTime } from './real-time.ts'
import { SimDatabase } from './sim-database.ts'
import { SimEventLog, SimTopic } from './sim-event-log.ts'
import { SimGrid, SimJobGrid } from './sim-job-grid.ts'
import { SimLedger } from './sim-ledger.ts'
import type { SimTransaction } from './sim-ledger.ts'
import type { SimTask } from './workload.ts'
import { describeOwnerBook } from '../ports/owner-book.contract.ts'
import { SimBook } from './sim-sandbox.ts'

const nothing = () => undefined

describeJobGrid('The simulated grid', async () => {
  const time = new RealTime()
  const capacity = 20
  const grid = new SimGrid(capacity, { appended: nothing, removed: nothing, hidden: nothing })
  return { grid: new SimJobGrid(grid, time.wire()), other: new SimJobGrid(grid, time.wire()), capacity, stop: async () => time.stop() }
})

describeEventLog('The simulated log', async () => {
  const time = new RealTime()
  const partitions = 4
  const oracle = { expect: nothing, floorPublished: nothing }
  const traffic = { keys: 1, hotShare: 0 }
  const topic = new SimTopic({
    random: time.random,
    partitions,
    traffic,
    tasks: [],
    oracle,
    firstOffset: 0,
    killing: time.random,
    hasLeaderEpochs: true,
    isHalted: () => false,
  })
  const log = new SimEventLog(topic, time.wire())
  return {
    log,
    partitions,
    publish: async (partition, values, fromMs) =>
      values.forEach((value, n) =>
        topic.append(partition, {
          timestampMs: fromMs + n,
          key: null,
          value: Buffer.from(value),
          headers: headersOfTexts({ line: value }),
        }),
      ),
    leaveGap: async (partition) => void (topic.partitions[partition]!.endOffset += 4n),
    deleteBelow: async (partition, offset) => void topic.expire(partition, offset),
    committed: async (partition) => {
      const committed = log.committed(partition)
      return committed === floorBefore(0n) ? null : committed
    },
    stop: async () => time.stop(),
  }
})

describeLedger('The simulated ledger', async (): Promise<LedgerWorld<SimTransaction>> => {
  const time = new RealTime()
  const rows: string[] = []
  let letters = 0
  const oracle: SimDatabase['oracle'] = {
    committed: (commit) => {
      rows.push(...commit.jobs.flatMap((section) => section.lines()))
      letters += commit.letters.length
      return nothing
    },
    floorRaised: nothing,
    rewound: nothing,
    opened: () => nothing,
    wentBack: () => nothing,
    delivered: nothing,
    isRefused: () => false,
  }
  const tasks = ['a', 'b'].map((name): SimTask => ({ name, everyMs: 1, rowsMax: undefined, bytesMax: undefined, isTracked: true }))
  const database = new SimDatabase({ oracle, scheduler: time.scheduler, tasks, partitions: 2, queues: 2, floor: 9n, version: '1' })
  return {
    node: async (version) => {
      while (database.epoch.version !== version && !database.openEpoch(version)) await new Promise((resolve) => setTimeout(resolve, 5))
      return new SimLedger(database, time.wire(), database.epoch)
    },
    forgetEpoch: async () => void database.failover((database.sinceOpening ?? 0) + 1),
    put: (open, row) =>
      open.call('sink', 'put', () => {
        if (row === 'bad') throw new ForebayError('FB_BAD_JOB', 'the row is bad')
        const of = { task: open.transaction.task, kind: 'job' as const, partition: 0, queue: 0 }
        const lines = Buffer.from(`${row}\n`)
        open.transaction.jobs.push(new JobLines(of, lines, { offset: 0n, timeMs: 0 }, new Uint32Array(1), new Uint32Array(1)))
      }),
    rows: async () => [...rows],
    letterCount: async () => letters,
    close: async () => time.stop(),
  }
})

describeOwnerBook('The simulated book', async () => {
  const book = new SimBook()
  const floors = [9n, 9n]
  return {
    book: (epoch) => ({
      begin: async (partition, owner) => book.begin(partition, owner, epoch, floors[partition]!),
      leave: async (partition, owner) => book.leave(partition, owner),
      suspect: async (partition, offset) => book.suspect(partition, offset),
      acquit: async (partition, offset) => book.acquit(partition, offset),
    }),
    setFloor: async (floor) => void (floors[0] = floor),
  }
})
