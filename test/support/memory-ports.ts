/** A log, a grid and a ledger in memory on a clock of the test, each call of which can be made to fail, hang, come back empty or late. */
import { ForebayError } from '../../src/errors.ts'
import type { EventBatch, EventCursor, EventLog, EventRecord, PartitionRange } from '../../src/events/event-log.ts'
import { floorBefore } from '../../src/events/event-log.ts'
import type { JobGrid } from '../../src/grid/job-grid.ts'
import { LocalJobGrid } from '../../src/grid/local-job-grid.ts'
import { floorAllowedBy } from '../../src/ledger/ledger.ts'
import type { DeadLetter, Flush, Ledger, OwnerCapture, PartitionHalt, PartitionView } from '../../src/ledger/ledger.ts'
import type { Clock } from '../../src/schedule/clock.ts'

/** What a call of a port goes through; the answer it gives when it is to be `empty`. */
export type Fault = <T>(call: () => Promise<T>, empty: () => Promise<T>) => Promise<T>

export type Call = 'poll' | 'range' | 'append' | 'read' | 'tail' | 'flags' | 'nodes' | 'settle' | 'watermarks' | 'flush'

/** The faults of this moment. */
export class Faults {
  readonly #present = new Map<Call, Fault>()

  set(calls: readonly Call[], fault: Fault): void {
    for (const call of calls) this.#present.set(call, fault)
  }

  heal(): void {
    this.#present.clear()
  }

  run<T>(name: Call, call: () => Promise<T>, empty: () => Promise<T>): Promise<T> {
    return this.#present.get(name)?.(call, empty) ?? call()
  }
}

const pollMs = 20

export class MemoryLog {
  readonly #events = new Map<number, EventRecord[]>()
  readonly #clock: Clock
  readonly #faults: Faults

  constructor(clock: Clock, faults: Faults) {
    this.#clock = clock
    this.#faults = faults
  }

  add(partition: number, value: string): void {
    const events = this.#of(partition)
    events.push({ offset: BigInt(events.length), timestampMs: this.#clock.wallMs(), key: null, value: Buffer.from(value) })
  }

  port(partitions: number): EventLog {
    const range = async (partition: number): Promise<PartitionRange> => ({ startOffset: 0n, endOffset: BigInt(this.#of(partition).length) })
    return {
      identity: async () => ({ cluster: 'memory', topicId: null, partitions }),
      range: (partition) =>
        this.#faults.run(
          'range',
          () => range(partition),
          async () => ({ startOffset: 0n, endOffset: 0n }),
        ),
      offsetAt: async () => 0n,
      eventAt: async (partition, offset) => this.#of(partition)[Number(offset)],
      open: async (partition, nextOffset) => this.#cursor(partition, nextOffset),
      commit: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    }
  }

  #of(partition: number): EventRecord[] {
    const events = this.#events.get(partition) ?? []
    this.#events.set(partition, events)
    return events
  }

  #cursor(partition: number, nextOffset: bigint): EventCursor {
    let next = nextOffset
    const nothing = (): EventBatch => ({ events: [], lastOffset: floorBefore(next) })
    const poll = async (waitMs: number): Promise<EventBatch> => {
      for (let waited = 0; ; waited += pollMs) {
        const events = this.#of(partition).slice(Number(next))
        if (events.length > 0) {
          next += BigInt(events.length)
          return { events, lastOffset: floorBefore(next) }
        }
        if (waited >= waitMs) return nothing()
        await this.#clock.sleep(pollMs)
      }
    }
    const empty = async (waitMs: number) => {
      await this.#clock.sleep(waitMs)
      return nothing()
    }
    return {
      poll: (waitMs) =>
        this.#faults.run(
          'poll',
          () => poll(waitMs),
          () => empty(waitMs),
        ),
      seek: (offset) => void (next = offset),
      close: async () => undefined,
    }
  }
}

/** Waits on the clock of the test. */
export function memoryGrid(clock: Clock, faults: Faults, capacity: number): JobGrid & { lose(ring: string): void } {
  const grid = new LocalJobGrid({ capacity })
  const lost = async (ring: string) => grid.destroy({ rings: [ring], maps: [] })
  const read: JobGrid['read'] = async (ring, from, { countMax, waitMs }) => {
    for (let waited = 0; ; waited += pollMs) {
      const found = await grid.read(ring, from, { countMax, waitMs: 0 })
      if (found.entries.length > 0 || waited >= waitMs) return found
      await clock.sleep(pollMs)
    }
  }
  const waitEmpty = async (from: bigint, waitMs: number) => {
    await clock.sleep(waitMs)
    return { entries: [], nextSequence: from }
  }
  const of = (map: string): Call => (map.endsWith('.nodes') ? 'nodes' : 'flags')
  return {
    append: (ring, entry) =>
      faults.run(
        'append',
        () => grid.append(ring, entry),
        async () => 0n,
      ),
    read: (ring, from, options) =>
      faults.run(
        'read',
        () => read(ring, from, options),
        () => waitEmpty(from, options.waitMs),
      ),
    peek: (ring, from, countMax) => grid.peek(ring, from, countMax),
    tail: (ring) =>
      faults.run(
        'tail',
        () => grid.tail(ring),
        async () => ({ sequence: -1n, entry: undefined }),
      ),
    capacity: (ring) => grid.capacity(ring),
    put: (map, key, value) =>
      faults.run(
        of(map),
        () => grid.put(map, key, value),
        async () => undefined,
      ),
    remove: (map, key) => grid.remove(map, key),
    entries: (map) =>
      faults.run(
        of(map),
        () => grid.entries(map),
        async () => new Map<string, string>(),
      ),
    destroy: (unused) => grid.destroy(unused),
    onDisturbance: (listener) => grid.onDisturbance(listener),
    lose: (ring) => void lost(ring),
    [Symbol.asyncDispose]: () => grid[Symbol.asyncDispose](),
  }
}

export class MemoryLedger implements Ledger {
  readonly rows: string[] = []
  readonly letters: DeadLetter[] = []
  readonly #views = new Map<number, PartitionView>()
  readonly #tasks: readonly string[]
  readonly #queues: number
  readonly #faults: Faults

  constructor(tasks: readonly string[], queues: number, faults: Faults) {
    this.#tasks = tasks
    this.#queues = queues
    this.#faults = faults
  }

  view(partition: number): PartitionView {
    const none = (): PartitionView => ({
      partition,
      floor: -1n,
      rows: new Map(this.#tasks.map((task) => [task, new Array<bigint>(this.#queues).fill(-1n)])),
    })
    return this.#views.get(partition) ?? none()
  }

  read(partition: number): Promise<PartitionView> {
    const view = async () => this.view(partition)
    return this.#faults.run('watermarks', view, view)
  }

  readAll(partitions: readonly number[]): Promise<PartitionView[]> {
    const views = async () => partitions.map((partition) => this.view(partition))
    return this.#faults.run('watermarks', views, views)
  }

  settle(capture: OwnerCapture): Promise<PartitionView> {
    const { partition } = capture
    const settle = async () => {
      const view = this.view(partition)
      const leaderEpoch = Math.max(capture.leaderEpoch ?? -1, view.leaderEpoch ?? -1)
      this.#views.set(partition, { ...view, floor: floorAllowedBy(capture, view), ...(leaderEpoch < 0 ? {} : { leaderEpoch }) })
      return this.view(partition)
    }
    return this.#faults.run('settle', settle, async () => this.view(partition))
  }

  halt(halt: PartitionHalt): Promise<void> {
    const keep = async () => void this.#views.set(halt.partition, { ...this.view(halt.partition), halt })
    return this.#faults.run('settle', keep, async () => undefined)
  }

  flush({ task, advances, write }: Flush): Promise<void> {
    const flush = async () => {
      for (const { partition, queue, from } of advances) {
        const { floor, rows } = this.view(partition)
        const row = rows.get(task)![queue]!
        if (row !== from && !(row < from && floor === from)) throw new ForebayError('FB_FENCED', `${partition}/${queue} is not at ${from}`)
      }
      const buried: DeadLetter[] = []
      await write({ attempt: (body) => body(), bury: async (letters) => void buried.push(...letters) })
      this.letters.push(...buried)
      for (const { partition, queue, to } of advances) {
        const view = this.view(partition)
        const rows = new Map([...view.rows].map(([name, marks]) => [name, name === task ? marks.with(queue, to) : marks]))
        this.#views.set(partition, { ...view, rows })
      }
    }
    return this.#faults.run('flush', flush, async () => undefined)
  }
}
