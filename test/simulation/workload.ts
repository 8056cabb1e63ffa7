/**
 * What the simulated events mean. An event is made together with what must become of it, so the oracle reads nothing that
 * the pipeline makes: the pipeline gets bytes, the oracle this description.
 */
import type { Random } from './random.ts'

/** A task as the simulation declares it. */
export interface SimTask {
  readonly name: string
  readonly everyMs: number
  readonly rowsMax: number | undefined
  readonly bytesMax: number | undefined
  readonly isTracked: boolean
}

/** One event of the log, described. */
export interface SimEvent {
  readonly partition: number
  readonly offset: number
  readonly key: number
  /** For each task: how many jobs, -1 for a `convert` that throws, -2 for a job that cannot be encoded. */
  readonly jobs: readonly number[]
  /** Length of the filling of each job. */
  readonly fill: number
  readonly isUndecodable: boolean
  readonly hasBadKey: boolean
  /** Ends the process that converts it. */
  readonly kills: boolean
  /** Jobs of this event that the database refuses: `task/ordinal`. */
  readonly refused: readonly string[]
}

/** What must come of an event for one task: a row, or a dead letter. */
export interface Outcome {
  readonly id: string
  /** The tracked task whose watermark it belongs to. */
  readonly task: string
  readonly partition: number
  readonly queue: number
  readonly offset: number
  readonly ordinal: number
  readonly key: number
  readonly isDead: boolean
  readonly isRefused: boolean
}

export function drawTasks(random: Random): SimTask[] {
  const count = random.int(1, 3)
  const everyMs = [random.int(5, 30), random.int(40, 150), random.int(300, 1200)]
  const tasks: SimTask[] = Array.from({ length: count }, (_, i) => ({
    name: 'abc'[i]!,
    everyMs: random.pick(everyMs),
    rowsMax: random.chance(0.3) ? random.int(1, 6) : undefined,
    bytesMax: random.chance(0.2) ? random.int(60, 300) : undefined,
    isTracked: true,
  }))
  if (random.chance(0.3)) tasks.push({ name: 'e', everyMs: random.int(5, 60), rowsMax: undefined, bytesMax: undefined, isTracked: false })
  return tasks
}

/** Some of the tracked tasks, mostly all. */
export function drawTaskSet(random: Random, tasks: readonly SimTask[]): string[] {
  const tracked = tasks.filter((task) => task.isTracked).map(({ name }) => name)
  const some = tracked.filter(() => random.chance(0.7))
  return random.chance(0.5) || some.length === 0 ? tracked : some
}

/** An event for every taste: mostly sound ones, now and then each kind of bad one. */
/** How keys are spread. */
export interface SimTraffic {
  readonly keys: number
  /** Share of the events that have key 0, which are large then. */
  readonly hotShare: number
}

export function drawEvent(
  random: Random,
  at: { partition: number; offset: number },
  { keys, hotShare }: SimTraffic,
  tasks: readonly SimTask[],
): SimEvent {
  const isPoor = random.chance(0.08)
  const jobs = tasks.map(() => {
    if (isPoor && random.chance(0.4)) return random.chance(0.7) ? -1 : -2
    return random.chance(0.35) ? 0 : random.int(1, 3)
  })
  const refused: string[] = []
  tasks.forEach((task, i) => {
    for (let ordinal = 0; task.isTracked && ordinal < jobs[i]!; ordinal++) if (random.chance(0.015)) refused.push(`${task.name}/${ordinal}`)
  })
  const isHot = random.chance(hotShare)
  return {
    ...at,
    key: isHot ? 0 : random.int(0, keys - 1),
    jobs,
    fill: isHot || random.chance(0.1) ? random.int(20, 60) : random.int(0, 8),
    isUndecodable: isPoor && random.chance(0.3),
    hasBadKey: isPoor && random.chance(0.15),
    kills: false,
    refused,
  }
}

export function encodeEvent(event: SimEvent): Buffer {
  if (event.isUndecodable) return Buffer.from(`?${event.offset}`)
  return Buffer.from(JSON.stringify([event.hasBadKey ? null : event.key, event.jobs, event.fill, ...(event.kills ? ['kills'] : [])]))
}

/** Which of its latest values the single job of an event is. */
export function latestKeyOf(offset: number): string {
  return `l${offset % 3}`
}

/** The line that must reach the sink. */
export function lineOf(id: string, fill: number, version: string): string {
  return `${id} ${version} ${'x'.repeat(fill)}`
}

/** Nothing of it reaches a task. */
export function isLostAsAWhole({ isUndecodable, hasBadKey, kills }: SimEvent): boolean {
  return isUndecodable || hasBadKey || kills
}

/** The independent converter: all outcomes of `event` in the order of tasks and ordinals, where of the tracked tasks `tracked` run. */
export function outcomesOf(
  event: SimEvent,
  tasks: readonly SimTask[],
  { queueOfKey, tracked }: { queueOfKey: (key: string) => number; tracked: readonly string[] },
): Outcome[] {
  const { partition, offset, key } = event
  const carrier = tracked[0]!
  const outcome = (of: { task: string; ordinal: number; named: string; isDead: boolean; isRefused?: boolean }, queue: number): Outcome => ({
    id: `${of.named}/${partition}/${offset}/${of.isDead ? 'dead' : of.ordinal}`,
    task: of.task,
    partition,
    queue,
    offset,
    ordinal: of.ordinal,
    key,
    isDead: of.isDead,
    isRefused: of.isRefused ?? false,
  })
  if (isLostAsAWhole(event)) return [outcome({ task: carrier, ordinal: 0, named: 'null', isDead: true }, 0)]
  const queue = queueOfKey(`k${key}`)
  return tasks.flatMap((task, i) => {
    const count = event.jobs[i]!
    if (task.isTracked && !tracked.includes(task.name)) return []
    if (count < 0) return [outcome({ task: task.isTracked ? task.name : carrier, ordinal: 0, named: task.name, isDead: true }, queue)]
    if (!task.isTracked) return []
    return Array.from({ length: count }, (_, ordinal) =>
      outcome(
        { task: task.name, ordinal, named: task.name, isDead: false, isRefused: event.refused.includes(`${task.name}/${ordinal}`) },
        queue,
      ),
    )
  })
}
