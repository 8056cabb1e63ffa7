/**
 * The sandbox as processes beside the node: at most two, started when there is something to convert and ended when there is no more
 * for a while. A process that dies at an event is replaced; so is one that does not come back from it in time.
 *
 * Time is counted in turns of this node's own timer: a machine that slept, or a node that was stopped, blames nobody.
 */
import { ForebayError } from '../errors.ts'
import type { EventRecord } from '../events/event-log.ts'
import type { Sandbox, SandboxOutcome } from '../ingest/sandbox.ts'
import { SandboxProcess } from './sandbox-process.ts'
import type { SandboxSetup, WireRecord } from './sandbox-wire.ts'

export interface ProcessSandboxOptions extends Omit<SandboxSetup, 'parentPid'> {
  /** How long one event may take. */
  readonly eventMs: number
}

const processesMax = 2
const idleMs = 10_000
const sparesMax = 2
const sparesMs = 60_000

export class ProcessSandbox implements Sandbox {
  readonly #options: ProcessSandboxOptions
  readonly #idle: SandboxProcess[] = []
  readonly #waiting: (() => void)[] = []
  readonly #all = new Set<SandboxProcess>()
  #busy = 0
  #isClosed = false

  constructor(options: ProcessSandboxOptions) {
    this.#options = options
  }

  async convert(records: readonly EventRecord[], partition: number): Promise<SandboxOutcome> {
    while (this.#busy >= processesMax) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#busy++
    try {
      const process = await this.#process()
      const outcome = await process.convert(partition, records.map(wireOf))
      if ('converted' in outcome) {
        this.#rest(process)
        return outcome
      }
      if ('unprepared' in outcome) {
        this.#rest(process)
        throw new ForebayError(outcome.unprepared.code, outcome.unprepared.sentence)
      }
      this.#all.delete(process)
      this.#prepare()
      const { index, how } = outcome.died
      // Between two events only what an earlier one left behind can end it.
      if (index === undefined) throw new ForebayError('FB_SANDBOX', `The process for suspicious events ${how} before it was at an event.`)
      return { died: { offset: records[index]!.offset, how } }
    } finally {
      this.#busy--
      this.#waiting.shift()?.()
    }
  }

  async #process(): Promise<SandboxProcess> {
    for (let ready = this.#idle.shift(); ready !== undefined; ready = this.#idle.shift()) {
      if (this.#isClosed) break
      if (!ready.wake()) this.#all.delete(ready)
      else {
        await ready.ready
        return ready
      }
    }
    const process = this.#launch()
    await process.ready
    return process
  }

  #launch(): SandboxProcess {
    if (this.#isClosed) throw new ForebayError('FB_SANDBOX', 'The node ends, and its process for suspicious events with it.')
    const { eventMs, ...setup } = this.#options
    const process = new SandboxProcess(setup, eventMs)
    this.#all.add(process)
    process.ready.catch(() => this.#all.delete(process))
    return process
  }

  /** After a death more of them are likely: who is next must not wait for a process to load the pipeline. */
  #prepare(): void {
    while (!this.#isClosed && this.#idle.length < sparesMax) {
      const spare = this.#launch()
      spare.rest(sparesMs)
      this.#idle.push(spare)
    }
  }

  #rest(process: SandboxProcess): void {
    if (this.#isClosed) return process.end()
    this.#idle.push(process)
    process.rest(idleMs)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    for (const process of this.#all) process.end()
    for (const wake of this.#waiting.splice(0)) wake()
    return Promise.resolve()
  }
}

function wireOf({ offset, timestampMs, key, value, headers }: EventRecord): WireRecord {
  return { offset, timestampMs, key: copyOf(key), value: copyOf(value), headers: headers === undefined ? undefined : [...headers] }
}

/** Alone: a view would take the whole batch with it. */
function copyOf(bytes: Buffer | null): Uint8Array | null {
  return bytes === null ? null : new Uint8Array(bytes)
}
