/** The book of owners and the sandbox of a world in which some events end the process that converts them. */
import type { EventRecord } from '../../src/events/event-log.ts'
import type { CarefulPorts } from '../../src/ingest/careful-conversion.ts'
import type { Converter } from '../../src/ingest/converter.ts'
import type { OwnerBook, OwnerRecord } from '../../src/ingest/owner-book.ts'
import type { Sandbox, SandboxOutcome } from '../../src/ingest/sandbox.ts'
import { SimClock } from './sim-clock.ts'
import type { SimEpoch } from './sim-database.ts'
import type { SimWorld } from './sim-parts.ts'
import type { Wire } from './wire.ts'

interface Entry {
  owner: string | undefined
  epoch: number
  floor: bigint
  deaths: number
}

/** What the ledger's database holds of it; a failover forgets it all. */
export class SimBook {
  readonly #owners = new Map<number, Entry>()
  readonly #suspects = new Map<number, Map<bigint, number>>()
  #epoch = 0

  forget(): void {
    this.#owners.clear()
    this.#suspects.clear()
  }

  begin(partition: number, owner: string, epoch: number, floor: bigint): OwnerRecord {
    if (epoch > this.#epoch) this.forget()
    this.#epoch = Math.max(epoch, this.#epoch)
    const before = this.#owners.get(partition)
    const isDead = before?.owner === undefined ? 0 : 1
    const deaths = before === undefined ? 0 : before.floor === floor ? before.deaths + isDead : isDead
    this.#owners.set(partition, { owner, epoch, floor, deaths })
    const suspects = [...(this.#suspects.get(partition) ?? [])].filter(([offset]) => offset > floor)
    return { deaths, suspects: new Map(suspects) }
  }

  leave(partition: number, owner: string): void {
    const entry = this.#owners.get(partition)
    if (entry?.owner === owner) entry.owner = undefined
  }

  suspect(partition: number, offset: bigint): number {
    const of = this.#suspects.get(partition) ?? new Map<bigint, number>()
    this.#suspects.set(partition, of)
    of.set(offset, (of.get(offset) ?? 0) + 1)
    return of.get(offset)!
  }

  acquit(partition: number, offset: bigint): void {
    this.#suspects.get(partition)?.delete(offset)
  }
}

/** Whether the event ends whoever converts it; the one thing that is read of it here. */
export function isKiller(value: Buffer | null): boolean {
  return value !== null && value.toString().endsWith(',"kills"]')
}

export function carefulOf(world: SimWorld, wire: Wire, { number: epoch }: SimEpoch, converter: Converter): { careful?: CarefulPorts } {
  const { book } = world
  if (book === undefined) return {}
  return { careful: { book: new WiredBook(world, book, wire, epoch), sandbox: new SimSandbox(wire, converter) } }
}

class WiredBook implements OwnerBook {
  readonly #world: SimWorld
  readonly #book: SimBook
  readonly #wire: Wire
  readonly #epoch: number

  constructor(world: SimWorld, book: SimBook, wire: Wire, epoch: number) {
    this.#world = world
    this.#book = book
    this.#wire = wire
    this.#epoch = epoch
  }

  begin(partition: number, owner: string): Promise<OwnerRecord> {
    const floor = () => this.#world.database.partitions[partition]!.floor
    return this.#wire.call('ledger', `begin p${partition}`, () => this.#book.begin(partition, owner, this.#epoch, floor()))
  }

  leave(partition: number, owner: string): Promise<void> {
    return this.#wire.call('ledger', `leave p${partition}`, () => this.#book.leave(partition, owner))
  }

  suspect(partition: number, offset: bigint): Promise<number> {
    return this.#wire.call('ledger', `suspect p${partition} ${offset}`, () => this.#book.suspect(partition, offset))
  }

  acquit(partition: number, offset: bigint): Promise<void> {
    return this.#wire.call('ledger', `acquit p${partition} ${offset}`, () => this.#book.acquit(partition, offset))
  }
}

/** How often a sandbox dies at an event that is not at fault; never more than twice at one. */
const innocentDeathChance = 0.02

class SimSandbox implements Sandbox {
  readonly #wire: Wire
  readonly #converter: Converter
  readonly #clock: SimClock
  readonly #innocent = new Set<string>()

  constructor(wire: Wire, converter: Converter) {
    this.#wire = wire
    this.#converter = converter
    this.#clock = new SimClock(wire)
  }

  async convert(records: readonly EventRecord[], partition: number): Promise<SandboxOutcome> {
    const { faults } = this.#wire
    await this.#clock.sleep(faults.random.int(0, 20))
    const killer = records.find(({ value }) => isKiller(value))
    const struck = faults.random.pick(records)
    const name = `${partition}/${struck.offset}`
    const isStruck = !faults.isQuiet && !this.#innocent.has(name) && faults.random.chance(innocentDeathChance)
    if (isStruck) this.#innocent.add(name)
    const offset = isStruck ? struck.offset : killer?.offset
    if (offset === undefined) return { converted: this.#converter.convertAll(records, partition) }
    faults.count(isStruck ? 'innocentDeath' : 'killed')
    return { died: { offset, how: 'was ended' } }
  }
}
