import type { JobLines } from '../grid/segment.ts'

/** One job of a batch. */
export interface Job<Row = unknown> {
  /** The same whenever the job is made again: task, partition, offset and ordinal, such as `notify/3/1042/0`. An idempotency key. */
  readonly id: string
  readonly partition: number
  /** Of its event in the log. */
  readonly offset: bigint
  /** Its place among the jobs of its event, from 0. */
  readonly ordinal: number
  /** When its event was written to the log, in wall-clock milliseconds. */
  readonly timeMs: number
  /** What the sink's `encode` gave. */
  readonly line: string
  /** The line read as JSON: of sinks without an `encode` of their own what `convert` gave, with bigints as strings. */
  readonly row: Row
}

/** Jobs of one task on their way into a sink: in order within each queue. Iterating it reads each job once. */
export class Batch<Row = unknown> implements Iterable<Job<Row>> {
  /** The jobs as they travel: of each queue its lines, each ended by a newline, as bytes. Not to be written to. */
  readonly sections: readonly JobLines[]

  constructor(sections: readonly JobLines[]) {
    this.sections = sections
  }

  /** How many jobs. */
  get size(): number {
    return this.sections.reduce((sum, { count }) => sum + count, 0)
  }

  /** The lines of all jobs. */
  lines(): string[] {
    return this.sections.flatMap((section) => section.lines())
  }

  /** The lines of all jobs, read as JSON. */
  rows(): Row[] {
    return this.lines().map((line) => JSON.parse(line) as Row)
  }

  *[Symbol.iterator](): Generator<Job<Row>> {
    for (const section of this.sections) {
      const { task, partition } = section
      for (const [index, line] of section.lines().entries()) {
        const [offset, ordinal] = [section.offset(index), section.ordinal(index)]
        const id = `${task}/${partition}/${offset}/${ordinal}`
        yield {
          id,
          partition,
          offset,
          ordinal,
          timeMs: section.timeMs(index),
          line,
          get row() {
            return JSON.parse(line) as Row
          },
        }
      }
    }
  }
}
