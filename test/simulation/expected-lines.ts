/**
 * I6 in one place: which lines a segment must hold. Whatever may legally be left out of a segment, or put into it, is said
 * here and nowhere else.
 */
import { lineOf } from './workload.ts'
import type { Outcome, SimEvent, SimTask } from './workload.ts'

export interface ExpectedEvent {
  readonly event: SimEvent
  readonly outcomes: readonly Outcome[]
  /** The queue that the event's jobs travel in. */
  readonly queue: number
}

/** The range of one segment. */
export interface SegmentRange {
  readonly queue: number
  readonly lo: number
  readonly hi: number
}

/** Every line of the events in (lo, hi] of this queue, sorted: `task line`, or `task dead offset` for a dead letter. */
export function expectedLines(
  events: readonly ExpectedEvent[],
  { queue, lo, hi }: SegmentRange,
  tasks: readonly SimTask[],
  version: string,
): string[] {
  const lines: string[] = []
  for (const { event, outcomes, queue: own } of events) {
    if (event.offset <= lo || event.offset > hi) continue
    for (const outcome of outcomes) {
      if (outcome.queue !== queue) continue
      if (outcome.isDead) lines.push(`${outcome.task} dead ${outcome.offset}`)
      else lines.push(`${outcome.task} ${lineOf(outcome.id, event.fill, version)}`)
    }
    if (own !== queue || event.isUndecodable || event.hasBadKey) continue
    tasks.forEach((task, i) => {
      if (!task.isTracked) for (const line of ephemeralLines(event, task, event.jobs[i]!, version)) lines.push(`${task.name} ${line}`)
    })
  }
  return lines.sort()
}

function ephemeralLines({ partition, offset, fill }: SimEvent, { name }: SimTask, jobs: number, version: string): string[] {
  return Array.from({ length: Math.max(0, jobs) }, (_, ordinal) => lineOf(`${name}/${partition}/${offset}/${ordinal}`, fill, version))
}
