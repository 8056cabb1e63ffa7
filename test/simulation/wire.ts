/**
 * The line between one incarnation of a node and the simulated servers: every call becomes an entry of the scheduler, and
 * what may go wrong with a call is decided when it is settled.
 */
import { ForebayError } from '../../src/errors.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { Violation } from '../guarantees/violation.ts'
import type { FaultName, Faults } from './faults.ts'
import type { PortName, Scheduler } from './scheduler.ts'

/** Every port promises that a call ends within a few seconds. */
const callMs = 4000

const databaseFullChance = 0.3

const unreachableCodes: Partial<Record<PortName, ErrorCode>> = {
  log: 'FB_EVENT_LOG_UNREACHABLE',
  grid: 'FB_GRID_UNREACHABLE',
  ledger: 'FB_DATABASE_UNREACHABLE',
  sink: 'FB_DATABASE_UNREACHABLE',
}

export interface CallOptions {
  /** Settles at this time at the latest, when `isReady` never says so. Default: at once. */
  readonly dueMs?: number
  readonly isReady?: () => boolean
  /** A request that may still have its effect after its failure was told, as a write to the grid may. */
  readonly canLinger?: boolean
  /** Looks at the answer when it arrives late. */
  readonly arrive?: <T>(answer: T) => T
}

export class Wire {
  readonly node: number
  readonly name: string
  readonly scheduler: Scheduler
  readonly faults: Faults
  isSevered = false

  constructor(node: number, name: string, scheduler: Scheduler, faults: Faults) {
    this.node = node
    this.name = name
    this.scheduler = scheduler
    this.faults = faults
  }

  /** A call whose `effect` on the world happens when the scheduler picks it. */
  call<T>(port: PortName, label: string, effect: () => T, options: CallOptions = {}): Promise<T> {
    if (this.isSevered) return new Promise(() => undefined)
    const { scheduler } = this
    return new Promise<T>((resolve, reject) => {
      scheduler.add({
        label: `${this.name} ${label}`,
        node: this.node,
        port,
        dueMs: options.dueMs ?? 0,
        isReady: options.isReady,
        deadlineMs: scheduler.nowMs + callMs,
        effect,
        settle: () => this.#settle(port, label, effect, options, resolve, reject),
      })
    })
  }

  unreachable(port: PortName, label: string): ForebayError {
    // Postgres answers that it has no connection left: as good as none, and it passes.
    if (port === 'ledger' && this.faults.hits('databaseFull', databaseFullChance)) {
      return new ForebayError('FB_DATABASE_FULL', `${this.name} ${label}: no connection is left`)
    }
    return new ForebayError(unreachableCodes[port]!, `${this.name} ${label}: no answer`)
  }

  #settle<T>(
    port: PortName,
    label: string,
    effect: () => T,
    options: CallOptions,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): void {
    const { faults, scheduler } = this
    const fail = () => reject(this.unreachable(port, label))
    if (scheduler.gates.get(this.node)?.cutPorts.has(port)) {
      faults.count('cut')
      return fail()
    }
    const rates = faults.of(port)
    if (rates.before > 0 && faults.hits(`${port}Before` as FaultName, rates.before)) {
      if (options.canLinger && faults.hits('lingering', 0.3)) this.#linger(label, effect)
      return fail()
    }
    let value: T
    try {
      value = effect()
    } catch (error) {
      if (!(error instanceof ForebayError)) throw error
      return reject(error)
    }
    if (rates.after > 0 && faults.hits(`${port}After` as FaultName, rates.after)) return fail()
    if (rates.late > 0 && faults.hits(`${port}Late` as FaultName, rates.late)) {
      const dueMs = scheduler.nowMs + faults.lateMs()
      const answer = options.arrive ?? (<V>(v: V) => v)
      scheduler.add({
        label: `${this.name} ${label} answers late`,
        node: this.node,
        port,
        dueMs,
        deadlineMs: dueMs + callMs,
        settle: () => resolve(answer(value)),
      })
      return
    }
    resolve(value)
  }

  /** The sender was told of a failure, but its request arrives in the end. */
  #linger(label: string, effect: () => unknown): void {
    const dueMs = this.scheduler.nowMs + this.faults.lateMs()
    const settle = () => runQuietly(effect)
    this.scheduler.add({ label: `${this.name} ${label} arrives late`, node: -1, port: 'world', dueMs, deadlineMs: dueMs, settle })
  }

  /** The node dies: nothing it waits for ever settles; requests under way may still arrive. */
  sever(): void {
    this.isSevered = true
    for (const entry of this.scheduler.sever(this.node)) {
      if (entry.effect !== undefined && entry.dueMs <= this.scheduler.nowMs && this.faults.random.chance(0.5)) runQuietly(entry.effect)
    }
  }
}

function runQuietly(effect: () => unknown): void {
  try {
    effect()
  } catch (error) {
    if (error instanceof Violation || !(error instanceof ForebayError)) throw error
  }
}
