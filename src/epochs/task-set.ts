/**
 * What happens to tasks from one epoch to the next (rule 19). No I/O.
 *
 * A floor passes what the tasks of its epoch have applied, and nothing waits for a task that is not among them. So a task that is left
 * out keeps its rows as they stood, and its place is part of the ledger. When it comes back, each floor goes
 * back to the lowest of its rows, and the rows of the others, which at or below the old floor have nothing left to apply, are lifted to it.
 * An operator may give up what it missed (`forebay tasks skip`): its rows are lifted to the floors. A task without rows is new and begins there.
 */
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type { PartitionView } from '../ledger/ledger.ts'
import { routingFields } from '../ledger/fingerprint.ts'

/** Tasks by what the next epoch means to them. */
export interface TaskChange {
  /** Durable ones that it leaves out: an operator has to allow it. */
  readonly left: readonly string[]
  /** Those with watermarks that the epoch before did not have. */
  readonly added: readonly string[]
  /** No longer tracked and ephemeral: their rows are of no use to anybody. */
  readonly untracked: readonly string[]
}

type Tasks = Pick<Fingerprint, 'tasks' | 'ephemeral'>

export function taskChangeOf(was: Tasks, is: Tasks): TaskChange {
  const gone = was.tasks.filter((task) => !is.tasks.includes(task))
  const isEphemeral = (task: string) => [...(was.ephemeral ?? []), ...(is.ephemeral ?? [])].includes(task)
  return {
    left: gone.filter((task) => !isEphemeral(task)),
    added: is.tasks.filter((task) => !was.tasks.includes(task)),
    untracked: gone.filter(isEphemeral),
  }
}

/** Whether both run the same tasks. An older forebay did not store the ephemeral ones: those then match any. */
export function isSameTasks(a: Tasks, b: Tasks): boolean {
  const isSameList = (one: readonly string[], other: readonly string[]) =>
    one.length === other.length && one.every((task, i) => task === other[i])
  if (!isSameList(a.tasks, b.tasks)) return false
  return a.ephemeral === undefined || b.ephemeral === undefined || isSameList(a.ephemeral.toSorted(), b.ephemeral.toSorted())
}

/** Completes "this node …": what it runs otherwise. Empty when the tasks are the same. */
export function taskDifferences(was: Tasks, is: Tasks): string {
  const all = ({ tasks, ephemeral }: Tasks, other: Tasks) => [
    ...new Set([...tasks, ...(other.ephemeral === undefined ? [] : (ephemeral ?? []))]),
  ]
  const [before, now] = [all(was, is), all(is, was)]
  const [missing, extra] = [before.filter((task) => !now.includes(task)), now.filter((task) => !before.includes(task))]
  const parts = [
    ...(missing.length > 0 ? [`lacks ${namesOf(missing)}`] : []),
    ...(extra.length > 0 ? [`has ${namesOf(extra)} besides`] : []),
  ]
  if (parts.length === 0 && !isSameTasks(was, is)) return `has its tasks in another order (${is.tasks.join(', ')})`
  return parts.join(' and ')
}

/** `task a`, `tasks a, b`. */
export function namesOf(tasks: readonly string[]): string {
  return `${tasks.length === 1 ? 'task' : 'tasks'} ${tasks.join(', ')}`
}

export interface RowChange {
  /** Tasks of the epoch before, and of the next one. */
  readonly was: readonly string[]
  readonly is: readonly string[]
  /** Every task with rows in any partition: those that neither epoch has keep their places. */
  readonly withRows: readonly string[]
  readonly untracked: readonly string[]
  /** Of the next epoch. */
  readonly queues: number
  /** Its queues are not the ones of before: nothing is applied above the floor. */
  readonly isCut: boolean
}

/** Floor and rows of a partition in the next epoch. */
export function rowsOfNextEpoch({ partition, floor, rows }: PartitionView, change: RowChange): PartitionView {
  const { was, is, withRows, untracked, queues, isCut } = change
  const even = (offset: bigint) => new Array<bigint>(queues).fill(offset)
  const lifted = (marks: readonly bigint[]) => marks.map((mark) => (mark > floor ? mark : floor))
  const isBack = (task: string) => is.includes(task) && !was.includes(task) && withRows.includes(task)
  // A partition that came while the task was away has no rows of it: it has to begin at its first event.
  const placeOf = (task: string) => (isCut ? even(rows.get(task)?.[0] ?? -1n) : (rows.get(task) ?? even(-1n)))
  const next = new Map<string, readonly bigint[]>()
  let lowest = floor
  for (const task of is.filter(isBack)) {
    const place = placeOf(task)
    next.set(task, place)
    for (const mark of place) if (mark < lowest) lowest = mark
  }
  for (const task of is) {
    if (isBack(task)) continue
    const marks = was.includes(task) ? rows.get(task) : undefined
    if (marks === undefined || isCut) next.set(task, even(floor))
    else {
      const all = Array.from({ length: queues }, (_, queue) => marks[queue] ?? floor)
      next.set(task, lowest < floor ? lifted(all) : all)
    }
  }
  for (const task of withRows) {
    if (is.includes(task) || untracked.includes(task)) continue
    if (!was.includes(task)) next.set(task, placeOf(task))
    else next.set(task, isCut ? even(floor) : lifted(rows.get(task) ?? []))
  }
  return { partition, floor: lowest, rows: next }
}

/** A task that is away and stands at different places in queues of one partition: other queues could not take its place over. */
export function unevenTask(views: readonly PartitionView[], away: readonly string[]): { task: string; partition: number } | undefined {
  for (const { partition, rows } of views) {
    for (const task of away) if (new Set(rows.get(task)).size > 1) return { task, partition }
  }
  return undefined
}

/** Where `task` stands below a floor. */
export function behindOf(views: readonly PartitionView[], task: string): { partition: number; place: bigint; floor: bigint }[] {
  return views.flatMap(({ partition, floor, rows }) => {
    const marks = rows.get(task) ?? [-1n]
    const place = marks.reduce((low, mark) => (mark < low ? mark : low))
    return place < floor ? [{ partition, place, floor }] : []
  })
}

/** Whether nodes of both may work in one epoch. */
export function isSame(a: Fingerprint, b: Fingerprint): boolean {
  return isSameTasks(a, b) && a.version === b.version && differencesOf(a, b).length === 0
}

/** The routing fields in which `is` differs from `was`. */
export function differencesOf(was: Fingerprint, is: Fingerprint): { field: string; was: string | number; is: string | number }[] {
  return routingFields.filter((field) => was[field] !== is[field]).map((field) => ({ field, was: was[field], is: is[field] }))
}
