/** The database as one node sees it: the ledger of its epoch, and the sink that writes into its transactions. */
import { ForebayError, isForebayError } from '../../src/errors.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import type { DeadLetter, Flush, Ledger, LedgerTransaction, OwnerCapture, PartitionHalt, PartitionView } from '../../src/ledger/ledger.ts'
import type { DeliveringSink, TransactionalSink } from '../../src/sinks/running-sink.ts'
import type { SimDatabase, SimEpoch, Transaction } from './sim-database.ts'
import type { Wire } from './wire.ts'

/** Of a flush that met no other fault: the server ends one of two transactions that wait for each other. */
const deadlockChance = 0.01

export class SimTransaction implements LedgerTransaction {
  readonly transaction: Transaction
  readonly database: SimDatabase
  readonly #wire: Wire

  constructor(transaction: Transaction, database: SimDatabase, wire: Wire) {
    this.transaction = transaction
    this.database = database
    this.#wire = wire
  }

  async attempt<T>(body: () => Promise<T>): Promise<T> {
    const { transaction } = this
    const { jobs, letters } = transaction
    transaction.jobs = [...jobs]
    transaction.letters = [...letters]
    try {
      return await body()
    } catch (error) {
      transaction.jobs = jobs
      transaction.letters = letters
      throw error
    }
  }

  bury(letters: readonly DeadLetter[]): Promise<void> {
    return this.call('sink', `bury ${letters.length}`, () => void this.transaction.letters.push(...letters))
  }

  /** A statement within the transaction; a connection that breaks takes the transaction with it. */
  async call<T>(port: 'ledger' | 'sink', label: string, effect: () => T): Promise<T> {
    const { transaction, database } = this
    try {
      return await this.#wire.call(port, label, () => {
        database.touch(transaction)
        return effect()
      })
    } catch (error) {
      if (isForebayError(error, 'FB_DATABASE_UNREACHABLE')) database.rollback(transaction)
      throw error
    }
  }
}

export class SimLedger implements Ledger<SimTransaction> {
  readonly #database: SimDatabase
  readonly #wire: Wire
  readonly #epoch: SimEpoch

  constructor(database: SimDatabase, wire: Wire, epoch: SimEpoch) {
    this.#database = database
    this.#wire = wire
    this.#epoch = epoch
  }

  read(partition: number): Promise<PartitionView> {
    return this.#wire.call('ledger', `read p${partition}`, () => this.#database.viewFor(partition, this.#epoch))
  }

  readAll(partitions: readonly number[]): Promise<PartitionView[]> {
    return this.#wire.call('ledger', 'read all', () => partitions.map((partition) => this.#database.viewFor(partition, this.#epoch)))
  }

  settle(capture: OwnerCapture): Promise<PartitionView> {
    return this.#wire.call('ledger', `settle p${capture.partition} at ${capture.position}`, () =>
      this.#database.settle(capture, this.#epoch),
    )
  }

  halt(halt: PartitionHalt): Promise<void> {
    return this.#wire.call('ledger', `halt p${halt.partition}`, () => this.#database.halt(halt))
  }

  async flush({ task, advances, write }: Flush<SimTransaction>): Promise<void> {
    const database = this.#database
    const transaction = database.newTransaction(task, advances, this.#epoch)
    const open = new SimTransaction(transaction, database, this.#wire)
    const moves = advances.map((advance) => `${advance.partition}/${advance.queue}:${advance.from}-${advance.to}`).join(' ')
    try {
      await this.#wire.call('ledger', `begin ${task} ${moves}`, () => database.begin(transaction), {
        dueMs: transaction.waitUntilMs,
        isReady: () => database.canBegin(transaction),
      })
      await write(open)
      if (this.#wire.faults.hits('deadlock', deadlockChance)) {
        throw new ForebayError('FB_DATABASE_UNREACHABLE', `flushing task ${task}: deadlock detected (SQLSTATE 40P01)`)
      }
    } catch (error) {
      // Whatever was told about it, nothing of it stays.
      database.rollback(transaction)
      throw error
    }
    await this.#commit(open, task)
  }

  /** Once COMMIT is sent, a failure tells nothing about its outcome. */
  async #commit(open: SimTransaction, task: string): Promise<void> {
    const { transaction, database } = open
    try {
      await this.#wire.call('ledger', `commit ${task}`, () => database.commit(transaction), { canLinger: true })
    } catch (error) {
      this.#wire.faults.count(transaction.isCommitted ? 'commitUnknownApplied' : 'commitUnknownLost')
      throw error
    }
  }
}

/** A table in the ledger's database that refuses the jobs the workload marks. */
export function simSink(database: SimDatabase, wire: Wire, task: string): TransactionalSink<string, SimTransaction> {
  return {
    label: `table ${task}`,
    delivery: 'exactly-once',
    encode: encodeJob,
    write: (transaction, jobs) =>
      transaction.call('sink', `write ${task}`, () => {
        if (database.refusedTask === task) throw new ForebayError('FB_SCHEMA', `table ${task} does not exist`)
        const bad = jobs.flatMap((section) => section.lines()).find((line) => database.oracle.isRefused(line))
        if (bad !== undefined) {
          wire.faults.count('badJob')
          throw new ForebayError('FB_BAD_JOB', `the table refuses ${bad}`)
        }
        transaction.transaction.jobs.push(...jobs)
      }),
  }
}

/** A sink for latest values: nothing durable. */
export function simEphemeralSink(database: SimDatabase, wire: Wire, task: string): DeliveringSink<string> {
  return {
    label: `channel ${task}`,
    delivery: 'ephemeral',
    encode: encodeJob,
    deliver: (jobs: readonly JobLines[]) => wire.call('sink', `deliver ${task}`, () => database.oracle.delivered(task, jobs)),
  }
}

export function encodeJob(job: string): string {
  if (job === 'unencodable') throw new ForebayError('FB_BAD_JOB', 'this job cannot be encoded')
  return job
}
