/** Rules broken on purpose, one at a time, from outside: the product knows nothing of them. */
import { QueueOutbox } from '../../src/ingest/queue-outbox.ts'
import { JobLines, decodeSegment } from '../../src/grid/segment.ts'
import { floorAllowedBy } from '../../src/offsets/ledger.ts'
import { TaskInbox } from '../../src/work/task-inbox.ts'
import { QueueReader } from '../../src/work/queue-reader.ts'
import type { Mutation } from './schedule.ts'
import { secret } from './sim-node.ts'

export interface Mutant {
  readonly name: string
  /** The rule of the protocol that it breaks. */
  readonly breaks: string
  /** Changes one world. */
  readonly mutate?: Mutation
  /** Patches a class; returns what mends it. */
  readonly install?: () => () => void
}

function patch<T extends object, K extends keyof T>(target: T, name: K, make: (original: T[K]) => T[K]): () => void {
  const descriptor = Object.getOwnPropertyDescriptor(target, name)
  if (descriptor?.value === undefined) throw new Error(`there is no method ${String(name)} to break`)
  Object.defineProperty(target, name, { ...descriptor, value: make(descriptor.value as T[K]) })
  return () => void Object.defineProperty(target, name, descriptor)
}

function patchGetter<T extends object>(
  target: T,
  name: keyof T & string,
  make: (original: (this: T) => unknown) => (this: T) => unknown,
): () => void {
  const descriptor = Object.getOwnPropertyDescriptor(target, name)
  if (descriptor?.get === undefined) throw new Error(`there is no getter ${name} to break`)
  Object.defineProperty(target, name, { ...descriptor, get: make(descriptor.get as (this: T) => unknown) })
  return () => void Object.defineProperty(target, name, descriptor)
}

export const mutants: readonly Mutant[] = [
  {
    name: 'no-cas',
    breaks: 'rule 6: a watermark moves by compare-and-set',
    mutate: ({ database }) => void (database.rules.comparesAndSets = false),
  },
  {
    name: 'raw-cas',
    breaks: 'words: the effective watermark is max(row, floor)',
    mutate: ({ database }) => void (database.rules.comparesEffective = false),
  },
  {
    name: 'overlap-not-filtered',
    breaks: 'rule 5: on overlap only jobs above received',
    install: () =>
      patch(
        JobLines.prototype,
        'after',
        () =>
          function (this: JobLines) {
            return this
          },
      ),
  },
  {
    name: 'window-not-emptied',
    breaks: 'rule 8 †: a repair empties the outstanding window',
    install: keepWindowAtRepair,
  },
  {
    name: 'drained-ignores-buffers',
    breaks: 'rule 7: drained means nothing buffered either',
    install: () => patchGetter(QueueOutbox.prototype, 'isIdle', () => () => true),
  },
  {
    name: 'no-bound',
    breaks: 'rule 3: at most a window of segments above the watermark',
    install: () => patchGetter(QueueOutbox.prototype, 'isFull', () => () => false),
  },
  {
    name: 'settle-on-take',
    breaks: 'commit on poll: jobs count as applied when they are taken',
    install: () =>
      patch(
        TaskInbox.prototype,
        'take',
        (take) =>
          function (this: TaskInbox, rowsMax: number) {
            const batch = take.call(this, rowsMax)
            if (batch !== undefined) this.settle(batch.to)
            return batch
          },
      ),
  },
  {
    name: 'never-forget',
    breaks: 'rule 5 and 6: memory is forgotten after a gap or a failed flush',
    install: () => patch(QueueReader.prototype, 'forget', () => () => undefined),
  },
  {
    name: 'floor-is-position',
    breaks: 'rule 7: the floor waits for undrained queues',
    mutate: ({ database }) => {
      const settle = database.settle.bind(database)
      database.settle = (capture, epoch) => {
        settle(capture, epoch)
        database.raiseFloor(capture.partition, capture.position)
        return database.view(capture.partition)
      }
    },
  },
  {
    name: 'floor-from-sent',
    breaks: 'rule 7: the floor comes from watermarks, not from acknowledged appends',
    mutate: ({ database }) => {
      const settle = database.settle.bind(database)
      database.settle = (capture, epoch) => {
        settle(capture, epoch)
        database.raiseFloor(
          capture.partition,
          capture.queues.reduce((least, { sent, isIdle }) => (isIdle || sent > least ? least : sent), capture.position),
        )
        return database.view(capture.partition)
      }
    },
  },
  {
    name: 'strings-compared',
    breaks: 'int8 compared as a string',
    mutate: ({ database }) => {
      const settle = database.settle.bind(database)
      database.settle = (capture, epoch) => {
        const { rows } = database.view(capture.partition)
        const least = [...rows.values()].flat().map(String).sort().at(0)
        const view = settle(capture, epoch)
        if (least !== undefined) database.raiseFloor(capture.partition, String(capture.position) < least ? capture.position : BigInt(least))
        return view
      }
    },
  },
  {
    name: 'no-repair',
    breaks: 'rule 8: what the grid lost is made again',
    mutate: ({ grid }) => {
      const map = grid.map.bind(grid)
      grid.map = (name) => (name.endsWith('flags') ? new Map<string, string>() : map(name))
    },
  },
  {
    name: 'hi-below-its-jobs',
    breaks: 'rule 2: hi covers every job of the segment',
    install: () =>
      patch(
        QueueOutbox.prototype,
        'takeDraft',
        (take) =>
          function (this: QueueOutbox, position: bigint, withOpen: boolean) {
            const draft = take.call(this, position, withOpen)
            if (draft !== undefined)
              draft.hi = draft.sections.reduce((hi, { offsets }) => ((offsets.at(-1) ?? 0n) > hi ? offsets.at(-1)! : hi), 0n) - 1n
            return draft
          },
      ),
  },
  {
    name: 'empty-intervals-dropped',
    breaks: 'rule 6 †: an interval without jobs advances too',
    install: () =>
      patch(
        TaskInbox.prototype,
        'push',
        (push) =>
          function (this: TaskInbox, segment, received) {
            if (segment.sections.some(({ task }) => task === this.task)) push.call(this, segment, received)
          },
      ),
  },
  {
    name: 'event-jumped-over',
    breaks: 'rule 1: a poll never jumps over an event',
    mutate: ({ topic }) => {
      const read = topic.read.bind(topic)
      topic.read = (partition, nextOffset, count) => {
        const batch = read(partition, nextOffset, count)
        return batch.events.length > 1 ? { ...batch, events: batch.events.slice(1) } : batch
      }
    },
  },
  {
    name: 'no-heartbeat',
    breaks: 'rule 4 †: the tail is kept, so that the loss of the last segment is seen',
    mutate: ({ grid }) => {
      const append = grid.append.bind(grid)
      grid.append = (name, entry) => {
        const segment = decodeSegment(entry, secret)
        if (segment !== undefined && segment.lo === segment.hi) return 0
        return append(name, entry)
      }
    },
  },
  {
    name: 'event-split',
    breaks: 'I6: the jobs of an event are never split over two segments',
    install: () =>
      patch(
        QueueOutbox.prototype,
        'add',
        (add) =>
          function (this: QueueOutbox, event, offset, timeMs, position) {
            if (event.lines.length < 2) return add.call(this, event, offset, timeMs, position)
            add.call(this, { ...event, lines: event.lines.slice(0, 1), bytes: 1 }, offset, timeMs, position)
            add.call(this, { ...event, lines: event.lines.slice(1), bytes: 100_000 }, offset, timeMs, offset)
          },
      ),
  },
  {
    name: 'floor-in-two-transactions',
    breaks: 'rule 7 †: reading and writing the floor in two transactions',
    mutate: ({ database }) => {
      const settle = database.settle.bind(database)
      let pending: { partition: number; to: bigint } | undefined
      database.settle = (capture, epoch) => {
        // What was worked out before is written only now; a failover may lie between.
        if (pending !== undefined) database.raiseFloor(pending.partition, pending.to)
        pending = { partition: capture.partition, to: floorAllowedBy(capture, database.view(capture.partition)) }
        return settle({ ...capture, position: -1n }, epoch)
      }
    },
  },
]

function keepWindowAtRepair(): () => void {
  const kept = new WeakMap<QueueOutbox, { hi: bigint; segments: number }>()
  const mends = [
    patch(
      QueueOutbox.prototype,
      'rewind',
      (rewind) =>
        function (this: QueueOutbox, watermark: bigint) {
          kept.set(this, { hi: this.sent, segments: this.windowSegments })
          rewind.call(this, watermark)
        },
    ),
    patch(
      QueueOutbox.prototype,
      'release',
      (release) =>
        function (this: QueueOutbox, watermark: bigint) {
          if ((kept.get(this)?.hi ?? watermark) <= watermark) kept.delete(this)
          release.call(this, watermark)
        },
    ),
    patchGetter(
      QueueOutbox.prototype,
      'isFull',
      (isFull) =>
        function (this: QueueOutbox) {
          return isFull.call(this) || (kept.get(this)?.segments ?? 0) > 1
        },
    ),
  ]
  return () => mends.forEach((mend) => mend())
}
