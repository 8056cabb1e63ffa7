/**
 * I6 in one place: which lines a segment must hold. Whatever may legally be left out of a segment, or put into it, is said
 * here and nowhere else.
 */
import { isLostAsAWhole, latestKeyOf, lineOf } from './workload.ts'
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

export interface ExpectedLines {
  /** Sorted: `task line`, or `task dead offset` for a dead letter. */
  readonly required: readonly string[]
  /** Latest values that a later event of their key replaces: there, or left out. */
  readonly optional: ReadonlySet<string>
}

/** The lines of the events in (lo, hi] of this queue. */
export function expectedLines(
  events: readonly ExpectedEvent[],
  { queue, lo, hi }: SegmentRange,
  tasks: readonly SimTask[],
  version: string,
): ExpectedLines {
  const lines: string[] = []
  const optional = new Set<string>()
  const lastOfKey = latestOffsets(events, tasks)
  for (const { event, outcomes, queue: own } of events) {
    if (event.offset <= lo || event.offset > hi) continue
    for (const outcome of outcomes) {
      if (outcome.queue !== queue) continue
      if (outcome.isDead) lines.push(`${outcome.task} dead ${outcome.offset}`)
      else lines.push(`${outcome.task} ${lineOf(outcome.id, event.fill, version)}`)
    }
    if (own !== queue || isLostAsAWhole(event)) continue
    tasks.forEach((task, i) => {
      if (task.isTracked) return
      const isReplaced = event.jobs[i] === 1 && lastOfKey[i]!.get(latestKeyOf(event.offset))! > event.offset
      for (const line of ephemeralLines(event, task, event.jobs[i]!, version)) {
        if (isReplaced) optional.add(`${task.name} ${line}`)
        else lines.push(`${task.name} ${line}`)
      }
    })
  }
  return { required: lines.sort(), optional }
}

/** For each task, the last event of the log that makes a single job of each key of latest values. */
function latestOffsets(events: readonly ExpectedEvent[], tasks: readonly SimTask[]): Map<string, number>[] {
  return tasks.map((task, i) => {
    if (task.isTracked) return new Map<string, number>()
    const sound = events.filter(({ event }) => !isLostAsAWhole(event) && event.jobs[i] === 1)
    return new Map(sound.map(({ event }) => [latestKeyOf(event.offset), event.offset]))
  })
}

function ephemeralLines({ partition, offset, fill }: SimEvent, { name }: SimTask, jobs: number, version: string): string[] {
  return Array.from({ length: Math.max(0, jobs) }, (_, ordinal) => lineOf(`${name}/${partition}/${offset}/${ordinal}`, fill, version))
}
