/** The options of `forebay replay`, checked. Pure. */
import { ForebayError } from '../errors.ts'
import { didYouMean } from '../text/nearest.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import { parsePoint, pointText } from '../replay/replay-point.ts'
import { checkRequest } from '../replay/replay-range.ts'
import type { RangeRequest } from '../replay/replay-range.ts'
import type { ReplaySpec } from '../replay/replay-store.ts'
import { tableOf } from '../sinks/traits.ts'

export interface ReplayOptions {
  readonly from?: string
  readonly to?: string
  readonly partition?: number
  readonly key?: string
  readonly task?: string
  readonly into?: string
  readonly speed?: number
  readonly dryRun?: boolean
  readonly verify?: boolean
  readonly repair?: boolean
  readonly resume?: number
  readonly show: number
  readonly json?: boolean
}

export type ReplayMode = 'into' | 'verify' | 'repair' | 'dry-run'

export interface ReplayRequest extends RangeRequest {
  readonly mode: ReplayMode
  readonly key: string | undefined
  readonly speed: number | undefined
  readonly into: string | undefined
  /** Tasks to work on: all with a table, or the one that was named. */
  readonly tasks: readonly TaskDefinition[]
  readonly isTaskNamed: boolean
}

/** Throws FB_USAGE: what is wrong, and what to say instead. */
export function replayRequest(options: ReplayOptions, pipeline: Pipeline, all: readonly TaskDefinition[]): ReplayRequest {
  const { from, to, partition, key, speed, into, task } = options
  if (from === undefined)
    throw usage('say where to begin: --from earliest, committed, an offset or a time (or go on with one: --resume ID)')
  const range: RangeRequest = {
    from: parsePoint(from, '--from'),
    to: to === undefined ? undefined : parsePoint(to, '--to'),
    partition,
  }
  checkRequest(range)
  const mode = modeOf(options)
  if (speed !== undefined && mode !== 'into' && mode !== 'dry-run')
    throw usage('--speed is for replays into another table; a comparison goes as fast as leaves the live pipeline alone')
  const tasks = tasksOf(pipeline, all, task)
  if (into !== undefined && tasks.length > 1)
    throw usage(`--into takes the rows of one task: name it with --task (${tasks.map(({ name }) => name).join(', ')})`)
  return { ...range, mode, key, speed, into, tasks, isTaskNamed: task !== undefined }
}

function modeOf({ into, verify = false, repair = false, dryRun = false }: ReplayOptions): ReplayMode {
  if (dryRun && (verify || repair)) throw usage('--dry-run reads and counts; --verify writes nothing either: take one of them')
  if (dryRun) return 'dry-run'
  if (repair) return 'repair'
  if (verify) return 'verify'
  if (into !== undefined) return 'into'
  throw usage(
    'say what to do with the events: --into TABLE writes them into another table, --verify compares the live table, --repair writes what is missing there, --dry-run only counts. Into the live table itself nothing else is written: its rows would be there twice',
  )
}

function tasksOf(pipeline: Pipeline, all: readonly TaskDefinition[], named: string | undefined): readonly TaskDefinition[] {
  const withTable = all.filter((task) => tableOf(task) !== undefined)
  if (named === undefined) {
    if (withTable.length === 0)
      throw usage(
        `no task of pipeline ${pipeline.name} writes a table; WebSocket tasks push latest values, of which there is nothing to replay`,
      )
    return withTable
  }
  const task = all.find(({ name }) => name === named)
  const names = all.map(({ name }) => name)
  if (task === undefined)
    throw usage(`pipeline ${pipeline.name} has no task ${named}${didYouMean(named, names)}; it has ${names.join(', ')}`)
  if (!withTable.includes(task))
    throw usage(`task ${named} pushes latest values to WebSocket clients, of which there is nothing to replay; name a task with a table`)
  return [task]
}

/** As a resume needs it. */
export function specOf({ from, to, partition, key, speed }: ReplayRequest): ReplaySpec {
  return {
    from: pointText(from),
    to: to === undefined ? null : pointText(to),
    partition: partition ?? null,
    key: key ?? null,
    speed: speed ?? null,
  }
}

function usage(sentence: string): ForebayError {
  return new ForebayError('FB_USAGE', sentence)
}
