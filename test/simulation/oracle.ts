/**
 * The independent checker of a simulation: it knows what every event must become from the description the event was made
 * of, watches what is committed, and speaks up at the first step that breaks an invariant. From `src` it uses the segment
 * codec and the names of rings, to look into segments, and nothing else.
 */
import { ringName } from '../../src/grid/queue-name.ts'
import { decodeSegment } from '../../src/grid/segment.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import type { Advance, DeadLetter } from '../../src/ledger/ledger.ts'
import { AtMostOnce } from '../guarantees/at-most-once.ts'
import { NoCommittedGap } from '../guarantees/no-committed-gap.ts'
import { PerKeyOrder } from '../guarantees/per-key-order.ts'
import { Violation, demand } from '../guarantees/violation.ts'
import { expectedLines } from './expected-lines.ts'
import type { ExpectedEvent } from './expected-lines.ts'
import type { RepairWatch } from './repair-watch.ts'
import type { SimEpoch } from './sim-database.ts'
import { lineOf, outcomesOf } from './workload.ts'
import type { Outcome, SimEvent, SimTask } from './workload.ts'

export interface OracleOptions {
  readonly tasks: readonly SimTask[]
  /** Routing is configuration, not under test here: which queue a key goes to. */
  readonly queueOfKey: (key: string, routing: number) => number
  readonly secret: string
  /** From where on the log of a partition was cut and may have grown again; undefined while it never was. */
  readonly replacedFrom?: (partition: number) => bigint | undefined
  /** The epoch of a scope, also one that was forgotten; undefined for a foreign scope. */
  readonly epochOf: (scope: string) => SimEpoch | undefined
  /** A segment holds no more lines bytes than this. */
  readonly linesBytesMax: number
  /** Watches the queues for L2 and their bound. */
  readonly repairs: RepairWatch
}

/** What events become in one routing with one set of tasks. Nodes of an old epoch go on for a while. */
interface Variant {
  readonly name: string
  readonly routing: number
  readonly tracked: readonly string[]
  /** By partition. */
  readonly events: ExpectedEvent[][]
  readonly outcomes: Map<string, Outcome>
}

/** What a segment may hold beside its lines: magic, HMAC, lengths and the header of a few sections. */
export const headBytesMax = 800

export interface Committed {
  readonly task: string
  readonly advances: readonly Advance[]
  readonly jobs: readonly JobLines[]
  readonly letters: readonly DeadLetter[]
  /** Of the epoch that the transaction belongs to. */
  readonly version: string
  readonly isActive: boolean
}

export class Oracle {
  readonly #options: OracleOptions
  /** By partition. */
  readonly #log: SimEvent[][] = []
  readonly #variants = new Map<string, Variant>()
  /** Of the active epoch. */
  #active: Variant | undefined
  /** What an operator gave up: it need not be applied. */
  readonly #givenUp = new Set<string>()
  /** The variant in which each dead letter was written. */
  readonly #letteredIn = new Map<string, string>()
  readonly #once = new AtMostOnce()
  readonly #order = new PerKeyOrder()
  readonly #watermarks = new NoCommittedGap('I2', (id) => this.#isSettled(id))
  readonly #floors = new NoCommittedGap('I3', (id) => this.#isSettled(id))
  readonly #highestFloor: number[] = []
  readonly #texts = new Map<string, string>()
  committedJobs = 0
  deadLetters = 0

  constructor(options: OracleOptions) {
    this.#options = options
  }

  /** A new event of the log. */
  expect(event: SimEvent): void {
    ;(this.#log[event.partition] ??= []).push(event)
    for (const variant of this.#variants.values()) this.#expectIn(variant, event)
  }

  /**
   * `epoch` is the active one from now on. Of tasks in `given` nothing more is wanted at or below `floors`; with
   * `isBack` some watermark is lower than before. Returns what takes it back.
   */
  opened(epoch: SimEpoch, { floors, given, isBack }: { floors: readonly number[]; given: readonly string[]; isBack: boolean }): () => void {
    const before = this.#active
    const variant = this.#variantOf(epoch)
    this.#active = variant
    const up = [...variant.outcomes.values()].filter(
      ({ id, task, partition, offset }) =>
        given.includes(task) && id.startsWith(`${task}/`) && offset <= floors[partition]! && !this.#isSettled(id),
    )
    for (const { id } of up) this.#givenUp.add(id)
    if (isBack) this.rewound()
    return () => {
      this.#active = before
      for (const { id } of up) this.#givenUp.delete(id)
    }
  }

  /** The tables of the active tasks were emptied of all that lies above `cut`, to be made again. Returns what takes it back. */
  wentBack(partition: number, cut: number): () => void {
    const above = [...this.#now.outcomes.values()].filter((of) => of.partition === partition && of.offset > cut).map(({ id }) => id)
    const [applied, given] = [above.filter((id) => this.#once.has(id)), above.filter((id) => this.#givenUp.has(id))]
    for (const id of applied) this.#once.forget(id)
    for (const id of given) this.#givenUp.delete(id)
    const undos = this.#now.tracked.map((name) => this.#order.goBack(`${name}/${partition}/`, cut))
    this.rewound()
    return () => {
      for (const id of applied) this.#once.apply(id)
      for (const id of given) this.#givenUp.add(id)
      for (const undo of undos) undo()
    }
  }

  get #now(): Variant {
    if (this.#active === undefined) throw new Error('no epoch was opened')
    return this.#active
  }

  #isSettled(id: string): boolean {
    return this.#once.has(id) || this.#givenUp.has(id)
  }

  #variantOf({ routing, tasks }: Pick<SimEpoch, 'routing' | 'tasks'>): Variant {
    const name = `${routing}:${tasks.join('')}`
    let variant = this.#variants.get(name)
    if (variant === undefined) {
      variant = { name, routing, tracked: tasks, events: [], outcomes: new Map() }
      this.#variants.set(name, variant)
      for (const events of this.#log) for (const event of events ?? []) this.#expectIn(variant, event)
    }
    return variant
  }

  #expectIn(variant: Variant, event: SimEvent): void {
    const { routing, tracked } = variant
    const queueOfKey = (key: string) => this.#options.queueOfKey(key, routing)
    const outcomes = outcomesOf(event, this.#options.tasks, { queueOfKey, tracked })
    ;(variant.events[event.partition] ??= []).push({ event, outcomes, queue: queueOfKey(`k${event.key}`) })
    for (const outcome of outcomes) {
      const { id, partition, offset } = outcome
      variant.outcomes.set(id, outcome)
      this.#watermarks.expect(laneOf(variant, outcome), offset, id)
      this.#floors.expect(`${variant.name}/p${partition}`, offset, id)
    }
  }

  isRefused(line: string): boolean {
    return this.#now.outcomes.get(line.slice(0, line.indexOf(' ')))?.isRefused ?? false
  }

  /** A commit took effect. Returns what takes it back. */
  committed(commit: Committed): () => void {
    const { task, advances, jobs, letters } = commit
    demand(commit.isActive, 'I7', () => `task ${task} committed in a closed epoch`)
    const undos: (() => void)[] = []
    for (const section of jobs) this.#applySection(section, commit, undos)
    for (const letter of letters) this.#applyLetter(letter, commit, undos)
    for (const { partition, queue, to } of advances) this.#watermarks.advance(laneOf(this.#now, { task, partition, queue }), Number(to))
    return () => {
      for (const undo of undos.reverse()) undo()
    }
  }

  #applySection(section: JobLines, { task, advances, version }: Committed, undos: (() => void)[]): void {
    const { partition, queue } = section
    const advance = advances.find((of) => of.partition === partition && of.queue === queue)
    demand(
      section.task === task && section.kind === 'job' && advance !== undefined,
      'I7',
      () => `rows of ${section.task} ${partition}/${queue} without an advance`,
    )
    section.lines().forEach((line, index) => {
      const id = line.slice(0, line.indexOf(' '))
      const outcome = this.#now.outcomes.get(id)
      demand(
        outcome !== undefined && !outcome.isDead && !outcome.isRefused && outcome.task === task,
        'I6',
        () => `row ${line} of task ${task} was never asked for`,
      )
      demand(line === this.#lineOf(outcome, version), 'I8', () => `row ${line} was committed in an epoch of version ${version}`)
      demand(
        outcome.queue === queue && Number(section.offset(index)) === outcome.offset,
        'I6',
        () => `row ${line} travelled as offset ${section.offset(index)} of queue ${queue}`,
      )
      this.#apply(outcome, advance, undos)
      undos.push(this.#order.apply(`${task}/${partition}/${outcome.key}`, outcome.offset, outcome.ordinal))
    })
  }

  #applyLetter(letter: DeadLetter, { task, advances }: Committed, undos: (() => void)[]): void {
    const { partition, queue } = letter
    const advance = advances.find((of) => of.partition === partition && of.queue === queue)
    demand(advance !== undefined, 'I7', () => `a dead letter of ${partition}/${queue} without an advance`)
    const named = `${letter.task ?? 'null'}/${partition}/${letter.offset}`
    const { outcomes, name } = this.#now
    const outcome = outcomes.get(`${named}/dead`) ?? outcomes.get(`${named}/${letter.ordinal}`)
    demand(
      outcome !== undefined && (outcome.isDead || outcome.isRefused),
      'I6',
      () => `dead letter ${named}/${letter.ordinal} (${letter.error}) for something sound`,
    )
    demand(
      outcome.task === task && outcome.queue === queue && outcome.ordinal === letter.ordinal,
      'I6',
      () => `dead letter ${outcome.id} was written by task ${task} of queue ${queue}`,
    )
    // A letter that another set of tasks carried before is there already, and the table takes it once.
    if (this.#once.has(outcome.id) && this.#letteredIn.get(outcome.id) !== name) return
    this.#letteredIn.set(outcome.id, name)
    this.#apply(outcome, advance, undos)
    this.deadLetters++
  }

  #apply(outcome: Outcome, advance: Advance, undos: (() => void)[]): void {
    this.#once.apply(outcome.id)
    undos.push(() => this.#once.forget(outcome.id))
    demand(outcome.offset <= Number(advance.to), 'I2', () => `${outcome.id} was applied above its watermark ${advance.to}`)
    this.committedJobs++
  }

  delivered(task: string, jobs: readonly JobLines[]): void {
    for (const section of jobs) {
      demand(
        section.task === task && section.kind === 'job',
        'I6',
        () => `task ${task} was handed ${section.kind} lines of ${section.task}`,
      )
    }
  }

  floorRaised(partition: number, floor: number): void {
    this.#floors.advance(`${this.#now.name}/p${partition}`, floor)
    this.#highestFloor[partition] = Math.max(this.#highestFloor[partition] ?? -1, floor)
  }

  /** I5: lag tools were told that everything up to `floor` is done. */
  floorPublished(partition: number, floor: number): void {
    demand(
      floor <= (this.#highestFloor[partition] ?? -1),
      'I5',
      () => `floor ${floor} of partition ${partition} was published, it never passed ${this.#highestFloor[partition]}`,
    )
  }

  /** Commits were forgotten. */
  rewound(): void {
    this.#options.repairs.forgotten()
    this.#watermarks.forget()
    this.#floors.forget()
  }

  /** I6, I9 and part of I10, for what an owner appends to a ring that holds `standing`. */
  appended(ring: string, bytes: Buffer, standing: readonly Buffer[]): void {
    const segment = decodeSegment(bytes, this.#options.secret)
    if (segment === undefined) throw new Violation('I6', 'an owner appended bytes that are no segment')
    const epoch = this.#options.epochOf(segment.scope)
    demand(epoch !== undefined, 'I6', () => `an owner appended a segment of scope ${segment.scope}`)
    const { partition, queue, lo, hi } = segment
    demand(ring === ringName(segment.scope, segment), 'I6', () => `a segment of queue ${partition}/${queue} was appended to ring ${ring}`)
    const name = `${segment.scope} ${partition}/${queue} (${lo}, ${hi}]`
    const found = segment.sections.flatMap((section) =>
      section.lines().map((line, i) => (section.kind === 'dead' ? `${section.task} dead ${section.offset(i)}` : `${section.task} ${line}`)),
    )
    const range = { queue, lo: Number(lo), hi: Number(hi) }
    const known = this.#texts.get(name)
    const text = found.filter((line) => !this.#isLatest(line)).join('\n')
    const replacedFrom = this.#options.replacedFrom?.(partition)
    // Of a log that was cut and grew again the oracle knows the old events: what an owner of before reads of the new ones must not be
    // applied, which the commits show.
    const isReplaced = replacedFrom !== undefined && hi >= replacedFrom
    demand(known === undefined || known === text || isReplaced, 'I9', () => `segment ${name} was made twice, differently`)
    // Which latest values are replaced depends on what the log held when the segment was made.
    if (!isReplaced && (known === undefined || found.some((line) => this.#isLatest(line)))) {
      const events = this.#variantOf(epoch).events[partition] ?? []
      const { required, optional } = expectedLines(events, range, this.#options.tasks, epoch.version)
      const expected = required.join('\n')
      const needed = found.filter((line) => !optional.has(line)).sort()
      demand(expected === needed.join('\n'), 'I6', () => `segment ${name} holds\n${found.join('\n')}\ninstead of\n${expected}`)
      this.#texts.set(name, text)
    }
    const lineBytes = segment.sections.reduce((sum, section) => sum + section.bytes.length, 0)
    const isSmall = lineBytes <= this.#options.linesBytesMax && bytes.length <= this.#options.linesBytesMax + headBytesMax
    demand(isSmall, 'I10', () => `segment ${name} has ${bytes.length} bytes, ${lineBytes} of them lines`)
    this.#options.repairs.appended(bytes, segment, standing)
  }

  /** A job of a task that wants the latest value of each key only. */
  #isLatest(line: string): boolean {
    return this.#options.tasks.some((task) => !task.isTracked && line.startsWith(`${task.name} `))
  }

  #lineOf(outcome: Outcome, version: string): string {
    const found = this.#log[outcome.partition]!.find(({ offset }) => offset === outcome.offset)!
    return lineOf(outcome.id, found.fill, version)
  }

  /** The last check: everything up to `floor` is there, once. */
  complete(partition: number, floor: number): void {
    const missing = this.#floors.missing(`${this.#now.name}/p${partition}`, floor)
    if (missing !== undefined) throw new Violation('I3', `partition ${partition} is done, but ${missing} is not applied`)
  }
}

/** A queue, in one routing and with one set of tasks. */
function laneOf({ name }: Variant, { task, partition, queue }: Pick<Outcome, 'task' | 'partition' | 'queue'>): string {
  return `${name}/${task}/${partition}/${queue}`
}
