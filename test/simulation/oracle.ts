/**
 * The independent checker of a simulation: it knows what every event must become from the description the event was made
 * of, watches what is committed, and speaks up at the first step that breaks an invariant. From `src` it uses the segment
 * codec and the names of rings, to look into segments, and nothing else.
 */
import { ringName } from '../../src/grid/queue-name.ts'
import { decodeSegment } from '../../src/grid/segment.ts'
import type { JobLines } from '../../src/grid/segment.ts'
import type { Advance, DeadLetter } from '../../src/offsets/ledger.ts'
import { AtMostOnce } from '../guarantees/at-most-once.ts'
import { NoCommittedGap } from '../guarantees/no-committed-gap.ts'
import { PerKeyOrder } from '../guarantees/per-key-order.ts'
import { Violation, demand } from '../guarantees/violation.ts'
import { expectedLines } from './expected-lines.ts'
import type { ExpectedEvent } from './expected-lines.ts'
import type { RepairWatch } from './repair-watch.ts'
import { lineOf, outcomesOf } from './workload.ts'
import type { Outcome, SimEvent, SimTask } from './workload.ts'

export interface OracleOptions {
  readonly tasks: readonly SimTask[]
  /** Routing is configuration, not under test here: which queue a key goes to. */
  readonly queueOfKey: (key: string, routing: number) => number
  /** The routing of a scope's epoch. */
  readonly routingOf: (scope: string) => number
  readonly secret: string
  /** The version that each scope's segments must be made by; undefined for a foreign scope. */
  readonly versionOf: (scope: string) => string | undefined
  /** A segment holds no more lines bytes than this. */
  readonly linesBytesMax: number
  /** Watches the queues for L2 and their bound. */
  readonly repairs: RepairWatch
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
  readonly #outcomes = new Map<string, Outcome>()
  /** By routing and partition: nodes of an old epoch go on for a while. */
  readonly #events: ExpectedEvent[][][] = [[]]
  readonly #once = new AtMostOnce()
  readonly #order = new PerKeyOrder()
  readonly #watermarks = new NoCommittedGap('I2', (id) => this.#once.has(id))
  readonly #floors = new NoCommittedGap('I3', (id) => this.#once.has(id))
  readonly #highestFloor: number[] = []
  readonly #texts = new Map<string, string>()
  committedJobs = 0
  deadLetters = 0

  constructor(options: OracleOptions) {
    this.#options = options
  }

  get expectedCount(): number {
    return this.#outcomes.size
  }

  get appliedCount(): number {
    return this.#once.count
  }

  /** A new event of the log. */
  expect(event: SimEvent): void {
    for (let routing = 0; routing < this.#events.length; routing++) this.#expectIn(routing, event)
    for (const { id, partition, offset } of this.#events.at(-1)![event.partition]!.at(-1)!.outcomes)
      this.#floors.expect(`p${partition}`, offset, id)
  }

  /** A cut was made: every key has another queue from now on. */
  rerouted(): void {
    this.#events.push([])
    for (const events of this.#events[0]!) for (const { event } of events ?? []) this.#expectIn(this.#events.length - 1, event)
  }

  /** The tables were emptied of all that lies above `cut`, to be made again. */
  wentBack(partition: number, cut: number): void {
    for (const { id, offset, partition: own } of this.#outcomes.values()) if (own === partition && offset > cut) this.#once.forget(id)
    for (const { name } of this.#options.tasks) this.#order.goBack(`${name}/${partition}/`, cut)
    this.rewound()
  }

  #expectIn(routing: number, event: SimEvent): void {
    const queueOfKey = (key: string) => this.#options.queueOfKey(key, routing)
    const outcomes = outcomesOf(event, this.#options.tasks, queueOfKey)
    const events = (this.#events[routing]![event.partition] ??= [])
    events.push({ event, outcomes, queue: queueOfKey(`k${event.key}`) })
    if (routing < this.#events.length - 1) return
    for (const outcome of outcomes) {
      this.#outcomes.set(outcome.id, outcome)
      this.#watermarks.expect(this.#laneOf(outcome), outcome.offset, outcome.id)
    }
  }

  /** A queue of one routing. */
  #laneOf({ task, partition, queue }: Pick<Outcome, 'task' | 'partition' | 'queue'>): string {
    return `${this.#events.length - 1}/${task}/${partition}/${queue}`
  }

  isRefused(line: string): boolean {
    return this.#outcomes.get(line.slice(0, line.indexOf(' ')))?.isRefused ?? false
  }

  /** A commit took effect. Returns what takes it back. */
  committed(commit: Committed): () => void {
    const { task, advances, jobs, letters } = commit
    demand(commit.isActive, 'I7', () => `task ${task} committed in a closed epoch`)
    const undos: (() => void)[] = []
    for (const section of jobs) this.#applySection(section, commit, undos)
    for (const letter of letters) this.#applyLetter(letter, commit, undos)
    for (const { partition, queue, to } of advances) this.#watermarks.advance(this.#laneOf({ task, partition, queue }), Number(to))
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
      const outcome = this.#outcomes.get(id)
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
    const outcome = this.#outcomes.get(`${named}/dead`) ?? this.#outcomes.get(`${named}/${letter.ordinal}`)
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
    this.#floors.advance(`p${partition}`, floor)
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
    const version = this.#options.versionOf(segment.scope)
    demand(version !== undefined, 'I6', () => `an owner appended a segment of scope ${segment.scope}`)
    const { partition, queue, lo, hi } = segment
    demand(ring === ringName(segment.scope, segment), 'I6', () => `a segment of queue ${partition}/${queue} was appended to ring ${ring}`)
    const name = `${segment.scope} ${partition}/${queue} (${lo}, ${hi}]`
    const found = segment.sections.flatMap((section) =>
      section.lines().map((line, i) => (section.kind === 'dead' ? `${section.task} dead ${section.offset(i)}` : `${section.task} ${line}`)),
    )
    const range = { queue, lo: Number(lo), hi: Number(hi) }
    const known = this.#texts.get(name)
    const text = found.filter((line) => !this.#isLatest(line)).join('\n')
    demand(known === undefined || known === text, 'I9', () => `segment ${name} was made twice, differently`)
    // Which latest values are replaced depends on what the log held when the segment was made.
    if (known === undefined || found.some((line) => this.#isLatest(line))) {
      const events = this.#events[this.#options.routingOf(segment.scope)]![partition] ?? []
      const { required, optional } = expectedLines(events, range, this.#options.tasks, version!)
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

  /** Bytes of the jobs of (lo, hi] that travel in `queue`, dead letters left out. */
  bytesBetween(partition: number, queue: number, lo: number, hi: number): number {
    const events = this.#events.at(-1)![partition] ?? []
    let bytes = 0
    for (let i = events.length - 1; i >= 0 && events[i]!.event.offset > lo; i--) {
      const { event, outcomes } = events[i]!
      if (event.offset > hi) continue
      for (const outcome of outcomes)
        if (outcome.queue === queue && !outcome.isDead) bytes += outcome.id.length + event.fill + lineOverheadBytes
    }
    return bytes
  }

  #lineOf(outcome: Outcome, version: string): string {
    const events = this.#events[0]![outcome.partition]!
    const found = events.find(({ event }) => event.offset === outcome.offset)!
    return lineOf(outcome.id, found.event.fill, version)
  }

  /** The last check: everything up to `floor` is there, once. */
  complete(partition: number, floor: number): void {
    const missing = this.#floors.missing(`p${partition}`, floor)
    if (missing !== undefined) throw new Violation('I3', `partition ${partition} is done, but ${missing} is not applied`)
  }
}

/** A line's version, blanks, newline, offset and record time. */
const lineOverheadBytes = 13
