/**
 * The conversion of one partition by one owner, which an event that ends or hangs its process cannot stop for long (rule 23).
 *
 * *Calm*, it converts here and at once. *Careful*, after two deaths of owners at one floor, events are converted in the sandbox: its
 * death names one event, is counted in the book (a second one of the same owner twice), and at the third the event becomes a dead letter; after `calmEvents` without a
 * death it is calm again. *Wary*, when careful owners died too, each event is counted before it is tried and acquitted afterwards,
 * so that even what takes the whole node with it is found by the nodes that come after.
 *
 * An event with three deaths is never converted again, in whichever state: a repair or a new owner meets it once more.
 */
import { isForebayError } from '../errors.ts'
import type { EventRecord } from '../events/event-log.ts'
import type { Observer } from '../observer.ts'
import { Backoff } from '../schedule/backoff.ts'
import type { Clock } from '../schedule/clock.ts'
import type { ConvertedEvent, Converter } from './converter.ts'
import type { OwnerBook, OwnerRecord } from './owner-book.ts'
import type { Sandbox, SandboxOutcome } from './sandbox.ts'

export interface CarefulPorts {
  readonly book: OwnerBook
  readonly sandbox: Sandbox
}

type Ports = CarefulPorts & { readonly clock: Clock; readonly observer: Observer }

/** Deaths of owners at one floor that make the next one careful. */
export const carefulDeaths = 2
/** As many more, while somebody was careful, make it wary. */
export const waryDeaths = 4
/** Deaths at one offset that bury its event. */
export const buryDeaths = 3
/** Events without a death after which a careful owner trusts the others. */
const calmEvents = 10_000
/** And a wary one the sandbox. */
const warySteps = 1_000
/** Events that the sandbox is given at a time. */
export const sandboxEventsMax = 64

export class CarefulConversion {
  readonly #ports: Ports
  readonly #converter: Converter
  readonly #partition: number
  readonly #deaths: Map<bigint, number>
  readonly #how = new Map<bigint, string>()
  /** Where the sandbox was last given events. */
  #at: bigint | undefined
  /** Events that are still to be converted in the sandbox, and of these one by one. */
  #carefulLeft: number
  #waryLeft: number

  constructor(ports: Ports, converter: Converter, partition: number, { deaths, suspects }: OwnerRecord) {
    this.#ports = ports
    this.#converter = converter
    this.#partition = partition
    this.#deaths = new Map(suspects)
    this.#carefulLeft = deaths >= carefulDeaths || suspects.size > 0 ? calmEvents : 0
    this.#waryLeft = deaths >= waryDeaths ? warySteps : 0
    if (this.isCareful) {
      const why = deaths >= carefulDeaths ? `${deaths} owners died at its floor` : 'events above its floor ended their process'
      ports.observer.log('warn', `partition ${partition}: ${why}; its events are converted in a process of their own for a while`)
    }
  }

  get isCareful(): boolean {
    return this.#carefulLeft > 0
  }

  /** What it does while it is careful, for people. */
  get sentence(): string | undefined {
    if (!this.isCareful) return undefined
    const at = this.#at === undefined ? '' : `, now from offset ${this.#at} on`
    return `its events are converted in a process of their own, since owners died at its floor${at}`
  }

  /** Undefined when `signal` aborted on the way. */
  async convertAll(records: readonly EventRecord[], signal: AbortSignal): Promise<readonly ConvertedEvent[] | undefined> {
    const converted: ConvertedEvent[] = []
    for (let from = 0; from < records.length;) {
      const step = !this.isCareful ? records.length : this.#waryLeft > 0 ? 1 : sandboxEventsMax
      const part = await this.#convert(records.slice(from, from + step), signal)
      if (part === undefined) return undefined
      converted.push(...part)
      from += part.length
    }
    return converted
  }

  async #convert(records: readonly EventRecord[], signal: AbortSignal): Promise<readonly ConvertedEvent[] | undefined> {
    for (;;) {
      const alive = this.#deaths.size === 0 ? records : records.filter((record) => !this.#isBuried(record))
      const made = this.isCareful && alive.length > 0 ? await this.#try(alive, signal) : this.#converter.convertAll(alive, this.#partition)
      if (made === undefined) return undefined
      if (made === 'died') continue
      if (alive.length === records.length) return made
      let next = 0
      return records.map((record) => (this.#isBuried(record) ? this.#bury(record) : made[next++]!))
    }
  }

  /** In the sandbox; `died`: one of them has one death more. */
  async #try(records: readonly EventRecord[], signal: AbortSignal): Promise<readonly ConvertedEvent[] | 'died' | undefined> {
    const isWary = this.#waryLeft > 0
    this.#at = records[0]!.offset
    // Recorded before it is converted: whoever comes after this process must know.
    if (isWary && !(await this.#count(records[0]!.offset, signal))) return undefined
    const outcome = await this.#insist(() => this.#ports.sandbox.convert(records, this.#partition), signal)
    if (outcome === undefined) return undefined
    if ('died' in outcome) return (await this.#note(outcome.died, isWary, signal)) ? 'died' : undefined
    this.#carefulLeft = Math.max(0, this.#carefulLeft - records.length)
    this.#waryLeft = Math.max(0, this.#waryLeft - records.length)
    for (const { offset } of records) {
      if (!this.#deaths.delete(offset)) continue
      if ((await this.#insist(async () => (await this.#ports.book.acquit(this.#partition, offset), true), signal)) === undefined)
        return undefined
    }
    return outcome.converted
  }

  async #note(
    { offset, how }: Extract<SandboxOutcome, { died: unknown }>['died'],
    isCounted: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    this.#carefulLeft = calmEvents
    // The second time here counts twice: two processes died with this very event in hand, and nothing else.
    const times = (isCounted ? 0 : 1) + (this.#how.has(offset) ? 1 : 0)
    this.#how.set(offset, how)
    for (let time = 0; time < times; time++) if (!(await this.#count(offset, signal))) return false
    this.#ports.observer.log('warn', `partition ${this.#partition}: the process that converted the event at offset ${offset} ${how}`, {
      deaths: this.#deaths.get(offset),
    })
    return true
  }

  async #count(offset: bigint, signal: AbortSignal): Promise<boolean> {
    const deaths = await this.#insist(() => this.#ports.book.suspect(this.#partition, offset), signal)
    if (deaths !== undefined) this.#deaths.set(offset, deaths)
    return deaths !== undefined
  }

  #isBuried({ offset }: EventRecord): boolean {
    return (this.#deaths.get(offset) ?? 0) >= buryDeaths
  }

  #bury(record: EventRecord): ConvertedEvent {
    const how = this.#how.get(record.offset)
    return this.#converter.bury(
      record,
      `the event ends its process: ${buryDeaths} times whoever converted it did not live on${how === undefined ? '' : `; the last one ${how}`}`,
    )
  }

  /** Until it succeeds; undefined when `signal` aborts first. */
  async #insist<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
    const backoff = new Backoff()
    let trouble: string | undefined
    while (!signal.aborted) {
      try {
        return await call()
      } catch (error) {
        if (!isForebayError(error) || error.policy !== 'retry') throw error
        if (trouble !== error.message)
          this.#ports.observer.log('warn', `partition ${this.#partition}: ${error.message}`, { code: error.code })
        trouble = error.message
        await this.#ports.clock.sleep(backoff.next(), signal)
      }
    }
    return undefined
  }
}
