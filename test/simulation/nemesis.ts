/** Makes trouble: what happens to nodes and servers between two steps of a schedule, and the end of all of it. */
import { Wire } from './wire.ts'
import { highestWatermark } from '../../src/ledger/ledger.ts'
import { happenings } from './faults.ts'
import type { Faults, Happening } from './faults.ts'
import type { Random } from './random.ts'
import type { PortName, Scheduler } from './scheduler.ts'
import type { Ring } from './sim-job-grid.ts'
import { SimMember } from './sim-member.ts'
import { SimNode } from './sim-node.ts'
import { scopeOf } from './sim-parts.ts'
import type { SimWorld } from './sim-parts.ts'
import { drawTaskSet } from './workload.ts'

export interface NemesisOptions {
  readonly world: SimWorld
  readonly random: Random
  readonly faults: Faults
  readonly scheduler: Scheduler
  readonly words: Random
  readonly isLossless: boolean
}

/** No reset and no other set of tasks opens more epochs than this, and no upgrade more than that. */
const epochsMax = 8
const upgradesMax = 4
/** Chance a step that an operator changes the tasks, in worlds where one does. */
const retaskChance = 0.012
/** A failover that is to forget an opening forgets at most so many commits since. */
const forgottenMax = 20

/** A supervisor's pause. */
const restartMs = 300

/** Chance that a node stays cut off from a server when all else heals. */
const lastingCutChance = 0.3

/** Chance a step that a request to drain ends without a cut. */
const withdrawChance = 0.015

export class Nemesis {
  readonly #of: NemesisOptions
  /** By slot; undefined while down. */
  readonly #nodes: (SimNode | SimMember | undefined)[]
  /** Whom each partition (`p0`) and queue (`0/1`) belongs to now. */
  readonly #assigned = new Map<string, SimNode>()
  #incarnations = 0
  /** When a supervisor last started a node again. */
  restartedMs = -Infinity
  #retainedPast = false
  readonly #retaskChance: number
  /** The first incarnation that saw no fault. */
  #peaceful = 0
  /** A node that the end of all other faults leaves without one of the servers, for ever (rule 22). */
  #lasting: { readonly slot: number; readonly ports: readonly PortName[] } | undefined

  constructor(options: NemesisOptions) {
    this.#of = options
    const { words, isLossless } = options
    this.#retaskChance = isLossless || words.chance(0.5) ? 0 : words.next() * 2 * retaskChance
    this.#nodes = Array.from({ length: options.world.sizes.nodes }, () => undefined)
  }

  begin(): void {
    this.#nodes.forEach((_, slot) => this.#start(slot))
    this.#assignAll()
  }

  /** An event ended the node behind `wire`; its supervisor starts it again. */
  killed(wire: Wire): void {
    const { scheduler } = this.#of
    const slot = this.#nodes.findIndex((node) => node?.wire === wire)
    this.#nodes[slot]?.crash()
    const dueMs = scheduler.nowMs + restartMs
    const settle = () => this.#restart(slot, wire)
    scheduler.add({ label: `n${slot} is started again`, node: -1, port: 'world', dueMs, deadlineMs: dueMs, settle })
  }

  #restart(slot: number, killed: Wire): void {
    if (this.#nodes[slot]?.wire !== killed) return
    this.#start(slot)
    if (slot === this.#lasting?.slot) this.#cutForGood()
    this.#assignAll()
    this.restartedMs = this.#of.scheduler.nowMs
  }

  /** Lets each happening happen by its chance. */
  act(): void {
    const { faults, random, world } = this.#of
    // The command that asked for it is withdrawn, or dies.
    if (world.database.isDraining && random.chance(withdrawChance)) world.database.isDraining = false
    if (this.#of.words.chance(this.#retaskChance) && this.#retask()) {
      faults.count('tasks')
      this.#of.scheduler.note(`tasks ${world.database.epoch.tasks.join()}`)
    }
    for (const happening of happenings) {
      if (random.chance(faults.chanceOf(happening)) && this.#make(happening)) {
        faults.count(happening)
        this.#of.scheduler.note(happening)
      }
    }
  }

  /** All faults end; every node runs, in the newest version. */
  heal(): void {
    const { faults, world, scheduler, random } = this.#of
    faults.isQuiet = true
    if (world.sizes.isClustered && random.chance(lastingCutChance)) {
      this.#lasting ??= { slot: random.int(0, this.#nodes.length - 1), ports: random.pick([['log'], ['ledger', 'sink']]) }
    }
    world.database.refusedTask = undefined
    world.topic.refused.clear()
    world.database.isDraining = false
    scheduler.note('heal')
    if (this.#retaskChance > 0 && this.#of.words.chance(0.5)) this.#bringAllBack()
    this.#nodes.forEach((node, slot) => {
      if (node !== undefined && (node.epoch !== world.database.epoch || isLeaving(node) || node.wire.isSevered)) this.#crash(slot)
      if (this.#nodes[slot] === undefined) this.#start(slot)
      const gate = scheduler.gates.get(this.#nodes[slot]!.wire.node)!
      gate.isPaused = false
      gate.speed = 1
      gate.cutPorts.clear()
    })
    this.#peaceful = this.#incarnations
    this.#cutForGood()
    this.#assignAll()
  }

  /**
   * A node that learned before the peace that its epoch was closed may leave it only now, although a failover opened it again:
   * it looks for the active epoch and comes back, as every node does. Else all that live may be cut off for good.
   */
  comeBack(): void {
    this.#nodes.forEach((node, slot) => {
      if (node === undefined || node.wire.node >= this.#peaceful || !(hasEnded(node) || wasClosed(node))) return
      this.#crash(slot)
      this.#start(slot)
      if (slot === this.#lasting?.slot) this.#cutForGood()
      this.#assignAll()
      this.restartedMs = this.#of.scheduler.nowMs
    })
  }

  #cutForGood(): void {
    if (this.#lasting === undefined) return
    const { scheduler, faults } = this.#of
    const { slot, ports } = this.#lasting
    for (const port of ports) scheduler.gates.get(this.#nodes[slot]!.wire.node)!.cutPorts.add(port)
    scheduler.note(`n${slot} is cut off from ${ports.join(' and ')} for good`)
    faults.count('lastingCut')
  }

  /** Some node never reaches a server again. */
  get isCutForGood(): boolean {
    return this.#lasting !== undefined
  }

  /** Nodes that run now. */
  get live(): (SimNode | SimMember)[] {
    return this.#nodes.filter((node) => node !== undefined && !node.wire.isSevered && !hasEnded(node)) as (SimNode | SimMember)[]
  }

  stop(): void {
    this.#nodes.forEach((node) => node?.crash())
  }

  #start(slot: number): void {
    const { world, scheduler, faults } = this.#of
    const node = this.#incarnations++
    scheduler.gates.set(node, { isPaused: false, speed: 1, cutPorts: new Set() })
    const { epoch } = world.database
    const wire = new Wire(node, `n${slot}.${node}`, scheduler, faults)
    const Kind = world.sizes.isClustered ? SimMember : SimNode
    this.#nodes[slot] = new Kind(world, wire, epoch)
  }

  #crash(slot: number): void {
    this.#nodes[slot]?.crash()
    this.#nodes[slot] = undefined
  }

  #assignAll(): void {
    const { sizes } = this.#of.world
    for (let partition = 0; partition < sizes.partitions; partition++) {
      this.#assignPartition(partition)
      for (let queue = 0; queue < sizes.queues; queue++) this.#assignQueue(partition, queue)
    }
  }

  /** Those that are told what they own. */
  #told(): SimNode[] {
    return this.#nodes.filter((node) => node instanceof SimNode && !node.wire.isSevered) as SimNode[]
  }

  /** Somebody else owns `partition` from now on, and the old owner knows it at once. */
  handOver(partition: number): void {
    this.#assignPartition(partition)
  }

  #assignPartition(partition: number): void {
    const live = this.#told()
    if (live.length === 0) return
    const chosen = this.#of.random.pick(live)
    this.#assigned.set(`p${partition}`, chosen)
    chosen.own(partition)
    for (const other of live)
      if (other !== chosen && other.owners.has(partition)) this.#later(other, `p${partition}`, () => other.disown(partition))
  }

  #assignQueue(partition: number, queue: number): void {
    const live = this.#told()
    if (live.length === 0) return
    const chosen = this.#of.random.pick(live)
    const name = `${partition}/${queue}`
    this.#assigned.set(name, chosen)
    chosen.serve(partition, queue)
    for (const other of live)
      if (other !== chosen && other.readers.has(name)) this.#later(other, name, () => other.unserve(partition, queue))
  }

  /** A node learns late that something is no longer its own: until then there are two owners. */
  #later(node: SimNode, name: string, lose: () => void): void {
    const what = () => {
      // It may have been given back meanwhile.
      if (this.#assigned.get(name) !== node) lose()
    }
    const { scheduler, faults } = this.#of
    if (faults.isQuiet) return what()
    const dueMs = scheduler.nowMs + faults.lateMs()
    scheduler.add({
      label: `${node.wire.name} learns what it lost`,
      node: node.wire.node,
      port: 'world',
      dueMs,
      deadlineMs: dueMs,
      settle: what,
    })
  }

  #make(happening: Happening): boolean {
    const { random, world, scheduler } = this.#of
    const { grid, database, topic, sizes } = world
    const gate = () => scheduler.gates.get(random.pick(this.live).wire.node)!
    const live = this.live
    if (live.length === 0 && happening !== 'crash') return false
    switch (happening) {
      case 'crash': {
        const slot = random.int(0, this.#nodes.length - 1)
        const node = this.#nodes[slot]
        if (node === undefined) this.#start(slot)
        else if (hasEnded(node) || node.wire.isSevered) this.#start(slot)
        else this.#crash(slot)
        this.#assignAll()
        return true
      }
      case 'stop': {
        const node = random.pick(live)
        if (node instanceof SimMember) node.stop()
        return node instanceof SimMember
      }
      case 'pause':
        return ((of) => ((of.isPaused = !of.isPaused), true))(gate())
      case 'slow':
        return ((of) => ((of.speed = of.speed < 1 ? 1 : 0.05 + random.next() * 0.4), true))(gate())
      case 'cutPort': {
        const { cutPorts } = gate()
        if (cutPorts.size > 0) cutPorts.clear()
        else for (const port of random.pick<PortName[]>([['log'], ['grid'], ['ledger', 'sink']])) cutPorts.add(port)
        return true
      }
      case 'failover':
        // One that forgot a floor above what was cut off would make a right log of it.
        if (topic.isTruncated) return false
        world.book?.forget()
        return this.#failover(random.int(1, 4))
      case 'schemaTrouble':
        database.refusedTask = database.refusedTask === undefined ? random.pick(sizes.tasks).name : undefined
        return true
      case 'logRefusal': {
        // A right taken away, or a damaged batch: no waiting mends it, until somebody does.
        const partition = random.int(0, sizes.partitions - 1)
        if (!topic.refused.delete(partition)) topic.refused.add(partition)
        return true
      }
      case 'drain':
        return !database.isDraining && (database.isDraining = true)
      case 'routingCut':
        return database.isDraining && this.cut()
      case 'reset':
        return this.#reset()
      case 'upgrade':
        return this.#upgrade()
      case 'retention':
        return ((p) => topic.expire(p, database.partitions[p]!.floor + 1n))(random.int(0, sizes.partitions - 1))
      case 'retentionPast': {
        if (this.#retainedPast) return false
        const partition = random.int(0, sizes.partitions - 1)
        this.#retainedPast = topic.expire(partition, database.partitions[partition]!.floor + BigInt(random.int(2, 8)))
        return this.#retainedPast
      }
      case 'truncation': {
        const partition = random.int(0, sizes.partitions - 1)
        const view = database.view(partition)
        // Without leader epochs only what is below the floor is looked at.
        const drawn = random.int(0, 9)
        const applied = topic.hasLeaderEpochs && drawn >= 5 ? highestWatermark(view) : view.floor
        const last = topic.eventAtFloor(partition, applied)
        const endOffset = applied - BigInt(drawn % 5)
        // What nobody has processed may vanish: the pipeline goes on with what is there.
        return last !== undefined && last.offset >= endOffset && topic.truncate(partition, endOffset)
      }
      case 'foreignCommit': {
        // An operator or another program moves the group's offsets: nothing of ours may start there.
        const log = topic.partitions[random.int(0, sizes.partitions - 1)]!
        log.committed = random.chance(0.5) ? log.endOffset - 1n : log.startOffset - 1n
        return true
      }
      case 'falseDeath':
        if (sizes.isClustered) return this.#burySomebody()
        if (random.chance(0.5)) this.#assignPartition(random.int(0, sizes.partitions - 1))
        else this.#assignQueue(random.int(0, sizes.partitions - 1), random.int(0, sizes.queues - 1))
        return true
      case 'gridLoss':
        grid.loseAll()
        grid.disturb()
        return true
      case 'mapLoss':
        grid.maps.clear()
        return true
      case 'mapEntryLoss': {
        const map = random.pick([...grid.maps.values(), new Map<string, string>()])
        const [key] = map.keys()
        return key !== undefined && map.delete(key)
      }
      case 'disturbance':
        grid.disturb()
        return true
      default:
        return this.#makeRing(happening)
    }
  }

  /** The others see a node leave that lives: its entry is gone until its next beat. */
  #burySomebody(): boolean {
    const { world, random } = this.#of
    const map = world.grid.maps.get(`forebay.${scopeOf(world.database.epoch)}.nodes`)
    return map !== undefined && map.size > 0 && map.delete(random.pick([...map.keys()]))
  }

  #makeRing(happening: Happening): boolean {
    const { random, world } = this.#of
    const names = [...world.grid.rings.keys()]
    if (names.length === 0) return false
    const name = random.pick(names)
    const ring: Ring = world.grid.rings.get(name)!
    const { entries } = ring
    if (entries.length === 0) return false
    switch (happening) {
      case 'ringLoss':
        world.grid.loseRing(name)
        return true
      case 'tailLoss':
        world.grid.lose(name, -random.int(1, 3), 3)
        return true
      case 'headLoss':
        return ((count) => (world.grid.lose(name, 0, count), (ring.head += count), true))(random.int(1, entries.length))
      case 'entryLoss':
        world.grid.lose(name, random.int(0, entries.length - 1), 1)
        return true
      case 'duplicate':
        world.grid.append(name, random.pick(entries))
        return true
      case 'foreignEntry':
        world.grid.append(name, Buffer.from(random.chance(0.5) ? 'nothing of ours' : Buffer.concat([entries[0]!, Buffer.from('!')])))
        return true
      case 'overwrite':
        for (let i = 0; i < world.grid.capacity; i++) world.grid.append(name, Buffer.from('a flood of another writer'))
        return true
      default:
        return false
    }
  }

  /** A node of another converter comes: it opens an epoch, and the old nodes follow in their own time. */
  #upgrade(): boolean {
    const { database } = this.#of.world
    const version = `v${database.everOpened.length + 1}`
    if (database.everOpened.length >= upgradesMax || !database.openEpoch(version)) return false
    this.#follow()
    return true
  }

  /** A node dies, and another one takes its place. */
  replaceOne(): true {
    const slot = this.#of.random.int(0, this.#nodes.length - 1)
    this.#crash(slot)
    this.#start(slot)
    if (slot === this.#lasting?.slot) this.#cutForGood()
    this.#assignAll()
    return true
  }

  /** Another routing is cut over, if all is drained; false when it is not. */
  cut(): boolean {
    if (!this.#of.world.database.cutRouting()) return false
    this.#follow()
    return true
  }

  /** An operator's restart from an earlier point of the log. */
  #reset(): boolean {
    const { world, random } = this.#of
    const { database, topic } = world
    // It would be a decision on what was cut off, after which the oracle would have to forget.
    if (topic.isTruncated) return false
    const cuts = topic.partitions.map(({ startOffset }, p) => {
      const earliest = startOffset - 1n
      const cut = database.partitions[p]!.floor - BigInt(random.int(0, 12))
      return random.chance(0.3) || cut < earliest ? earliest : cut
    })
    if (database.everOpened.length >= epochsMax || !database.reset(cuts)) return false
    this.#follow()
    return true
  }

  /** A standby takes over without the last commits, now and then without the opening of the epoch. */
  #failover(count: number): boolean {
    const { world, words, faults } = this.#of
    const sinceOpening = world.database.sinceOpening ?? Infinity
    const { lost, epochs } = world.database.failover(sinceOpening < forgottenMax && words.chance(0.5) ? sinceOpening + 1 : count)
    if (epochs > 0) faults.count('forgottenEpoch')
    return lost > 0
  }

  /** An operator leaves tasks out, in words, or brings some back, where they stood or without what they missed. */
  #retask(): boolean {
    const { world, words } = this.#of
    const { database, sizes } = world
    // A floor that goes back below what was cut off makes a right log of it.
    if (world.topic.isTruncated) return false
    const before = database.epoch.tasks
    const tasks = drawTaskSet(words, sizes.tasks)
    if (database.everOpened.length >= epochsMax || tasks.join() === before.join()) return false
    // Another carrier of whole events knows of those under way only where nothing is.
    if (!tasks.includes(before[0]!) && !database.isDrained) return false
    const back = tasks.filter((task) => database.away.includes(task))
    const skipping = back.filter((task) => this.#isLost(task) || words.chance(0.2))
    if (!database.changeTasks(tasks, skipping)) return false
    this.#follow()
    return true
  }

  /** Where the log has what each task has not seen. */
  #bringAllBack(): void {
    const { world } = this.#of
    const { database, sizes } = world
    const tasks = sizes.tasks.filter((task) => task.isTracked).map(({ name }) => name)
    const skipping = database.away.filter((task) => this.#isLost(task))
    if (tasks.length > database.epoch.tasks.length && database.changeTasks(tasks, skipping)) this.#of.scheduler.note('all tasks')
  }

  /** The log no longer has what `task`, which is away, has not seen. */
  #isLost(task: string): boolean {
    const { database, topic } = this.#of.world
    return database.partitions.some(({ floor, rows }, p) =>
      rows.get(task)!.some((mark) => mark < floor && mark + 1n < topic.partitions[p]!.startOffset),
    )
  }

  /** Nodes of the new epoch come; some old ones learn of it in their own time. */
  #follow(): void {
    this.#nodes.forEach((_, slot) => {
      if (slot > 0 && this.#of.random.chance(0.5)) return
      this.#crash(slot)
      this.#start(slot)
    })
    this.#assignAll()
  }
}

function hasEnded(node: SimNode | SimMember): boolean {
  return node instanceof SimMember && node.isEnded
}

function wasClosed(node: SimNode | SimMember): boolean {
  return node instanceof SimNode && node.wasClosed
}

function isLeaving(node: SimNode | SimMember): boolean {
  return node instanceof SimMember ? node.isEnded || node.isStopping : node.wasClosed
}
