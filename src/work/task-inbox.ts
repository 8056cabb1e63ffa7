/**
 * What one task of one queue still has to flush, in order: a chain of intervals (applied, hi], each with the jobs of one
 * segment. An interval without jobs for the task is kept too, since its watermark must advance all the same (rule 6).
 * State only; no I/O, no clock.
 */
import { assert } from '../assert.ts'
import type { JobLines, Segment } from '../grid/segment.ts'

interface Interval {
  readonly hi: bigint
  /** Sections of this task that hold lines. */
  readonly sections: readonly JobLines[]
}

/** Part of an inbox taken for a flush; it stays in the inbox until `settle`. */
export interface InboxBatch {
  /** The watermark's row, which may lie below the floor: between the two no job is left. */
  readonly from: bigint
  readonly to: bigint
  readonly sections: readonly JobLines[]
  readonly rows: number
}

export class TaskInbox {
  readonly task: string
  #applied: bigint
  #row: bigint
  #intervals: Interval[] = []
  #rows = 0
  #bytes = 0

  /** `row` is what the task's watermark row holds, where the floor has passed it. Default: `applied`. */
  constructor(task: string, applied: bigint, row = applied) {
    this.task = task
    this.#applied = applied
    this.#row = row
  }

  /** Every job up to here is applied, as far as this node knows. */
  get applied(): bigint {
    return this.#applied
  }

  /** The row of the watermark, as far as this node knows. */
  get row(): bigint {
    return this.#row
  }

  get intervals(): number {
    return this.#intervals.length
  }

  get rows(): number {
    return this.#rows
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Takes this task's part of `segment`, leaving out what lies at or below `received`. */
  push(segment: Segment, received: bigint): void {
    if (segment.hi <= this.#applied) return
    const above = received > this.#applied ? received : this.#applied
    const own = segment.sections.filter((section) => section.task === this.task)
    const sections = own.map((section) => section.after(above)).filter((section) => section.count > 0)
    this.#intervals.push({ hi: segment.hi, sections })
    this.#count(sections, 1)
  }

  /** The oldest intervals, whole ones, until `rowsMax` lines are reached; undefined when nothing waits. */
  take(rowsMax: number): InboxBatch | undefined {
    const sections: JobLines[] = []
    let rows = 0
    let to = this.#applied
    for (const interval of this.#intervals) {
      if (rows > 0 && rows >= rowsMax) break
      for (const section of interval.sections) {
        sections.push(section)
        rows += section.count
      }
      to = interval.hi
    }
    return to > this.#applied ? { from: this.#row, to, sections, rows } : undefined
  }

  /** A flush up to `to` is committed. */
  settle(to: bigint): void {
    if (to > this.#row) this.#row = to
    this.#pass(to)
  }

  /** The watermarks were read, and all that waits here lies at or below them. What a flush under way moves is passed already. */
  follow(applied: bigint, row: bigint): void {
    assert(row >= this.#row, 'I5: a watermark never goes back')
    this.#row = row
    this.#pass(applied)
  }

  #pass(to: bigint): void {
    let done = 0
    while (done < this.#intervals.length && this.#intervals[done]!.hi <= to) this.#count(this.#intervals[done++]!.sections, -1)
    if (done > 0) this.#intervals.splice(0, done)
    if (to > this.#applied) this.#applied = to
  }

  #count(sections: readonly JobLines[], sign: 1 | -1): void {
    for (const section of sections) {
      this.#rows += sign * section.count
      this.#bytes += sign * section.bytes.length
    }
  }
}
