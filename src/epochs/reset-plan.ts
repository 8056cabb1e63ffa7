/**
 * What a reset to a point would do (rule 12): where each partition's floor goes, and what that asks of the tables. Pure.
 *
 * A reset goes back, never ahead: events between a floor and a later point would be skipped. The one exception is said in words:
 * events that the log no longer holds can be given up.
 */
import { ForebayError } from '../errors.ts'
import { floorBefore, nextOffsetAfter } from '../events/event-log.ts'
import type { PartitionRange } from '../events/event-log.ts'
import { parseLogPoint } from '../events/log-point.ts'
import type { LogPoint } from '../events/log-point.ts'
import type { TaskDefinition } from '../pipeline/pipeline.ts'
import { planTable, quotedTable } from '../sinks/postgres-table/table-plan.ts'
import { isDurable, tableOf } from '../sinks/traits.ts'

export type ResetPoint = LogPoint<'earliest'>

/** A partition as it stands, and the offset in the log that the point means for it. */
export interface PartitionState {
  readonly partition: number
  readonly floor: bigint
  /** The furthest offset that any task has applied in any queue. */
  readonly appliedTo: bigint
  readonly range: PartitionRange
  readonly nextOffset: bigint
}

/**
 * `back`: what lies above `cut` is made again. `ahead`: events that are gone are given up. `kept`: it stands at or before the
 * point, and goes on from its floor.
 */
export interface PartitionReset {
  readonly partition: number
  readonly floor: bigint
  /** Where the point lies: the floor of a partition that begins there. */
  readonly target: bigint
  readonly cut: bigint
  readonly change: 'back' | 'ahead' | 'kept'
  /** Of one that goes ahead: tables are emptied of rows that queues wrote above the cut, so that these are made again. */
  readonly isAboveMadeAgain?: boolean
}

/** Whether jobs that were applied before may be applied again. */
export function isMadeAgain({ change, isAboveMadeAgain = false }: PartitionReset): boolean {
  return change === 'back' || isAboveMadeAgain
}

export interface ResetWish {
  readonly point: ResetPoint
  /** Undefined: all. */
  readonly partition: number | undefined
  /** Tables to be emptied, as the pipeline names them. */
  readonly truncate: readonly string[]
  readonly allowsDuplicates: boolean
  /** Events that the log no longer holds are given up. */
  readonly skipsLost: boolean
}

export interface ResetPlan {
  readonly partitions: readonly PartitionReset[]
  /** Quoted names of the tables to be emptied. */
  readonly truncations: readonly string[]
  /** What an operator should know before, one sentence each. */
  readonly warnings: readonly string[]
}

/** Throws FB_USAGE. */
export function parseResetPoint(text: string): ResetPoint {
  const point = parseLogPoint(text, ['earliest'])
  if (point !== undefined) return point
  throw new ForebayError(
    'FB_USAGE',
    `--to takes earliest, an offset (digits, with --partition), or a time with its zone such as 2026-01-31T09:30:00Z, not ${text}`,
  )
}

/** Throws FB_USAGE for what may not be done or was not said in words, FB_RETENTION_PASSED where events are gone. */
export function planReset(wish: ResetWish, states: readonly PartitionState[], tasks: readonly TaskDefinition[]): ResetPlan {
  const chosen = wish.partition === undefined ? states : states.filter(({ partition }) => partition === wish.partition)
  checkChoice(wish, states, chosen)
  const partitions = chosen.map((state) => resetOf(state, wish))
  if (
    wish.point.kind === 'time' &&
    partitions.every(({ change, cut }, n) => change === 'kept' && cut < floorBefore(chosen[n]!.nextOffset))
  ) {
    throw new ForebayError('FB_USAGE', `Every partition stands before ${timeText(wish.point)} already; a reset only goes back.`)
  }
  const truncations = tablesOf(wish, tasks)
  if (partitions.some((partition) => isMadeAgain(partition))) checkTasks(wish, tasks)
  return { partitions, truncations, warnings: warningsOf(wish, partitions, tasks) }
}

function checkChoice(
  { point, partition, truncate }: ResetWish,
  states: readonly PartitionState[],
  chosen: readonly PartitionState[],
): void {
  const fail = (sentence: string): never => {
    throw new ForebayError('FB_USAGE', sentence)
  }
  if (chosen.length === 0) fail(`The topic has no partition ${partition}; its partitions are 0 to ${states.length - 1}.`)
  if (point.kind === 'offset' && chosen.length > 1)
    fail(`An offset is of one partition: say which with --partition (0 to ${states.length - 1}).`)
  if (truncate.length > 0 && chosen.length < states.length)
    fail('--truncate empties a table of the rows of every partition, but only one partition would be made again; leave --partition out.')
}

function resetOf(
  { partition, floor, appliedTo, range, nextOffset }: PartitionState,
  { point, skipsLost, truncate }: ResetWish,
): PartitionReset {
  const cut = floorBefore(nextOffset)
  const lost = range.startOffset - nextOffsetAfter(floor)
  if (point.kind === 'offset' && nextOffset < range.startOffset) {
    throw new ForebayError(
      'FB_USAGE',
      `Partition ${partition} begins at offset ${range.startOffset}: offset ${nextOffset} is gone from the log. Say --to earliest, or a later offset.`,
    )
  }
  if (lost > 0n) {
    const begin = floorBefore(range.startOffset)
    if (skipsLost && cut <= begin) {
      const isAboveMadeAgain = truncate.length > 0 && appliedTo > begin
      return { partition, floor, target: begin, cut: begin, change: 'ahead', ...(isAboveMadeAgain ? { isAboveMadeAgain } : {}) }
    }
    throw new ForebayError(
      'FB_RETENTION_PASSED',
      `Partition ${partition}: the floor is ${floor}, but the log begins at ${range.startOffset}: ${lost} offsets are gone unprocessed. ` +
        `Say --partition ${partition} --to earliest --skip-lost to give them up.`,
    )
  }
  if (point.kind === 'offset' && cut > floor) {
    throw new ForebayError(
      'FB_USAGE',
      `Partition ${partition} stands at floor ${floor}: to begin at offset ${nextOffset} would skip events that were never processed. A reset only goes back.`,
    )
  }
  return { partition, floor, target: cut, ...changeOf({ floor, appliedTo, target: cut, isTruncated: truncate.length > 0 }) }
}

/**
 * What becomes of a partition that stands at `floor`. One that stands before the point goes on from where it is; where tables are
 * emptied it goes back to its floor, since rows above it that some queues have written are gone then.
 */
export function changeOf(of: {
  floor: bigint
  appliedTo: bigint
  target: bigint
  isTruncated: boolean
}): Pick<PartitionReset, 'cut' | 'change'> {
  const { floor, appliedTo, target, isTruncated } = of
  if (target > floor) return { cut: floor, change: isTruncated && appliedTo > floor ? 'back' : 'kept' }
  return { cut: target, change: target === floor && appliedTo === floor ? 'kept' : 'back' }
}

interface DurableTask {
  readonly name: string
  /** As sentences name it. */
  readonly place: string
  /** Null where the jobs are no rows of a table that a reset could empty. */
  readonly table: string | null
  readonly kind: 'insert' | 'sum' | 'repeatable'
}

function durableTasks(tasks: readonly TaskDefinition[]): DurableTask[] {
  return tasks.filter(isDurable).map((task) => {
    const { name, sink } = task
    const definition = tableOf(task)
    // Where it is, is not known here: what is made again is there twice.
    if (definition === undefined) return { name, place: sink.label, table: null, kind: 'insert' }
    const { table } = definition
    const { key, columns } = planTable(definition)
    const isSum = columns.some((column) => !column.isKey && (column.merge === 'add' || column.merge === 'add-approximate'))
    return { name, place: sink.label, table, kind: key.length === 0 ? 'insert' : isSum ? 'sum' : 'repeatable' }
  })
}

function tablesOf({ truncate }: ResetWish, tasks: readonly TaskDefinition[]): string[] {
  const tables = new Set(durableTasks(tasks).flatMap(({ table }) => table ?? []))
  const stranger = truncate.find((table) => !tables.has(table))
  if (stranger !== undefined) {
    throw new ForebayError(
      'FB_USAGE',
      `No task of the pipeline writes table ${stranger}; --truncate takes ${[...tables].join(', ') || 'none here'}.`,
    )
  }
  return [...new Set(truncate)].map((name) => {
    const definition = tasks.map(tableOf).find((found) => found?.table === name)
    return quotedTable(planTable(definition!))
  })
}

/** Everything that is not said yet, at once. */
function checkTasks({ truncate, allowsDuplicates }: ResetWish, tasks: readonly TaskDefinition[]): void {
  const open = durableTasks(tasks).filter(({ table }) => table === null || !truncate.includes(table))
  const sums = open.filter(({ kind }) => kind === 'sum')
  const inserts = open.filter(({ kind }) => kind === 'insert' && !allowsDuplicates)
  const sentences = [
    ...sums.map(
      ({ name, table }) =>
        `Task ${name} adds up in table ${table}: what is made again would be added a second time. Say --truncate ${table}.`,
    ),
    ...inserts.map(
      ({ name, place, table }) =>
        `Task ${name} inserts into ${place}: rows made again would be there twice. Say ${table === null ? '' : `--truncate ${table}, or `}--allow-duplicates.`,
    ),
  ]
  if (sentences.length > 0) throw new ForebayError('FB_USAGE', sentences.join('\n'))
}

function warningsOf(
  { truncate, allowsDuplicates }: ResetWish,
  partitions: readonly PartitionReset[],
  tasks: readonly TaskDefinition[],
): string[] {
  const left = partitions.filter(({ cut }) => cut >= 0n)
  const open = durableTasks(tasks).filter(({ table }) => table === null || !truncate.includes(table))
  const twice = open.filter(({ kind }) => kind === 'insert').map(({ place }) => place.replace(/^table /, ''))
  const repeated = open.filter(({ kind }) => kind === 'repeatable').map(({ table }) => table!)
  const isBack = partitions.some((partition) => isMadeAgain(partition))
  return [
    ...(truncate.length > 0 && left.length > 0
      ? [
          `${truncate.join(', ')} will hold nothing of what lies at or below the cut: ${left.map(({ partition, cut }) => `partition ${partition} up to ${cut}`).join(', ')}`,
        ]
      : []),
    ...(isBack && allowsDuplicates && twice.length > 0 ? [`${twice.join(', ')} will hold the rows above the cut twice`] : []),
    ...(isBack && repeated.length > 0 ? [`${repeated.join(', ')} may show older values until the pipeline has caught up`] : []),
    ...partitions
      .filter(({ change }) => change === 'ahead')
      .map(({ partition, floor, cut }) => `partition ${partition} gives up ${cut - floor} offsets that the log no longer holds`),
  ]
}

function timeText({ timeMs }: Extract<ResetPoint, { kind: 'time' }>): string {
  return new Date(timeMs).toISOString()
}
