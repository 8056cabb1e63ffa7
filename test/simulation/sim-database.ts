/**
 * The database of a simulation: watermarks, floors, epochs, open transactions with row locks, and the history of commits,
 * whose tail a failover forgets.
 */
import { ForebayError } from '../../src/errors.ts'
import type { Advance, DeadLetter, OwnerCapture, PartitionView } from '../../src/offsets/ledger.ts'
import { assertAdvances, floorAllowedBy } from '../../src/offsets/ledger.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import { demand } from '../guarantees/violation.ts'
import type { Oracle } from './oracle.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimTask } from './workload.ts'

const lockWaitMs = 2000
const idleInTransactionMs = 1500

interface PartitionRows {
  floor: bigint
  readonly rows: Map<string, bigint[]>
}

/** A transaction of a flush while it is open. */
export interface Transaction {
  readonly task: string
  readonly epoch: number
  readonly advances: readonly Advance[]
  jobs: JobLines[]
  letters: DeadLetter[]
  isOpen: boolean
  isOver: boolean
  isCommitted: boolean
  activeMs: number
  readonly waitUntilMs: number
}

/** Who is told what takes effect, and what is taken back. */
export type DatabaseWitness = Pick<Oracle, 'floorRaised' | 'committed' | 'rewound' | 'isRefused' | 'delivered' | 'rerouted' | 'wentBack'>

export class SimDatabase {
  readonly partitions: PartitionRows[]
  readonly oracle: DatabaseWitness
  readonly scheduler: Scheduler
  /** Versions of the converter by epoch; the last is active. */
  readonly epochs: string[]
  /** Routing of each epoch; a cut gives another one. */
  readonly routings: number[] = [0]
  /** The nodes are asked to stop reading and drain. */
  isDraining = false
  readonly open = new Set<Transaction>()
  #history: (() => void)[] = []
  /** A whole table is missing or forbidden for this task. */
  refusedTask: string | undefined

  constructor(options: {
    oracle: DatabaseWitness
    scheduler: Scheduler
    tasks: readonly SimTask[]
    partitions: number
    queues: number
    floor: bigint
    version: string
  }) {
    this.oracle = options.oracle
    this.scheduler = options.scheduler
    this.epochs = [options.version]
    const tracked = options.tasks.filter((task) => task.isTracked)
    this.partitions = Array.from({ length: options.partitions }, () => ({
      floor: options.floor,
      rows: new Map(tracked.map(({ name }) => [name, Array.from({ length: options.queues }, () => options.floor)])),
    }))
  }

  get epoch(): number {
    return this.epochs.length
  }

  view(partition: number): PartitionView {
    const { floor, rows } = this.partitions[partition]!
    return { partition, floor, rows: new Map([...rows].map(([task, marks]) => [task, [...marks]])) }
  }

  /** As a node of `epoch` reads it: with the request to drain. */
  viewFor(partition: number, epoch: number): PartitionView {
    const isDraining = this.isDraining && epoch === this.epoch
    return { ...this.view(partition), ...(isDraining ? { isDraining } : {}) }
  }

  settle(capture: OwnerCapture, epoch: number): PartitionView {
    this.#checkEpoch(epoch)
    this.raiseFloor(capture.partition, floorAllowedBy(capture, this.view(capture.partition)))
    return this.viewFor(capture.partition, epoch)
  }

  raiseFloor(partition: number, to: bigint): void {
    const found = this.partitions[partition]!
    const from = found.floor
    if (to <= from) return
    found.floor = to
    this.oracle.floorRaised(partition, Number(to))
    this.#history.push(() => void (found.floor = from))
  }

  /** Whether `begin` would not have to wait for a lock. */
  canBegin(transaction: Transaction): boolean {
    if (transaction.waitUntilMs <= this.scheduler.nowMs) return true
    for (const other of this.open) {
      if (!conflicts(other, transaction)) continue
      // What the server does to a client that fell silent within a transaction.
      if (this.scheduler.nowMs - other.activeMs < idleInTransactionMs) return false
      this.rollback(other)
    }
    return true
  }

  newTransaction(task: string, advances: readonly Advance[], epoch: number): Transaction {
    const { nowMs } = this.scheduler
    return {
      task,
      epoch,
      advances,
      jobs: [],
      letters: [],
      isOpen: false,
      isOver: false,
      isCommitted: false,
      activeMs: nowMs,
      waitUntilMs: nowMs + lockWaitMs,
    }
  }

  begin(transaction: Transaction): void {
    if (transaction.isOver) throw unreachable('the transaction was rolled back')
    for (const other of this.open) if (conflicts(other, transaction)) throw unreachable('the wait for a lock took too long')
    this.#checkEpoch(transaction.epoch)
    assertAdvances(transaction.advances)
    for (const advance of transaction.advances) {
      const name = `${advance.partition}/${advance.queue}`
      if (!this.#stands(transaction.task, advance)) {
        throw new ForebayError('FB_FENCED', `task ${transaction.task}: queue ${name} is no longer at ${advance.from}`)
      }
    }
    transaction.isOpen = true
    transaction.activeMs = this.scheduler.nowMs
    this.open.add(transaction)
  }

  touch(transaction: Transaction): void {
    if (!transaction.isOpen) throw unreachable('the transaction was rolled back')
    transaction.activeMs = this.scheduler.nowMs
  }

  commit(transaction: Transaction): void {
    this.touch(transaction)
    this.open.delete(transaction)
    transaction.isOpen = false
    transaction.isOver = true
    transaction.isCommitted = true
    const { task, advances, jobs, letters } = transaction
    const undos: (() => void)[] = []
    for (const advance of advances) {
      const found = this.partitions[advance.partition]!
      const marks = found.rows.get(task)!
      const before = marks[advance.queue]!
      demand(
        advance.to > before,
        'I5',
        () => `watermark of ${task} ${advance.partition}/${advance.queue} went from ${before} to ${advance.to}`,
      )
      marks[advance.queue] = advance.to
      undos.push(() => void (marks[advance.queue] = before))
    }
    undos.push(
      this.oracle.committed({
        task,
        advances,
        jobs,
        letters,
        version: this.epochs[transaction.epoch - 1]!,
        isActive: transaction.epoch === this.epoch,
      }),
    )
    this.#history.push(() => {
      for (const undo of undos.reverse()) undo()
    })
  }

  rollback(transaction: Transaction): void {
    this.open.delete(transaction)
    transaction.isOpen = false
    transaction.isOver = true
  }

  /** A standby takes over that has not seen the last `count` commits; every connection breaks. */
  failover(count: number): number {
    for (const transaction of this.open) this.rollback(transaction)
    let lost = 0
    for (; lost < count && this.#history.length > 0; lost++) this.#history.pop()!()
    this.oracle.rewound()
    return lost
  }

  /** Opens an epoch for another converter. It inherits every watermark, and is never lost. */
  openEpoch(version: string): boolean {
    if (this.open.size > 0) return false
    this.epochs.push(version)
    this.routings.push(this.routings.at(-1)!)
    this.#history = []
    return true
  }

  /** Whether nothing is applied above a floor. */
  get isDrained(): boolean {
    return this.partitions.every(({ floor, rows }) => [...rows.values()].every((marks) => marks.every((mark) => mark <= floor)))
  }

  /** Opens an epoch of another routing at a drained cut: its watermarks begin at the floors. Never lost. */
  cutRouting(): boolean {
    if (this.open.size > 0 || !this.isDrained) return false
    this.epochs.push(this.epochs.at(-1)!)
    this.routings.push(this.routings.at(-1)! + 1)
    this.isDraining = false
    this.#history = []
    for (const { floor, rows } of this.partitions) for (const marks of rows.values()) marks.fill(floor)
    this.oracle.rerouted()
    return true
  }

  /** Lowers each floor to `cuts` and empties the tables above, in an epoch of its own. Never lost. */
  reset(cuts: readonly bigint[]): boolean {
    if (this.open.size > 0) return false
    this.epochs.push(this.epochs.at(-1)!)
    this.routings.push(this.routings.at(-1)!)
    this.isDraining = false
    this.#history = []
    this.partitions.forEach((found, partition) => {
      if (cuts[partition]! > found.floor) return
      found.floor = cuts[partition]!
      for (const marks of found.rows.values()) marks.fill(found.floor)
      this.oracle.wentBack(partition, Number(found.floor))
    })
    return true
  }

  /** The row is `from` itself, or it is below and the floor, which vouches for what lies between, is exactly `from`. */
  #stands(task: string, { partition, queue, from }: Advance): boolean {
    const { floor, rows } = this.partitions[partition]!
    const row = rows.get(task)![queue]!
    return row === from || (row < from && floor === from)
  }

  #checkEpoch(epoch: number): void {
    if (epoch !== this.epoch) throw new ForebayError('FB_EPOCH_CLOSED', `epoch ${epoch} is closed, epoch ${this.epoch} is active`)
  }
}

function conflicts(a: Transaction, b: Transaction): boolean {
  return (
    a.task === b.task &&
    a.advances.some((one) => b.advances.some((other) => one.partition === other.partition && one.queue === other.queue))
  )
}

function unreachable(why: string): ForebayError {
  return new ForebayError('FB_DATABASE_UNREACHABLE', why)
}
