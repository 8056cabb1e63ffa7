/** Runs a scheduler beside the real clock, without faults, for tests that know nothing of it: the contracts of the ports. */
import { Faults } from './faults.ts'
import { Random } from './random.ts'
import { Scheduler } from './scheduler.ts'
import { Wire } from './wire.ts'

const restMs = 2

export class RealTime {
  readonly random = new Random(1)
  readonly scheduler = new Scheduler(this.random)
  readonly #faults = new Faults(this.random)
  readonly #startedMs = performance.now()
  #next: NodeJS.Timeout | NodeJS.Immediate | undefined
  #wires = 0

  constructor() {
    this.scheduler.haste = 0
    this.#faults.isQuiet = true
    this.#faults.hasShortReads = false
    this.#turn()
  }

  /** One more node's line to the servers. */
  wire(): Wire {
    const node = this.#wires++
    this.scheduler.gates.set(node, { isPaused: false, speed: 1, cutPorts: new Set() })
    return new Wire(node, `n${node}`, this.scheduler, this.#faults)
  }

  stop(): void {
    clearTimeout(this.#next as NodeJS.Timeout)
    clearImmediate(this.#next as NodeJS.Immediate)
  }

  /** One step a turn, so that whoever waited goes on first. */
  #turn(): void {
    const { scheduler } = this
    scheduler.nowMs = Math.floor(performance.now() - this.#startedMs)
    const isReady = scheduler.pending.some(({ dueMs, isReady: early }) => dueMs <= scheduler.nowMs || early?.() === true)
    if (isReady) scheduler.step()
    this.#next = isReady ? setImmediate(() => this.#turn()) : setTimeout(() => this.#turn(), restMs)
  }
}
