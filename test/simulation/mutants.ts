/**
 * Rules broken on purpose, one at a time, in a copy of the source: each must be noticed, by the invariant that the rule keeps.
 * Where a rule lives in an adapter that the simulation replaces, its simulated counterpart is broken.
 */
import { importMutated } from './mutated-copy.ts'
import type { Edit } from './mutated-copy.ts'
import type { Summary, SummaryOptions } from './summary.ts'

export interface Mutant {
  readonly name: string
  /** The rule of the protocol that it breaks; † marks a trap found on the model. */
  readonly breaks: string
  /** The invariants that may notice it. */
  readonly caughtBy: readonly string[]
  readonly edits: readonly Edit[]
}

interface MutantOptions extends Pick<SummaryOptions, 'firstSeed' | 'schedules'> {
  /** A seed that may well catch it. */
  readonly triedFirst?: number | undefined
}

/** Schedules from `firstSeed` on with a rule broken, until one breaks an invariant. */
export async function simulateMutant(mutant: Mutant, { triedFirst, ...options }: MutantOptions): Promise<Summary> {
  type Module = typeof import('./summary.ts')
  const { summarise } = await importMutated<Module>(mutant.edits, 'test/simulation/summary.ts')
  if (triedFirst !== undefined) {
    const summary = await summarise({ firstSeed: triedFirst, schedules: 1 })
    if (summary.violations.length > 0) return summary
  }
  return summarise({ ...options, stopsAtViolation: true })
}

const owner = 'src/ingest/partition-owner.ts'
const continuity = 'src/ingest/log-continuity.ts'
const partitionOutbox = 'src/ingest/partition-outbox.ts'
const sender = 'src/ingest/segment-sender.ts'
const settler = 'src/ingest/partition-settler.ts'
const outbox = 'src/ingest/queue-outbox.ts'
const reader = 'src/work/queue-reader.ts'
const inbox = 'src/work/task-inbox.ts'
const runner = 'src/work/task-runner.ts'
const ledger = 'src/ledger/ledger.ts'
const segment = 'src/grid/segment.ts'
const taskSet = 'src/epochs/task-set.ts'
const simLedger = 'test/simulation/sim-ledger.ts'
const simDatabase = 'test/simulation/sim-database.ts'

export const mutants: readonly Mutant[] = [
  {
    name: 'never-careful',
    breaks: 'rule 23: after two deaths at one floor the next owner is careful',
    caughtBy: ['L1'],
    edits: [{ file: 'src/ingest/careful-conversion.ts', from: 'deaths >= carefulDeaths || suspects.size > 0 ? calmEvents : 0', to: '0' }],
  },
  {
    name: 'buries-at-one-death',
    breaks: 'rule 23: the third death at an offset buries its event, not the first',
    caughtBy: ['I1', 'I2', 'I6', 'I9'],
    edits: [{ file: 'src/ingest/careful-conversion.ts', from: 'buryDeaths = 3', to: 'buryDeaths = 1' }],
  },
  {
    name: 'newest-push-left-out',
    breaks: 'of latest values the newest travels',
    caughtBy: ['I6'],
    edits: [
      {
        file: 'src/ingest/converter.ts',
        from: 'for (let i = records.length - 1; i >= 0; i--) events[i]',
        to: 'for (let i = 0; i < records.length; i++) events[i]',
      },
    ],
  },
  {
    name: 'heartbeat-behind-own-entry',
    breaks: 'rule 4 †: no heartbeat behind the own latest entry',
    caughtBy: ['I10', 'L3'],
    edits: [{ file: settler, from: 'if (isOwn || generation', to: 'if (generation' }],
  },
  {
    name: 'waits-at-gap',
    breaks: 'rule 5 †: at a gap the cursor moves on',
    caughtBy: ['L1'],
    edits: [
      { file: reader, from: 'segments.toSorted((a, b) => (a.lo < b.lo ? -1 : a.lo > b.lo ? 1 : 0))', to: 'segments' },
      {
        file: reader,
        from: 'gapped.add(segment)',
        to: '{ this.#sequence -= BigInt(segments.length - segments.indexOf(segment)); gapped.add(segment); break }',
      },
    ],
  },
  {
    name: 'no-reread-at-gap',
    breaks: 'rule 5 †: at a gap watermarks and floor are read again before the flag is raised',
    caughtBy: ['L1', 'L2'],
    edits: [
      { file: reader, from: 'if (this.#showsGap(segments)) await this.#look()', to: '' },
      { file: reader, from: 'if (this.#suspectAt !== this.#received) {', to: 'if (false) {' },
      { file: reader, from: 'await this.#look()\n    if (this.#isBlank ||', to: 'if (this.#isBlank ||' },
    ],
  },
  {
    name: 'verified-when-all-are-idle',
    breaks: 'rule 5: what a task lost is found although other tasks of the queue hold jobs',
    caughtBy: ['L1'],
    edits: [
      {
        file: reader,
        from: 'if (known.memory !== this.#memory) return',
        to: 'if (known.memory !== this.#memory || !this.#isIdle()) return',
      },
    ],
  },
  {
    name: 'forgets-at-the-floor',
    breaks: 'rule 5: an idle reader follows the floor without forgetting',
    caughtBy: ['L3'],
    edits: [{ file: reader, from: 'if (this.#droppedTo > lowest) return this.forget()', to: 'return this.forget()' }],
  },
  {
    name: 'no-look-at-gap',
    breaks: 'rule 5: a gap that the floor has closed is none',
    caughtBy: ['L3'],
    edits: [{ file: reader, from: 'if (this.#showsGap(segments)) await this.#look()', to: '' }],
  },
  {
    name: 'advances-from-the-floor',
    breaks: 'rule 6: an advance goes on from the row, wherever the floor is',
    caughtBy: ['L3'],
    edits: [{ file: inbox, from: '{ from: this.#row, to,', to: '{ from: this.#applied, to,' }],
  },
  {
    name: 'no-heartbeat',
    breaks: 'rule 4: the tail is kept',
    caughtBy: ['L1'],
    edits: [{ file: settler, from: 'if (isStalled) await', to: 'if (false) await' }],
  },
  {
    name: 'no-heartbeat-at-bound',
    breaks: 'rule 4 †: the tail is kept at the bound and with unsent jobs too',
    caughtBy: ['L1'],
    edits: [{ file: settler, from: 'if (isStalled) await', to: 'if (isStalled && !outbox.isFull && outbox.isIdle) await' }],
  },
  {
    name: 'empty-interval-kept',
    breaks: 'rule 6 †: an interval without jobs is advanced',
    caughtBy: ['L1'],
    edits: [{ file: runner, from: 'return isDue ? taken : []', to: 'return []' }],
  },
  {
    name: 'floor-in-two-transactions',
    breaks: 'rule 7 †: watermarks are read and the floor is written in one transaction (of the simulated ledger)',
    caughtBy: ['I3'],
    edits: [
      {
        file: simLedger,
        from: `  settle(capture: OwnerCapture): Promise<PartitionView> {
`,
        to: `  async settle(capture: OwnerCapture): Promise<PartitionView> {
    const view = await this.read(capture.partition)
    let floor = capture.position
    capture.queues.forEach(({ sent, isIdle }, queue) => {
      for (const marks of view.rows.values()) {
        const mark = marks[queue]! > view.floor ? marks[queue]! : view.floor
        if (!(isIdle && mark >= sent) && mark < floor) floor = mark
      }
    })
    await this.#wire.call('ledger', 'write', () => {
      this.#database.settle({ ...capture, position: -1n }, this.#epoch)
      this.#database.raiseFloor(capture.partition, floor)
    })
`,
      },
    ],
  },
  {
    name: 'window-kept-at-repair',
    breaks: 'rule 8 †: a repair empties the outstanding window',
    caughtBy: ['L1'],
    edits: [{ file: outbox, from: '    this.#sent = watermark\n    this.#window = []', to: '    this.#sent = watermark' }],
  },
  {
    name: 'flag-without-stamp',
    breaks: 'rule 8 †: a flag of another stamp is ignored',
    caughtBy: ['L2'],
    edits: [{ file: settler, from: 'flags.get(flagKey({ partition, queue })) === stamp', to: 'flags.has(flagKey({ partition, queue }))' }],
  },
  {
    name: 'commit-on-poll',
    breaks: 'rule 7: the floor waits for what was polled',
    caughtBy: ['I3'],
    edits: [{ file: partitionOutbox, from: '({ sent, isIdle }) => ({ sent, isIdle })', to: '() => ({ sent: -1n, isIdle: true })' }],
  },
  {
    name: 'unacknowledged-is-drained',
    breaks: 'rule 7: an unacknowledged append counts as buffered',
    caughtBy: ['I3'],
    edits: [{ file: outbox, from: '      this.#isUnacknowledged = true\n', to: '' }],
  },
  {
    name: 'idle-is-drained',
    breaks: 'rule 7: drained means applied up to what was sent',
    caughtBy: ['I3'],
    edits: [{ file: ledger, from: 'isIdle && watermark >= sent', to: 'isIdle' }],
  },
  {
    name: 'event-split',
    breaks: 'I6: the jobs of an event are never split over two segments',
    caughtBy: ['I10', 'I6'],
    edits: [
      {
        file: outbox,
        from: '      const draft = this.#open.sections[section]!',
        to: `      if (this.#open.bytes + text.length > this.#limits.linesBytesMax) {
        this.#seal(offset - 1n)
        this.#open = { sections: this.#template.map((of) => ({ ...of, offsets: [], timesMs: [], text: '' })), hi: offset, bytes: 0 }
      }
      const draft = this.#open.sections[section]!`,
      },
      { file: outbox, from: 'this.#open.bytes + event.bytes > this.#limits', to: 'this.#open.bytes > this.#limits' },
      { file: segment, from: "assert(offset <= head.hi, 'I6: a segment holds offsets of (lo, hi] only')", to: '' },
    ],
  },
  {
    name: 'watermarks-as-text',
    breaks: 'client trap: int8 comes as text, and "9" > "10"',
    caughtBy: ['I1', 'I2', 'I3', 'I5', 'L1', 'L2'],
    edits: [{ file: ledger, from: 'row > view.floor', to: 'String(row) > String(view.floor)' }],
  },
  {
    name: 'floor-as-text',
    breaks: 'client trap: the least watermark of a partition found among texts',
    caughtBy: ['I3'],
    edits: [{ file: ledger, from: '!isDrained && watermark < floor', to: '!isDrained && String(watermark) < String(floor)' }],
  },
  {
    name: 'rows-after-watermark',
    breaks: 'rule 6: rows and watermark move in one transaction',
    caughtBy: ['I2'],
    edits: [
      {
        file: runner,
        from: 'await this.#ports.ledger.flush({ task, advances, write })',
        to: `let open: Parameters<typeof write>[0] | undefined
    await this.#ports.ledger.flush({ task, advances, write: async (transaction) => void (open = transaction) })
    await write(open!)`,
      },
    ],
  },
  {
    name: 'two-readers-of-a-queue',
    breaks: 'rule 6: a flush takes from a queue once',
    caughtBy: ['I7'],
    edits: [
      {
        file: runner,
        from: 'this.#readers.set(reader.name, reader)\n  }\n\n  detach',
        to: 'this.#readers.set(reader as never, reader)\n  }\n\n  detach',
      },
      {
        file: runner,
        from: 'if (this.#readers.get(reader.name) === reader) this.#readers.delete(reader.name)',
        to: 'this.#readers.delete(reader as never)',
      },
    ],
  },
  {
    name: 'no-compare-and-set',
    breaks: 'rule 6: a watermark moves by compare-and-set (of the simulated ledger)',
    caughtBy: ['I2', 'I1', 'I5'],
    edits: [{ file: simDatabase, from: 'if (!this.#stands(transaction.task, advance)) {', to: 'if (false) {' }],
  },
  {
    name: 'no-epoch-check',
    breaks: 'rule 11: a flush checks that its epoch is active (of the simulated ledger)',
    caughtBy: ['I7'],
    edits: [
      { file: simDatabase, from: 'if (epoch.number !== this.epoch.number || epoch.mark !== this.epoch.mark)', to: 'if (Number(0) > 0)' },
    ],
  },
  {
    name: 'no-mark-check',
    breaks: 'rule 20: the fence compares the mark of the epoch too (of the simulated ledger)',
    caughtBy: ['I7'],
    edits: [{ file: simDatabase, from: ' || epoch.mark !== this.epoch.mark', to: '' }],
  },
  {
    name: 'back-at-the-floor',
    breaks: 'rule 19: the floors go back to the place of a task that comes back',
    caughtBy: ['I2', 'I3'],
    edits: [{ file: taskSet, from: 'for (const mark of place) if (mark < lowest) lowest = mark', to: '' }],
  },
  {
    name: 'back-to-the-floor-of-all',
    breaks: 'rule 19: a task that comes back is given nothing twice',
    caughtBy: ['I1', 'I5'],
    edits: [{ file: taskSet, from: 'next.set(task, place)\n', to: 'next.set(task, even(floor < place[0]! ? floor : place[0]!))\n' }],
  },
  {
    name: 'overlap-not-filtered',
    breaks: 'rule 5: on overlap only jobs above received',
    caughtBy: ['I1'],
    edits: [{ file: inbox, from: 'section.after(above)', to: 'section' }],
  },
  {
    name: 'resend-with-another-hi',
    breaks: 'rule 2: after an unknown append the same bytes are sent again',
    caughtBy: ['I6'],
    edits: [
      {
        file: sender,
        from: 'const bytes = encodeSegment(head, draft.sections, secret)',
        to: 'let bytes = encodeSegment(head, draft.sections, secret)',
      },
      {
        file: sender,
        from: "observer.count('appendRetries', 1)",
        to: "observer.count('appendRetries', 1); bytes = encodeSegment({ ...head, hi: this.#outbox.position }, draft.sections, secret)",
      },
    ],
  },
  {
    name: 'sent-before-acknowledged',
    breaks: 'rule 2: only an acknowledged append moves sent',
    caughtBy: ['L2'],
    edits: [
      {
        file: sender,
        from: "observer.count('appendRetries', 1)",
        to: "observer.count('appendRetries', 1); return outbox.acknowledge(draft.hi, bytes.length)",
      },
    ],
  },
  {
    name: 'start-at-committed-offset',
    breaks: "fact 2: a start position comes from the ledger, never from the log's committed offset",
    caughtBy: ['I2', 'I3', 'I4', 'I6'],
    edits: [
      {
        file: owner,
        from: 'await log.open(partition, nextOffset)',
        // Where a node hears its log, the log it hears has no such question.
        to: 'await log.open(partition, ((log as unknown as { committed?(of: number): bigint }).committed?.(partition) ?? view.floor) + 1n)',
      },
    ],
  },
  {
    name: 'segment-buffer-shared',
    breaks: 'rule 2: a segment is frozen once it is serialised',
    caughtBy: ['I6', 'L2'],
    edits: [
      {
        file: segment,
        from: 'Buffer.allocUnsafe(headerStart + header.length + bodyBytes)',
        to: '((globalThis as { scratch?: Buffer }).scratch ??= Buffer.alloc(65536)).subarray(0, headerStart + header.length + bodyBytes)',
      },
    ],
  },
  {
    name: 'repair-of-every-queue',
    breaks: 'rule 8: a repair resets the needy queues only',
    caughtBy: ['L2'],
    edits: [
      {
        file: settler,
        from: 'const needy = flagged.filter(',
        to: 'const needy = this.#outbox.queues.filter(',
      },
    ],
  },
  {
    name: 'repair-not-filtered-by-sent',
    breaks: 'rule 8: at a repair other queues filter by their own sent',
    caughtBy: ['I6'],
    edits: [{ file: outbox, from: ' || offset <= this.#sent) return', to: ') return' }],
  },
  {
    name: 'repair-drops-what-others-buffered',
    breaks: 'rule 8: a repair reads again what other queues had buffered',
    caughtBy: ['I6', 'I3'],
    edits: [{ file: partitionOutbox, from: '(isNeedy || !isIdle) && outbox.sent', to: 'isNeedy && outbox.sent' }],
  },
  {
    name: 'no-bound',
    breaks: 'rule 3: at the bound the owner stops',
    caughtBy: ['I10'],
    edits: [{ file: outbox, from: 'return this.#window.length >= this.#limits.windowSegmentsMax', to: 'return false' }],
  },
  {
    name: 'never-forgets',
    breaks: 'rules 5 and 6: memory is forgotten after a gap or a failed flush',
    caughtBy: ['L1', 'L2'],
    edits: [
      { file: reader, from: 'if (this.#isBlank) return\n    this.#ports.observer', to: 'if (this) return\n    this.#ports.observer' },
    ],
  },
  {
    name: 'no-repair',
    breaks: 'rule 8: what the grid lost is made again',
    caughtBy: ['L1'],
    edits: [{ file: settler, from: 'if (needy.length > 0) {', to: 'if (false) {' }],
  },
  {
    name: 'dead-letter-without-ordinal',
    breaks: 'rule 10: a bisected job is named by its own ordinal',
    caughtBy: ['I2', 'I6'],
    edits: [{ file: 'src/work/isolate.ts', from: 'ordinal: lines.ordinal(i)', to: 'ordinal: 0' }],
  },
  {
    name: 'cut-undrained',
    breaks: 'rule 11: another routing is cut over only where nothing is applied above a floor (of the simulated database)',
    caughtBy: ['I1', 'I4'],
    edits: [{ file: simDatabase, from: '|| !this.isDrained || this.hasUnevenTask', to: '|| this.hasUnevenTask' }],
  },
  {
    name: 'reset-keeps-watermarks',
    breaks: 'rule 12: a reset drops the watermarks with the floors (of the simulated database)',
    caughtBy: ['I2', 'I3'],
    edits: [
      {
        file: simDatabase,
        from: 'for (const task of this.epoch.tasks) found.rows.get(task)!.fill(found.floor)',
        to: '',
      },
    ],
  },
  {
    name: 'drains-at-its-floor',
    breaks: 'rule 11: an owner that drains reads on to what is applied above its floor',
    caughtBy: ['L1'],
    edits: [{ file: settler, from: 'highestWatermark(view) : undefined', to: 'view.floor : undefined' }],
  },
  {
    name: 'truncation-is-not-kept',
    breaks: 'rule 21: a log that grows again heals nothing',
    caughtBy: ['I6'],
    edits: [{ file: owner, from: 'throw haltRefusal(view.halt)\n    const { startOffset', to: 'void 0\n    const { startOffset' }],
  },
  {
    name: 'epochs-are-not-compared',
    breaks: 'rule 21: at each rise of the leader epoch the last known event is asked for again',
    caughtBy: ['I6'],
    edits: [{ file: continuity, from: 'if (leaderEpoch > this.#newest) {', to: 'if (leaderEpoch < 0) {' }],
  },
  {
    name: 'epoch-is-kept-too-late',
    breaks: 'rule 21: nothing that was read under a later leader is sent before the ledger knows of that one',
    caughtBy: ['I6', 'L1'],
    edits: [{ file: settler, from: '(this.#options.leaderEpoch() ?? -1) > (this.#view.leaderEpoch ?? -1)', to: 'false' }],
  },
  {
    name: 'what-others-applied-is-forgotten',
    breaks: 'rule 21: what is applied above the floor is compared too',
    caughtBy: ['I3', 'I6', 'L1'],
    edits: [{ file: continuity, from: 'if (applied !== undefined) await', to: 'if (applied === undefined) await' }],
  },
  {
    name: 'lease-never-ends',
    breaks: 'rule 9: a node whose counter stands still is dead',
    caughtBy: ['L1'],
    edits: [{ file: 'src/node/membership.ts', from: 'nowMs - seenMs < leaseMs)', to: 'true)' }],
  },
  {
    name: 'nothing-given-up',
    breaks: 'rule 9: a node stops what the assignment gives to others',
    caughtBy: ['L1'],
    edits: [{ file: 'src/node/node.ts', from: 'if (!isOwner && stopAndDelete(this.#owners, partition))', to: 'if (false)' }],
  },
  {
    name: 'keeps-what-it-cannot-reach',
    breaks: 'rule 22: a node gives up the work whose servers it does not reach',
    caughtBy: ['L1'],
    edits: [{ file: 'src/node/reach.ts', from: 'log: this.#isLogCut, database: this.#database.isCut', to: 'log: false, database: false' }],
  },
]
