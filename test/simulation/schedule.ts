/** One schedule: a seed, a world of its own, faults for a while, then peace, in which everything must come to its end. */
import { counterNames } from '../../src/observer.ts'
import type { CounterName, Observer } from '../../src/observer.ts'
import { effectiveWatermark } from '../../src/ledger/ledger.ts'
import type { PartitionView } from '../../src/ledger/ledger.ts'
import { Violation, demand } from '../guarantees/violation.ts'
import { buildWorld } from './build-world.ts'
import type { BuiltWorld } from './build-world.ts'
import type { FaultName } from './faults.ts'
import { MemoryWatch } from './memory-watch.ts'
import { Nemesis } from './nemesis.ts'
import { OwnershipWatch } from './ownership-watch.ts'
import { scopeOf } from './sim-parts.ts'
import type { Wire } from './wire.ts'

export interface ScheduleResult {
  readonly seed: number
  readonly steps: number
  readonly faults: number
  readonly hash: number
  readonly counts: Readonly<Record<string, number>>
  /** What went wrong, or undefined. */
  readonly violation: string | undefined
  /** The number of the invariant that was broken; `crash` for an error of the code itself that names none. */
  readonly rule: string | undefined
}

export interface ScheduleOptions {
  readonly onTrace?: ((line: string) => void) | undefined
}

const peaceStepsMax = 40_000
/** Every so many steps memory and ownership are looked at. */
const lookSteps = 16
const eventsInPeace = 6
/** How long after the last fault nodes may still disagree about who owns what: leases, and answers that come late. */
const disagreeMs = 10_000
/** How long nodes may disagree later: a few beats. */
const handoverMs = 2000
/** And how long until work leaves a node that stays cut off: calls that end, and what counts as a cut. */
const lastingCutMs = 30_000
/** How long a task stays blocked before the failover, and the longest that healthy ones need after it: a look, their cadence, and where the grid lost it too, a repair. */
const blockedMs = 3000
/** Steps that a recovery may take however slow they are. */
const recoverySteps = 400
const recoveryMs = 8000

export async function runSchedule(seed: number, { onTrace }: ScheduleOptions = {}): Promise<ScheduleResult> {
  const world = buildWorld(seed)
  const { scheduler, faults, grid } = world
  scheduler.onTrace = onTrace
  const schedule = new Schedule(world)
  let violation: string | undefined
  try {
    await schedule.run()
  } catch (error) {
    violation = error instanceof Violation ? error.message : `crash: ${error instanceof Error ? error.stack : String(error)}`
  }
  const { counts, ownership } = schedule
  counts['overwrites'] = grid.overwrites
  counts['twoOwners'] = ownership.twoOwners
  for (const [name, count] of faults.counts) counts[`fault.${name satisfies FaultName}`] = count
  return { seed, steps: scheduler.steps, faults: faults.total, hash: scheduler.hash, counts, violation, rule: ruleOf(violation) }
}

/** The product asserts invariants too, and names them. */
function ruleOf(violation: string | undefined): string | undefined {
  if (violation === undefined) return undefined
  return (/an invariant does not hold: ([IL]\d+)/.exec(violation) ?? /^(\w+):/.exec(violation))?.[1]
}

class Schedule {
  readonly counts: Record<string, number> = {}
  readonly ownership: OwnershipWatch
  readonly #world: BuiltWorld
  readonly #nemesis: Nemesis
  readonly #memory: MemoryWatch
  readonly #halted = new Set<number>()
  #settledByMs = Infinity
  #unsettledSinceMs = Infinity
  #handovers = 0
  #death: unknown

  constructor(world: BuiltWorld) {
    this.#world = world
    this.ownership = new OwnershipWatch(world.sizes)
    this.#memory = new MemoryWatch(world.sizes)
    const seen = {
      observer: countingObserver(this.counts),
      onKill: (wire: Wire) => this.#nemesis.killed(wire),
      onHalt: (partition: number) => void this.#halted.add(partition),
      onDeath: (error: unknown) => void (this.#death ??= error),
    }
    this.#nemesis = new Nemesis({ ...world, world: { ...world, ...seen } })
  }

  async run(): Promise<void> {
    const { scheduler, random, topic, repairs, sizes, isLossless, database } = this.#world
    const produce = () => topic.produce(random.int(0, sizes.partitions - 1), scheduler.nowMs)
    try {
      this.#nemesis.begin()
      await scheduler.run(() => {
        this.#look()
        if (scheduler.steps >= sizes.faultySteps) return true
        if (random.chance(sizes.produceRate)) produce()
        if (random.chance(this.#handoverChance)) this.#handOver()
        this.#nemesis.act()
        return false
      })
      this.#look()
      if (this.#world.isCalm) this.#demandCalm()
      this.#nemesis.heal()
      topic.killRate = 0
      this.#halted.clear()
      this.#settledByMs = scheduler.nowMs + this.#disagreeMs
      await this.#peace()
      const isSafe = !isLossless && this.#world.book === undefined
      if (isSafe && random.chance(0.2) && !database.hasUnevenTask) await this.#cutInPeace(produce)
      if (isSafe && random.chance(0.3)) await this.#recoverBesideBlocked(produce)
      const before = repairs.repairs
      demand(!isLossless || before === 0, 'L2', () => `${before} repairs although nothing was lost`)
      // More events in peace. What was lost before may show now, once a queue; more would be a storm of repairs.
      for (let i = 0; i < eventsInPeace; i++) produce()
      await this.#peace()
      const extraMax = isLossless ? 0 : sizes.partitions * sizes.queues
      demand(repairs.repairs - before <= extraMax, 'L2', () => `${repairs.repairs - before} repairs in peace`)
      demand(repairs.repairs === this.counts['repairs'], 'L2', () => `${this.counts['repairs']} repairs, ${repairs.repairs} were told of`)
    } finally {
      this.#nemesis.stop()
    }
  }

  /** In a calm world another node takes a partition now and then, as when a node joins. */
  get #handoverChance(): number {
    return this.#world.isCalm && this.#world.sizes.nodes > 2 ? 0.003 : 0
  }

  #handOver(): void {
    this.#handovers++
    this.#nemesis.handOver(this.#world.random.int(0, this.#world.sizes.partitions - 1))
  }

  /** L3: what costs something, and is done only where something went wrong, is not done at all. */
  #demandCalm(): void {
    const always = ['forgets', 'fences', 'gaps', 'flags', 'repairs', 'appendRetries']
    // A new owner sends again what its predecessor sent above the floor, and takes the tails over.
    const unlessHandedOver = ['skips', 'heartbeats']
    for (const name of this.#handovers === 0 ? [...always, ...unlessHandedOver] : always) {
      demand(this.counts[name] === 0, 'L3', () => `${this.counts[name]} ${name} although nothing went wrong`)
    }
    this.counts['calm'] = 1
  }

  /**
   * L1 of healthy tasks: the database forgets commits while another task is blocked and holds jobs in every queue. What the
   * healthy ones lost is applied again in time, although nothing new comes that would show the loss.
   */
  async #recoverBesideBlocked(produce: () => void): Promise<void> {
    const { scheduler, database, random } = this.#world
    const tracked = database.epoch.tasks
    if (tracked.length < 2 || this.#nemesis.isCutForGood) return
    const blocked = random.pick(tracked)
    database.refusedTask = blocked
    for (let i = 0; i < eventsInPeace * 2; i++) produce()
    const run = (ms: number, isDone: () => boolean) => {
      const [untilMs, untilStep] = [scheduler.nowMs + ms, scheduler.steps + recoverySteps]
      // In a slow world a step takes a good part of a second: the time alone says nothing there.
      return scheduler.run(() => (this.#look(), (scheduler.nowMs >= untilMs && scheduler.steps >= untilStep) || isDone()))
    }
    await run(blockedMs, () => false)
    const before = database.partitions.map((_, p) => database.view(p))
    // The epoch stays: a forgotten one is another matter.
    this.counts['forgottenBesideBlocked'] = database.failover(Math.min(random.int(1, 6), database.sinceOpening ?? Infinity)).lost
    const behind = () =>
      before
        .flatMap((view) => (this.#isCutOff(view.partition) ? [] : this.#notAppliedAgain(view, blocked)))
        .filter((found) => !this.#isHeld(found, blocked))
        .map(({ task, partition, queue }) => `${task} ${partition}/${queue}`)
    const startedMs = scheduler.nowMs
    // What has to be made again waits for company first.
    const withinMs = recoveryMs + 2 * this.#world.sizes.lingerMs
    await run(withinMs, () => behind().length === 0)
    demand(behind().length === 0, 'L1', () => `${behind().join(', ')} not applied again after ${withinMs} ms, beside ${blocked}`)
    this.counts['recoveryMs'] = scheduler.nowMs - startedMs
    database.refusedTask = undefined
    await this.#peace()
  }

  /** Healthy tasks, with their queues, whose rows stand below those of `before`, and were not passed by the floor. */
  #notAppliedAgain({ partition, rows }: PartitionView, blocked: string): { task: string; partition: number; queue: number }[] {
    const now = this.#world.database.view(partition)
    return [...rows].flatMap(([task, marks]) =>
      marks.flatMap((mark, queue) => (task !== blocked && effectiveWatermark(now, task, queue) < mark ? [{ task, partition, queue }] : [])),
    )
  }

  /**
   * Rule 3: what the blocked task holds of this queue is all that its reader may hold, so it reads no further; or all that its
   * owner may have sent, and of that everything is applied: segments that are made again may be shorter than they were.
   */
  #isHeld({ task, partition, queue }: { task: string; partition: number; queue: number }, blocked: string): boolean {
    const { live } = this.#nemesis
    const readers = live.flatMap(({ partReaders }) => [...partReaders]).filter(({ id }) => id.partition === partition && id.queue === queue)
    if (readers.some((reader) => (reader.inbox(blocked)?.intervals ?? 0) > this.#world.sizes.windowSegmentsMax)) return true
    const applied = effectiveWatermark(this.#world.database.view(partition), task, queue)
    return live
      .flatMap(({ partOwners }) => partOwners.filter((owner) => owner.partition === partition))
      .some(({ outboxes }) => outboxes[queue]?.isFull === true && outboxes[queue].sent <= applied)
  }

  /** I11: events are gone that nobody had processed, so the partition halts. */
  #isCutOff(partition: number): boolean {
    const { database, topic } = this.#world
    const { startOffset, truncatedAt } = topic.partitions[partition]!
    return truncatedAt !== undefined || database.partitions[partition]!.floor + 1n < startOffset
  }

  get #disagreeMs(): number {
    return disagreeMs + (this.#nemesis.isCutForGood ? lastingCutMs : 0)
  }

  /** After every step: does everybody live, and every so often: who holds what. */
  #look(): void {
    const death = this.#death
    if (death instanceof Violation) throw death
    if (death instanceof Error) throw new Violation('crash', `a part of a node died: ${death.stack ?? death.message}`)
    const { scheduler, grid, database, faults } = this.#world
    if (scheduler.steps % lookSteps !== 0) return
    if (faults.isQuiet) this.#nemesis.comeBack()
    const { live } = this.#nemesis
    for (const node of live) this.#memory.check(node.wire.name, node)
    this.#memory.checkGrid(grid, scopeOf(database.epoch))
    this.ownership.look(live)
    if (scheduler.nowMs > Math.max(this.#settledByMs, this.#nemesis.restartedMs + this.#disagreeMs)) this.#demandOwnersSoon()
    else this.#unsettledSinceMs = Infinity
  }

  /** What a node was cut from it takes back late, and then two hold it until both have seen so. */
  #demandOwnersSoon(): void {
    const { scheduler } = this.#world
    if (this.ownership.hasSettled(this.#nemesis.live)) this.#unsettledSinceMs = Infinity
    else this.#unsettledSinceMs = Math.min(this.#unsettledSinceMs, scheduler.nowMs)
    if (scheduler.nowMs - this.#unsettledSinceMs > handoverMs) this.#demandOwners()
  }

  #demandOwners(): void {
    const { live } = this.#nemesis
    demand(this.ownership.hasSettled(live), 'L1', () => `not everything has one owner: ${this.ownership.describe(live)}`)
  }

  /** Everything is applied, or halted for good, and has its owner. */
  #hasEnded(): boolean {
    return this.#world.topic.partitions.every((_, p) => this.#isDone(p)) && this.ownership.hasSettled(this.#nemesis.live)
  }

  /** L1 of a drained cut: while events come and a node dies, nodes that are asked to drain do so in time. */
  async #cutInPeace(produce: () => void): Promise<void> {
    const { scheduler, database, random } = this.#world
    for (let i = 0; i < eventsInPeace; i++) produce()
    const until = scheduler.steps + peaceStepsMax
    await scheduler.run(() => {
      this.#look()
      if (random.chance(0.02)) produce()
      return scheduler.steps >= until || !database.isDrained
    })
    database.isDraining = true
    let isReplaced = false
    await scheduler.run(() => {
      this.#look()
      if (random.chance(0.02)) produce()
      if (!isReplaced && !database.isDrained && random.chance(0.1)) {
        isReplaced = this.#nemesis.replaceOne()
        this.#settledByMs = scheduler.nowMs + disagreeMs
      }
      return scheduler.steps >= until || (database.isDrained && database.open.size === 0)
    })
    this.#look()
    const isCut = this.#nemesis.cut()
    demand(isCut || this.#halted.size > 0, 'L1', () => 'the pipeline was asked to drain and did not')
    this.counts['cutInPeace'] = (this.counts['cutInPeace'] ?? 0) + (isCut ? 1 : 0)
    this.#nemesis.heal()
    this.#settledByMs = scheduler.nowMs + this.#disagreeMs
    await this.#peace()
  }

  #isDone(partition: number): boolean {
    const { database, topic } = this.#world
    const { floor } = database.partitions[partition]!
    const { endOffset, truncatedAt } = topic.partitions[partition]!
    // Rule 21: however the log grew again, it stands still until an operator decides.
    if (truncatedAt !== undefined) return database.halts.has(partition)
    if (database.epochForgotten.has(partition) && database.halts.has(partition)) return true
    return floor >= endOffset - 1n || (this.#isCutOff(partition) && this.#halted.has(partition))
  }

  async #peace(): Promise<void> {
    const { scheduler, topic, database, oracle, random } = this.#world
    const until = scheduler.steps + peaceStepsMax
    await scheduler.run(() => {
      this.#look()
      // A log that was cut off goes on growing.
      topic.partitions.forEach(({ truncatedAt }, p) => {
        if (truncatedAt !== undefined && !database.halts.has(p) && random.chance(0.01)) topic.produce(p, scheduler.nowMs)
      })
      return scheduler.steps >= until || (scheduler.steps % 8 === 0 && this.#hasEnded())
    })
    this.#look()
    topic.partitions.forEach(({ endOffset }, p) => {
      const { floor } = database.partitions[p]!
      demand(this.#isDone(p), 'L1', () => `partition ${p} is stuck at floor ${floor}, the log ends at ${endOffset}`)
      oracle.complete(p, Number(floor))
    })
    this.#demandOwners()
  }
}

function countingObserver(counts: Record<string, number>): Observer {
  for (const name of Object.keys(counterNames) as CounterName[]) counts[name] = 0
  return {
    count: (name, by) => void (counts[name] = (counts[name] ?? 0) + by),
    value: () => undefined,
    committed: () => undefined,
    log: () => undefined,
  }
}
