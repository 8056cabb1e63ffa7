/**
 * The scheduler of a simulation: it owns every await of the nodes under test, and the only clock they see.
 *
 * A simulated port returns a promise whose settling is a pending entry here. One step picks an entry by chance, settles it,
 * and lets all code that was waiting for it run to its next await. Nothing else ever wakes a node, so two runs of one seed
 * make the same steps; the trace hash proves it. Time stands still until an entry of the future is picked.
 */
import type { Random } from './random.ts'

export type PortName = 'clock' | 'log' | 'grid' | 'ledger' | 'sink' | 'world'

export interface Entry {
  readonly label: string
  /** The incarnation that waits; `worldNode` for what happens without any node. */
  readonly node: number
  readonly port: PortName
  /** Not before this time, unless `isReady` says so earlier. */
  readonly dueMs: number
  readonly isReady?: (() => boolean) | undefined
  /** The call fails when it was withheld longer than this. */
  readonly deadlineMs: number
  readonly settle: () => void
  /** What a request under way does to the world even when its sender dies. */
  readonly effect?: (() => void) | undefined
}

/** Per node: whether it runs, how fast, and which ports it is cut off from. */
export interface NodeGate {
  isPaused: boolean
  /** Chance that a picked entry of this node is really taken: below 1 is a slow node. */
  speed: number
  readonly cutPorts: Set<PortName>
}

/** So far may time run ahead of what is ready: a part that rests for a minute holds nobody else up for it. */
const hasteMsMax = 5000

export class Scheduler {
  readonly random: Random
  nowMs = 0
  steps = 0
  hash = 0x811c9dc5
  /** Chance to let time pass although something is ready. */
  haste = 0.1
  /** Called with each step's line when someone wants to read the trace. */
  onTrace: ((line: string) => void) | undefined
  readonly gates = new Map<number, NodeGate>()
  #entries: Entry[] = []
  readonly #ready: number[] = []

  constructor(random: Random) {
    this.random = random
  }

  get pending(): readonly Entry[] {
    return this.#entries
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
  }

  /** Puts `text` into the trace. */
  note(text: string): void {
    let hash = this.hash
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    this.hash = hash >>> 0
    this.onTrace?.(`${this.steps} @${this.nowMs} ${text}`)
  }

  /** Cuts a dead incarnation off: nothing it waits for ever settles. Returns its requests under way. */
  sever(node: number): Entry[] {
    const cut = this.#entries.filter((entry) => entry.node === node)
    this.#entries = this.#entries.filter((entry) => entry.node !== node)
    this.gates.delete(node)
    return cut
  }

  /** Settles one entry; false when nothing can ever happen any more. */
  step(): boolean {
    const index = this.#choose()
    if (index < 0) return false
    const entry = this.#entries[index]!
    const last = this.#entries.pop()!
    if (last !== entry) this.#entries[index] = last
    if (entry.dueMs > this.nowMs && !entry.isReady?.()) this.nowMs = entry.dueMs
    this.steps++
    this.note(entry.label)
    entry.settle()
    return true
  }

  /**
   * Steps until `isDone` (asked after every step, once all woken code has run) or nothing is left.
   * A microtask that asks for a tick runs it only after every other microtask: the cheapest turn that is a fixed point.
   */
  run(isDone: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const again = () => process.nextTick(turn)
      const turn = () => {
        try {
          if (isDone() || !this.step()) return resolve()
        } catch (error) {
          return reject(error)
        }
        queueMicrotask(again)
      }
      process.nextTick(turn)
    })
  }

  #choose(): number {
    const entries = this.#entries
    const ready = this.#ready
    ready.length = 0
    let next = -1
    let nextMs = Infinity
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!
      const gate = this.gates.get(entry.node)
      let dueMs = entry.dueMs
      if (gate !== undefined) {
        if (gate.isPaused) continue
        if (gate.cutPorts.size > 0 && gate.cutPorts.has(entry.port)) dueMs = entry.deadlineMs
        else if (dueMs > this.nowMs && entry.isReady?.()) dueMs = this.nowMs
      }
      if (dueMs <= this.nowMs) ready.push(i)
      else if (dueMs < nextMs) {
        nextMs = dueMs
        next = i
      }
    }
    if (ready.length === 0 || (next >= 0 && nextMs - this.nowMs <= hasteMsMax && this.random.chance(this.haste))) {
      if (next >= 0 && nextMs > this.nowMs && nextMs < Infinity) this.nowMs = nextMs
      return nextMs < Infinity ? next : -1
    }
    for (let tries = 0; tries < 4; tries++) {
      const index = ready[Math.floor(this.random.next() * ready.length)]!
      const gate = this.gates.get(entries[index]!.node)
      if (gate === undefined || gate.speed >= 1 || this.random.chance(gate.speed)) return index
    }
    return ready[Math.floor(this.random.next() * ready.length)]!
  }
}
