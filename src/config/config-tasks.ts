import { ForebayError } from '../errors.ts'
import { own } from '../own.ts'
import { didYouMean } from '../text/nearest.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import type { Config } from './config.ts'

/** The tasks a node of this configuration runs, overrides applied. Throws FB_CONFIG when it names a task that the pipeline does not have. */
export function configuredTasks({ values, where }: Config, pipeline: Pipeline): TaskDefinition[] {
  const names = pipeline.tasks.map(({ name }) => name)
  const named = [
    ...(values.tasksOnly ?? []).map((task, index) => ({ task, path: ['tasksOnly', index] })),
    ...Object.keys(values.tasks).map((task) => ({ task, path: ['tasks', task] })),
  ]
  const strangers = named.filter(({ task }) => !names.includes(task))
  if (strangers.length > 0) {
    const lines = strangers.map(
      ({ task, path }) =>
        `${where(path)}: ${path[0]}: pipeline ${pipeline.name} has no task ${task}${didYouMean(task, names) || `; it has ${names.join(', ')}`}`,
    )
    throw new ForebayError('FB_CONFIG', lines.join('\n'))
  }
  const chosen = pipeline.tasks.filter(({ name }) => values.tasksOnly?.includes(name) ?? true)
  return chosen.map((task) => {
    const { every = task.everyMs, rowsMax = task.rowsMax, bytesMax = task.bytesMax } = own(values.tasks, task.name) ?? {}
    return { ...task, everyMs: every, ...(rowsMax === undefined ? {} : { rowsMax }), ...(bytesMax === undefined ? {} : { bytesMax }) }
  })
}
