import type { Fingerprint } from '../ledger/fingerprint.ts'
import { ForebayError } from '../errors.ts'
import { hashName } from '../ingest/converter.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import { isDurable } from '../sinks/traits.ts'
import type { NodeSettings } from './settings.ts'

/** What a node of these settings has in common with all others of its epoch. Throws FB_CONFIG for a task that is not there. */
export function fingerprintOf(settings: NodeSettings, pipeline: Pipeline): Fingerprint {
  const { grid, eventBytesMax } = settings
  const tasks = chosenTasks(settings, pipeline)
  return {
    queues: grid.queues,
    hash: hashName,
    segmentBytesMax: grid.segmentBytesMax,
    eventBytesMax,
    tasks: trackedTasks(tasks),
    ephemeral: tasks.filter((task) => !isDurable(task)).map(({ name }) => name),
    version: pipeline.version,
  }
}

/** The tasks that `tasksOnly` leaves. Throws FB_CONFIG when it names one that is not there. */
export function chosenTasks({ tasksOnly }: NodeSettings, pipeline: Pipeline): readonly TaskDefinition[] {
  const names = pipeline.tasks.map((task) => task.name)
  const unknown = tasksOnly?.find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw new ForebayError('FB_CONFIG', `pipeline ${pipeline.name} has no task ${unknown}; it has ${names.join(', ')}`)
  return tasksOnly === undefined ? pipeline.tasks : pipeline.tasks.filter((task) => tasksOnly.includes(task.name))
}

/** The durable tasks; all of them when none is, since something must hold the floor. */
export function trackedTasks(tasks: readonly TaskDefinition[]): string[] {
  const durable = tasks.filter(isDurable)
  return (durable.length > 0 ? durable : tasks).map((task) => task.name)
}
