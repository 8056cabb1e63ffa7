/**
 * What a node can tell of its exchanges with the database while they last: a flush under way, a task that fails again and
 * again, a database that is away.
 *
 * Job: stands before the ledger and notes beginnings and outcomes; it changes nothing. Boundary: figures for people only, no
 * decision rests on them. A task is *flushing* from the call to its outcome and *failing* from the first failure that is no
 * fence to the next success. The database is *away* from a call without an answer to the next one with.
 */
import { isForebayError, sentenceOf, serverCodeOf } from '../errors.ts'
import type { ErrorCode, ForebayError } from '../errors.ts'
import type { Flush, Ledger, LedgerTransaction, OwnerCapture, PartitionHalt, PartitionView } from '../ledger/ledger.ts'
import type { Clock } from '../schedule/clock.ts'
import type { RunningSink } from '../sinks/running-sink.ts'
import type { TroubleWatch } from '../troubles.ts'
import { placeOf } from './watched-event-log.ts'

/** SQLSTATEs, or what they begin with. */
const answeredStates: readonly string[] = ['40', '55', '57014', '25P0']

/** Failures in a row; times in wall-clock milliseconds. */
export interface Failing {
  readonly attempts: number
  readonly sinceMs: number
  readonly lastMs: number
  readonly code: ErrorCode
  /** What the server calls it, such as a SQLSTATE. */
  readonly state: string | null
  readonly sentence: string
}

/** Times in wall-clock milliseconds. */
export interface Away {
  readonly sinceMs: number
  readonly sentence: string
}

export class LedgerWatch<Tx extends LedgerTransaction> implements Ledger<Tx> {
  readonly #ledger: Ledger<Tx>
  readonly #clock: Clock
  readonly #troubles: TroubleWatch
  readonly #flushing = new Map<string, number>()
  readonly #failing = new Map<string, Failing>()
  #trouble: Away | undefined

  constructor(ledger: Ledger<Tx>, clock: Clock, troubles: TroubleWatch) {
    this.#ledger = ledger
    this.#clock = clock
    this.#troubles = troubles
  }

  /** When the flush of `task` that is under way began; undefined when none is. */
  flushingSinceMs(task: string): number | undefined {
    return this.#flushing.get(task)
  }

  failing(task: string): Failing | undefined {
    return this.#failing.get(task)
  }

  /** Set while the database does not answer. */
  get trouble(): Away | undefined {
    return this.#trouble
  }

  read(partition: number): Promise<PartitionView> {
    return this.#troubles.watch('watermarks', placeOf(partition), () => this.#watched(() => this.#ledger.read(partition)))
  }

  readAll(partitions: readonly number[]): Promise<PartitionView[]> {
    return this.#troubles.watch('watermarks', 'all queues', () => this.#watched(() => this.#ledger.readAll(partitions)))
  }

  settle(capture: OwnerCapture): Promise<PartitionView> {
    return this.#troubles.watch('settle', placeOf(capture.partition), () => this.#watched(() => this.#ledger.settle(capture)))
  }

  halt(halt: PartitionHalt): Promise<void> {
    return this.#troubles.watch('settle', placeOf(halt.partition), () => this.#watched(() => this.#ledger.halt(halt)))
  }

  flush(flush: Flush<Tx>): Promise<void> {
    return this.#flush('flush', flush.task, () => this.#watched(() => this.#ledger.flush(flush)))
  }

  /** `sink` with its deliveries noted as part of the flushes of `task`; one that writes in the ledger's transaction stays as it is. */
  sinkOf(task: string, sink: RunningSink): RunningSink {
    if (sink.delivery === 'exactly-once') return sink
    return {
      delivery: sink.delivery,
      label: sink.label,
      encode: (job) => sink.encode(job),
      deliver: (jobs, signal) => this.#flush('deliver', task, () => sink.deliver(jobs, signal)),
    }
  }

  async #flush<T>(kind: 'flush' | 'deliver', task: string, exchange: () => Promise<T>): Promise<T> {
    this.#flushing.set(task, this.#clock.wallMs())
    try {
      const result = await this.#troubles.watch(kind, `task ${task}`, exchange)
      this.#failing.delete(task)
      return result
    } catch (error) {
      if (isForebayError(error) && error.code !== 'FB_FENCED') this.#note(task, error)
      throw error
    } finally {
      this.#flushing.delete(task)
    }
  }

  #note(task: string, error: ForebayError): void {
    const nowMs = this.#clock.wallMs()
    const before = this.#failing.get(task)
    const times = { attempts: (before?.attempts ?? 0) + 1, sinceMs: before?.sinceMs ?? nowMs, lastMs: nowMs }
    this.#failing.set(task, { ...times, code: error.code, state: serverCodeOf(error) ?? null, sentence: sentenceOf(error) })
  }

  async #watched<T>(exchange: () => Promise<T>): Promise<T> {
    try {
      const result = await exchange()
      this.#trouble = undefined
      return result
    } catch (error) {
      if (!isForebayError(error, 'FB_DATABASE_UNREACHABLE') || hasAnswered(error)) this.#trouble = undefined
      else this.#trouble = { sinceMs: this.#trouble?.sinceMs ?? this.#clock.wallMs(), sentence: sentenceOf(error) }
      throw error
    }
  }
}

/** Whether a database that runs said no (a lock not granted in time, a deadlock), as against one that is away. */
export function hasAnswered(error: ForebayError): boolean {
  const state = serverCodeOf(error) ?? ''
  return answeredStates.some((answered) => state.startsWith(answered))
}
