/** The sinks of a node's tasks, and the tasks as a node takes them. */
import type { NodeTask } from '../node/node.ts'
import type { NodeSettings } from '../config/settings.ts'
import { own } from '../own.ts'
import type { TaskDefinition } from '../pipeline/pipeline.ts'
import type { OpenSink, SinkContext } from '../sinks/sink.ts'
import { asFailure, runningSink } from '../sinks/running-sink.ts'
import type { RunningSink } from '../sinks/running-sink.ts'

const rowsMaxDefault = 50_000
const bytesMaxDefault = 8 * 1024 * 1024

/** A sink of a task, open. */
export interface TaskSink {
  readonly task: string
  readonly open: OpenSink
  readonly running: RunningSink
}

/** Throws what the sink or its servers say against it. */
export async function openSink({ name: task, sink }: TaskDefinition, context: Omit<SinkContext, 'task' | 'log'>): Promise<TaskSink> {
  const { observer } = context
  const log = (...told: Parameters<SinkContext['log']>) => observer.log(...told)
  const open = await asFailure(sink, () => sink.open({ ...context, task, log }))
  return { task, open, running: runningSink(sink, open) }
}

/** The sinks of `tasks`, in their order; those that are open are closed again when one does not open. */
export async function openSinks(tasks: readonly TaskDefinition[], context: Omit<SinkContext, 'task' | 'log'>): Promise<TaskSink[]> {
  const sinks: TaskSink[] = []
  try {
    for (const task of tasks) sinks.push(await openSink(task, context))
    return sinks
  } catch (error) {
    await closeSinks(sinks)
    throw error
  }
}

/** Closes what was opened, each whatever became of the others. */
export async function closeSinks(sinks: readonly Pick<TaskSink, 'open'>[]): Promise<void> {
  await Promise.allSettled(sinks.map(async ({ open }) => open.close?.()))
}

/** A task with the overrides of the settings applied. */
export function nodeTask(task: TaskDefinition, sink: RunningSink, tracked: readonly string[], settings: NodeSettings): NodeTask {
  const { everyMs, rowsMax, bytesMax } = { ...task, ...own(settings.tasks, task.name) }
  return {
    name: task.name,
    isTracked: tracked.includes(task.name),
    convert: task.convert,
    encode: (job) => sink.encode(job),
    latestBy: task.sink.traits?.latestBy,
    sink,
    everyMs,
    rowsMax: rowsMax ?? rowsMaxDefault,
    bytesMax: bytesMax ?? bytesMaxDefault,
  }
}
