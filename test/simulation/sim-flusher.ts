/**
 * The part of a node that flushes one task of all its readers, written for the simulation against the ports: a plain
 * reading of rules 6, 10 and 15. It stands where the product's own task runner will be driven.
 */
import { isForebayError } from '../../src/errors.ts'
import type { DeadLine } from '../../src/ingest/converter.ts'
import { JobLines } from '../../src/grid/segment.ts'
import type { Observer } from '../../src/observer.ts'
import type { DeadLetter } from '../../src/offsets/ledger.ts'
import type { Clock } from '../../src/schedule/clock.ts'
import type { DeliveringSink, TransactionalSink } from '../../src/sinks/sink.ts'
import type { QueueReader } from '../../src/work/queue-reader.ts'
import type { InboxBatch } from '../../src/work/task-inbox.ts'
import type { SimLedger, SimTransaction } from './sim-ledger.ts'
import type { SimTask } from './workload.ts'

interface Taken {
  readonly reader: QueueReader
  readonly memory: number
  readonly batch: InboxBatch
}

export interface FlusherPorts {
  readonly clock: Clock
  readonly ledger: SimLedger
  readonly observer: Observer
  readonly sink: TransactionalSink<string, SimTransaction> | DeliveringSink<string>
}

export class SimFlusher {
  readonly #ports: FlusherPorts
  readonly #task: SimTask
  readonly #readers: () => readonly QueueReader[]

  constructor(ports: FlusherPorts, task: SimTask, readers: () => readonly QueueReader[]) {
    this.#ports = ports
    this.#task = task
    this.#readers = readers
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ports.clock.sleep(this.#task.everyMs, signal)
      const taken = this.#readers().flatMap((reader): Taken[] => {
        const batch = reader.inbox(this.#task.name)?.take(this.#task.rowsMax ?? 1000)
        return batch === undefined ? [] : [{ reader, memory: reader.memory, batch }]
      })
      if (taken.length > 0) await this.#flush(taken)
    }
  }

  async #flush(taken: readonly Taken[]): Promise<void> {
    const { ledger, observer, sink } = this.#ports
    const sections = taken.flatMap(({ batch }) => batch.sections)
    try {
      if (sink.delivery === 'exactly-once') {
        const advances = taken.map(({ reader, batch }) => ({ ...reader.id, from: batch.from, to: batch.to }))
        await ledger.flush({ task: this.#task.name, advances, write: (transaction) => this.#write(sink, transaction, sections) })
      } else await sink.deliver(sections)
      observer.count('flushes', 1)
      observer.count('rows', sections.reduce((sum, section) => sum + section.count, 0))
      for (const { reader, memory, batch } of taken) reader.settle(this.#task.name, batch.to, memory)
    } catch (error) {
      if (!isForebayError(error) || error.policy === 'fatal') throw error
      observer.count(error.code === 'FB_FENCED' ? 'fences' : 'flushErrors', 1)
      for (const { reader } of taken) reader.forget()
    }
  }

  async #write(sink: TransactionalSink<string, SimTransaction>, transaction: SimTransaction, sections: readonly JobLines[]): Promise<void> {
    const letters = sections.filter(({ kind }) => kind === 'dead').flatMap(lettersOf)
    await this.#writeJobs(sink, transaction, sections.filter(({ kind }) => kind === 'job'), letters)
    if (letters.length === 0) return
    this.#ports.observer.count('deadLetters', letters.length)
    await transaction.bury(letters)
  }

  /** All at once; where the data of some job is at fault, one job after the other. */
  async #writeJobs(sink: TransactionalSink<string, SimTransaction>, transaction: SimTransaction, jobs: readonly JobLines[], letters: DeadLetter[]): Promise<void> {
    if (jobs.length === 0) return
    try {
      await transaction.attempt(() => sink.write(transaction, jobs))
    } catch (error) {
      if (!isForebayError(error, 'FB_BAD_JOB')) throw error
      for (const section of jobs) {
        for (let i = 0; i < section.count; i++) {
          try {
            await transaction.attempt(() => sink.write(transaction, [section.slice(i, i + 1)]))
          } catch (reason) {
            if (!isForebayError(reason, 'FB_BAD_JOB')) throw reason
            const { task, partition, queue } = section
            const payload = Buffer.from(section.lines()[i]!)
            letters.push({ task, partition, queue, offset: section.offset(i), ordinal: section.ordinal(i), error: reason.message, payload, isPayloadCut: false })
          }
        }
      }
    }
  }
}

function lettersOf(section: JobLines): DeadLetter[] {
  const { partition, queue } = section
  return section.lines().map((line, i) => {
    const { task, error, payload, cut } = JSON.parse(line) as DeadLine
    return { task, error, partition, queue, offset: section.offset(i), ordinal: 0, payload: payload === null ? null : Buffer.from(payload, 'base64'), isPayloadCut: cut }
  })
}
