/**
 * The database of a simulation: watermarks, floors, epochs, open transactions with row locks, and the history of commits,
 * whose tail a failover forgets.
 */
import { ForebayError } from '../../src/errors.ts'
import type { Advance, DeadLetter, OwnerCapture, PartitionHalt, PartitionView } from '../../src/ledger/ledger.ts'
import { assertAdvances, floorAllowedBy, haltRefusal } from '../../src/ledger/ledger.ts'
import { rowsOfNextEpoch, unevenTask } from '../../src/epochs/task-set.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import { demand } from '../guarantees/violation.ts'
import type { Oracle } from './oracle.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimTask } from './workload.ts'

const lockWaitMs = 2000
const idleInTransactionMs = 1500

interface PartitionRows {
  floor: bigint
  leaderEpoch: number | undefined
  /** Of every task that ever ran and was not forgotten. */
  readonly rows: Map<string, bigint[]>
}

export interface SimEpoch {
  readonly number: number
  /** Another one for each opening, whatever its number. */
  readonly mark: number
  readonly version: string
  /** A cut gives another one. */
  readonly routing: number
  /** The tracked tasks, in their order. */
  readonly tasks: readonly string[]
}

/** A transaction of a flush while it is open. */
export interface Transaction {
  readonly task: string
  readonly epoch: SimEpoch
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
export type DatabaseWitness = Pick<Oracle, 'floorRaised' | 'committed' | 'rewound' | 'isRefused' | 'delivered' | 'opened' | 'wentBack'>

export class SimDatabase {
  readonly partitions: PartitionRows[]
  readonly oracle: DatabaseWitness
  readonly scheduler: Scheduler
  /** The last is active. */
  readonly epochs: SimEpoch[]
  /** Those too that a failover forgot: their nodes go on. */
  readonly everOpened: SimEpoch[]
  /** The nodes are asked to stop reading and drain. */
  isDraining = false
  readonly open = new Set<Transaction>()
  #history: { readonly undo: () => void; readonly isOpening: boolean }[] = []
  /** By partition. Never lost. */
  readonly halts = new Map<number, PartitionHalt>()
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
    /** Those that run from the beginning; default: all tracked ones. */
    firstTasks?: readonly string[]
  }) {
    this.oracle = options.oracle
    this.scheduler = options.scheduler
    const tasks = options.firstTasks ?? options.tasks.filter((task) => task.isTracked).map(({ name }) => name)
    this.epochs = [{ number: 1, mark: 0, version: options.version, routing: 0, tasks }]
    this.everOpened = [...this.epochs]
    this.partitions = Array.from({ length: options.partitions }, () => ({
      floor: options.floor,
      leaderEpoch: undefined,
      rows: new Map(tasks.map((name) => [name, Array.from({ length: options.queues }, () => options.floor)])),
    }))
  }

  /** Partitions of which a failover forgot the leader epoch while rows of it may come: the next owner may halt without need (rule 21). */
  readonly epochForgotten = new Set<number>()

  get epoch(): SimEpoch {
    return this.epochs.at(-1)!
  }

  /** Rows of the tasks of `epoch`, by default of the active one. */
  view(partition: number, { tasks } = this.epoch): PartitionView {
    const { floor, rows } = this.partitions[partition]!
    const queues = [...rows.values()][0]!.length
    return { partition, floor, rows: new Map(tasks.map((task) => [task, [...(rows.get(task) ?? new Array<bigint>(queues).fill(-1n))]])) }
  }

  /** As a node of `epoch` reads it: with the request to drain. */
  viewFor(partition: number, epoch: SimEpoch): PartitionView {
    const isDraining = this.isDraining && epoch.number === this.epoch.number
    const halt = this.halts.get(partition)
    const { leaderEpoch } = this.partitions[partition]!
    return {
      ...this.view(partition, epoch),
      ...(isDraining ? { isDraining } : {}),
      ...(halt === undefined ? {} : { halt }),
      ...(leaderEpoch === undefined ? {} : { leaderEpoch }),
    }
  }

  settle(capture: OwnerCapture, epoch: SimEpoch): PartitionView {
    this.#checkEpoch(epoch)
    const halt = this.halts.get(capture.partition)
    if (halt !== undefined) throw haltRefusal(halt)
    this.#raiseEpoch(capture.partition, capture.leaderEpoch)
    this.raiseFloor(capture.partition, floorAllowedBy(capture, this.view(capture.partition)))
    return this.viewFor(capture.partition, epoch)
  }

  halt(halt: PartitionHalt): void {
    if (!this.halts.has(halt.partition)) this.halts.set(halt.partition, halt)
  }

  #raiseEpoch(partition: number, leaderEpoch = -1): void {
    const found = this.partitions[partition]!
    const { leaderEpoch: before } = found
    if (leaderEpoch <= (before ?? -1)) return
    found.leaderEpoch = leaderEpoch
    this.#remember(() => {
      found.leaderEpoch = before
      this.epochForgotten.add(partition)
    })
  }

  raiseFloor(partition: number, to: bigint): void {
    const found = this.partitions[partition]!
    const { floor: from } = found
    if (to <= from) return
    found.floor = to
    this.oracle.floorRaised(partition, Number(to))
    this.#remember(() => {
      found.floor = from
    })
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

  newTransaction(task: string, advances: readonly Advance[], epoch: SimEpoch): Transaction {
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
      undos.push(() => void (found.rows.get(task)![advance.queue] = before))
    }
    undos.push(
      this.oracle.committed({
        task,
        advances,
        jobs,
        letters,
        version: transaction.epoch.version,
        isActive: transaction.epoch === this.epoch,
      }),
    )
    this.#remember(() => {
      for (const undo of undos.reverse()) undo()
    })
  }

  rollback(transaction: Transaction): void {
    this.open.delete(transaction)
    transaction.isOpen = false
    transaction.isOver = true
  }

  /** A standby takes over that has not seen the last `count` commits; every connection breaks. */
  failover(count: number): { readonly lost: number; readonly epochs: number } {
    for (const transaction of this.open) this.rollback(transaction)
    let [lost, epochs] = [0, 0]
    for (; lost < count && this.#history.length > 0; lost++) {
      const { undo, isOpening } = this.#history.pop()!
      undo()
      if (isOpening) epochs++
    }
    this.oracle.rewound()
    return { lost, epochs }
  }

  /** Commits since an epoch was opened; undefined when none was. */
  get sinceOpening(): number | undefined {
    const index = this.#history.findLastIndex(({ isOpening }) => isOpening)
    return index < 0 ? undefined : this.#history.length - 1 - index
  }

  /** Opens an epoch for another converter. It inherits every watermark. */
  openEpoch(version: string): boolean {
    if (this.open.size > 0) return false
    this.#open({ version })
    return true
  }

  /** Whether nothing is applied above a floor. */
  get isDrained(): boolean {
    return this.partitions.every(({ floor }, partition) =>
      [...this.view(partition).rows.values()].every((marks) => marks.every((mark) => mark <= floor)),
    )
  }

  /** Opens an epoch of another routing at a drained cut: its watermarks begin at the floors. */
  cutRouting(): boolean {
    if (this.open.size > 0 || !this.isDrained || this.hasUnevenTask) return false
    this.isDraining = false
    this.#open({ routing: this.epoch.routing + 1 })
    return true
  }

  /** A task that is away stands at different places in its queues: no cut is made. */
  get hasUnevenTask(): boolean {
    return unevenTask(this.#whole(), this.away) !== undefined
  }

  /** Tasks that do not run and keep their places. */
  get away(): string[] {
    return [...this.partitions[0]!.rows.keys()].filter((task) => !this.epoch.tasks.includes(task))
  }

  /** Opens an epoch of other tasks; what those in `skipping`, which are away, have missed so far is given up. */
  changeTasks(tasks: readonly string[], skipping: readonly string[]): boolean {
    if (this.open.size > 0) return false
    this.#open({ tasks }, skipping)
    return true
  }

  /** Lowers each floor to `cuts` and empties the tables above, in an epoch of its own. */
  reset(cuts: readonly bigint[]): boolean {
    if (this.open.size > 0) return false
    this.isDraining = false
    this.#open({}, [], () => {
      const undos = this.partitions.map((found, partition) => {
        if (cuts[partition]! > found.floor) return () => undefined
        found.floor = cuts[partition]!
        for (const task of this.epoch.tasks) found.rows.get(task)!.fill(found.floor)
        return this.oracle.wentBack(partition, Number(found.floor))
      })
      return () => undos.forEach((undo) => undo())
    })
    return true
  }

  /** One transaction; a failover may forget it. */
  #open(change: Partial<SimEpoch>, skipping: readonly string[] = [], more: () => () => void = () => () => undefined): void {
    const was = this.epoch
    const next = { ...was, ...change, number: was.number + 1, mark: this.everOpened.length }
    const before = this.partitions.map(({ floor, leaderEpoch, rows }) => ({
      floor,
      leaderEpoch,
      rows: [...rows].map(([task, marks]) => [task, [...marks]] as const),
    }))
    for (const { floor, rows } of this.partitions)
      for (const task of skipping)
        rows.set(
          task,
          rows.get(task)!.map((mark) => (mark > floor ? mark : floor)),
        )
    const queues = before[0]!.rows[0]![1].length
    const withRows = [...this.partitions[0]!.rows.keys()]
    const undoMore = more()
    const isCut = next.routing !== was.routing
    for (const view of this.#whole()) {
      const { floor, rows } = rowsOfNextEpoch(view, { was: was.tasks, is: next.tasks, withRows, untracked: [], queues, isCut })
      const found = this.partitions[view.partition]!
      found.floor = floor
      found.rows.clear()
      for (const [task, marks] of rows) found.rows.set(task, [...marks])
    }
    this.epochs.push(next)
    this.everOpened.push(next)
    const added = next.tasks.filter((task) => !was.tasks.includes(task))
    const begun = added.filter((task) => !withRows.includes(task))
    const undoOpened = this.oracle.opened(next, {
      floors: before.map(({ floor }) => Number(floor)),
      given: [...begun, ...skipping],
      isBack: added.length > 0,
    })
    this.partitions.forEach(({ floor }, partition) => this.oracle.floorRaised(partition, Number(floor)))
    this.#remember(() => {
      this.epochs.pop()
      undoOpened()
      undoMore()
      before.forEach(({ floor, leaderEpoch, rows }, partition) => {
        const found = this.partitions[partition]!
        found.floor = floor
        found.leaderEpoch = leaderEpoch
        found.rows.clear()
        for (const [task, marks] of rows) found.rows.set(task, [...marks])
      })
    }, true)
  }

  #remember(undo: () => void, isOpening = false): void {
    this.#history.push({ undo, isOpening })
  }

  /** With the rows of all tasks. */
  #whole(): PartitionView[] {
    return this.partitions.map(({ floor, rows }, partition) => ({ partition, floor, rows: new Map(rows) }))
  }

  /** The row is `from` itself, or it is below and the floor, which vouches for what lies between, is exactly `from`. */
  #stands(task: string, { partition, queue, from }: Advance): boolean {
    const { floor, rows } = this.partitions[partition]!
    const row = rows.get(task)?.[queue] ?? -1n
    return row === from || (row < from && floor === from)
  }

  #checkEpoch(epoch: SimEpoch): void {
    if (epoch.number !== this.epoch.number || epoch.mark !== this.epoch.mark)
      throw new ForebayError('FB_EPOCH_CLOSED', `epoch ${epoch.number} is closed, epoch ${this.epoch.number} is active`)
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
