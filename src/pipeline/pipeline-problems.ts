/**
 * What is wrong with a pipeline as written, for authors whom no compiler told: plain JavaScript, and rules beyond types.
 */
import { cronProblems } from './cron-problems.ts'
import { isFields, shown, unknownFields } from '../text/fields.ts'
import type { Fields } from '../text/fields.ts'
import type { Sink } from '../sinks/sink.ts'
import { parseDuration, parseSize } from '../text/units.ts'

const pipelineFields = ['name', 'version', 'source', 'key', 'tasks', 'cron']
const sourceFields = ['topic', 'decode', 'tombstones']
const tombstones: readonly unknown[] = ['skip', 'dead-letter', 'decode']
const taskFields = ['every', 'rowsMax', 'bytesMax', 'sink', 'convert']
const namePattern = /^[a-z][a-z0-9-]{0,47}$/
const taskPattern = /^[A-Za-z][A-Za-z0-9_-]{0,47}$/
const topicPattern = /^[A-Za-z0-9._-]{1,249}$/
const deliveries: readonly unknown[] = ['exactly-once', 'at-least-once', 'ephemeral']
const everyMsMax = 24 * 3_600_000

/** One clause each; empty when the pipeline can run. */
export function pipelineProblems(pipeline: unknown): string[] {
  if (!isFields(pipeline)) return ['definePipeline needs an object with name, source and tasks']
  const { name, version, source, key, tasks } = pipeline
  const problems = unknownFields(pipeline, pipelineFields, '')
  if (!matches(name, namePattern))
    problems.push(`name must be a lower case letter followed by at most 47 letters, digits and dashes, not ${shown(name)}`)
  if (version !== undefined && (typeof version !== 'string' || !/^[\w.-]{1,48}$/.test(version))) {
    problems.push(`version must be a string of letters, digits, dots and dashes such as '1', not ${shown(version)}`)
  }
  if (key !== undefined && typeof key !== 'function') problems.push(`key must be a function of the event, not ${shown(key)}`)
  problems.push(...sourceProblems(source))
  if (!isFields(tasks) || Object.keys(tasks).length === 0) return [...problems, 'tasks must name at least one task']
  for (const [task, written] of Object.entries(tasks)) problems.push(...taskProblems(task, written))
  const scheduled = cronProblems(pipeline.cron, (task) => taskPattern.test(task), Object.keys(tasks))
  return [...problems, ...sharedSinks(tasks), ...scheduled]
}

function sourceProblems(source: unknown): string[] {
  if (!isFields(source)) return ['source must say topic and decode']
  const problems = unknownFields(source, sourceFields, 'source.')
  if (!matches(source.topic, topicPattern)) problems.push(`source.topic must be the name of a topic, not ${shown(source.topic)}`)
  if (!isFields(source.decode) || typeof source.decode.decode !== 'function') {
    problems.push('source.decode must be a decoder: json(schema), or bytes(function)')
  } else if (source.decode.prepare !== undefined && typeof source.decode.prepare !== 'function') {
    problems.push(`source.decode.prepare must be a function of the values, not ${shown(source.decode.prepare)}`)
  }
  if (source.tombstones !== undefined && !tombstones.includes(source.tombstones)) {
    problems.push(`source.tombstones must be one of ${tombstones.join(', ')}, not ${shown(source.tombstones)}`)
  }
  return problems
}

function taskProblems(name: string, task: unknown): string[] {
  const at = `tasks.${name}`
  if (!taskPattern.test(name)) return [`${at}: a task's name is a letter followed by at most 47 letters, digits, dashes and underscores`]
  if (!isFields(task)) return [`${at} must say every, sink and convert`]
  const problems = unknownFields(task, taskFields, `${at}.`)
  const every = parseDuration(task.every)
  if ('problem' in every) problems.push(`${at}.every: ${every.problem}`)
  else if (every.value < 1 || every.value > everyMsMax) problems.push(`${at}.every must lie between 1ms and 24h`)
  if (task.rowsMax !== undefined && !(Number.isSafeInteger(task.rowsMax) && (task.rowsMax as number) >= 1)) {
    problems.push(`${at}.rowsMax must be a whole number of at least 1, not ${shown(task.rowsMax)}`)
  }
  const bytesMax = task.bytesMax === undefined ? { value: 1 } : parseSize(task.bytesMax)
  if ('problem' in bytesMax) problems.push(`${at}.bytesMax: ${bytesMax.problem}`)
  else if (bytesMax.value < 1) problems.push(`${at}.bytesMax must be at least 1B`)
  if (typeof task.convert !== 'function') problems.push(`${at}.convert must be a function of the event`)
  return [...problems, ...sinkProblems(task.sink).map((problem) => `${at}.sink: ${problem}`)]
}

function sinkProblems(sink: unknown): readonly string[] {
  if (!isSink(sink)) return ['it must be a sink: postgresTable(…), webSocket(…), or an object with kind, label, delivery and open']
  if (!deliveries.includes(sink.delivery)) return [`delivery must be one of ${deliveries.join(', ')}, not ${shown(sink.delivery)}`]
  return sink.problems?.() ?? []
}

function isSink(sink: unknown): sink is Sink<unknown> {
  return isFields(sink) && typeof sink.kind === 'string' && typeof sink.label === 'string' && typeof sink.open === 'function'
}

function sharedSinks(tasks: Fields): string[] {
  const taskOf = new Map<string, string>()
  const problems: string[] = []
  for (const [name, task] of Object.entries(tasks)) {
    const sink = isFields(task) ? task.sink : undefined
    if (!isSink(sink) || sink.traits?.isExclusive !== true) continue
    const other = taskOf.get(sink.label)
    if (other !== undefined) problems.push(`tasks.${name} and tasks.${other} have ${sink.label} in common: give each its own`)
    taskOf.set(sink.label, name)
  }
  return problems
}

function matches(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value)
}
