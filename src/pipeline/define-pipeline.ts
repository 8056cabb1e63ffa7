import { ForebayError } from '../errors.ts'
import type { CronTask } from './cron.ts'
import { pipelineProblems } from './pipeline-problems.ts'
import type { CronDefinition, Decoder, Pipeline, TaskDefinition } from './pipeline.ts'
import type { Given, NothingExtra, Task, Tasks } from './task.ts'
import type { Sink } from '../sinks/sink.ts'
import { parseDuration, parseSize } from '../text/units.ts'

export interface PipelineOptions<Event> {
  /** Lower case letters, digits and dashes; names the pipeline in the grid, the ledger and the consumer group. */
  readonly name: string
  /** Version of the converters: change it whenever a `convert`, `key` or `decode` gives something else. Default `1`. */
  readonly version?: string
  readonly source: Source<Event>
  /** The key whose jobs stay in order. Default: the record's key. Pure. */
  readonly key?: (event: NoInfer<Event>) => string
  /** Work at times of the calendar, by name: `cron: { closeDay: cron('0 5 16 * * 1-5', { timezone: 'America/New_York' }, async ({ sql }) => …) }`. */
  readonly cron?: Readonly<Record<string, CronTask>>
}

/** Where events come from, how they are read, and what becomes of those without a value (tombstones). */
export type Source<Event> =
  | {
      readonly topic: string
      readonly decode: Decoder<Event>
      /** `skip` (the default; counted), or `dead-letter`. */
      readonly tombstones?: 'skip' | 'dead-letter'
    }
  | {
      readonly topic: string
      readonly decode: Decoder<Event, Buffer | null>
      /** `decode` is given null for them. */
      readonly tombstones: 'decode'
    }

const versionDefault = '1'
const cronDefaults = { timezone: 'UTC', missed: 'once', missedAfter: '1m', timeout: '1m', attemptsMax: 5 } as const

/**
 * Checks a pipeline and freezes it. Throws FB_PIPELINE that names everything that is wrong with it.
 * Jobs must fit the columns of their sink exactly; that is checked by the compiler.
 */
export function definePipeline<Event, Rows extends Record<string, unknown>, Gives extends { [Name in keyof Rows]: unknown }>(
  definition: PipelineOptions<Event> & { readonly tasks: Tasks<Event, Rows> & Given<Event, Gives> & NothingExtra<Rows, Gives> },
): Pipeline {
  const problems = pipelineProblems(definition)
  if (problems.length > 0) throw new ForebayError('FB_PIPELINE', `the pipeline cannot run: ${problems.join('; ')}`)
  const { name, version = versionDefault, source, key } = definition
  const tasks = Object.entries<WrittenTask>(definition.tasks as unknown as Readonly<Record<string, WrittenTask>>)
  return Object.freeze({
    name,
    version,
    source: Object.freeze({
      topic: source.topic,
      tombstones: source.tombstones ?? 'skip',
      decode: source.decode as Decoder<unknown, Buffer | null>,
    }),
    ...(key === undefined ? {} : { key: key as (event: unknown) => string }),
    tasks: Object.freeze(tasks.map(([task, written]) => taskDefinition(task, written))),
    cron: Object.freeze(Object.entries(definition.cron ?? {}).map(([task, written]) => cronDefinition(task, written))),
  })
}

/** A task whose types are forgotten: they were checked where it was written. */
type WrittenTask = Omit<Task<unknown, never>, 'sink' | 'convert'> & {
  readonly sink: Sink<never>
  readonly convert: TaskDefinition['convert']
}

function taskDefinition(name: string, task: WrittenTask): TaskDefinition {
  return Object.freeze({
    name,
    everyMs: measured(parseDuration(task.every)),
    ...(task.rowsMax === undefined ? {} : { rowsMax: task.rowsMax }),
    ...(task.bytesMax === undefined ? {} : { bytesMax: measured(parseSize(task.bytesMax)) }),
    sink: task.sink as Sink<unknown>,
    convert: task.convert,
  })
}

function cronDefinition(name: string, { expression, options, run }: CronTask): CronDefinition {
  const { timezone, missed, missedAfter, timeout, attemptsMax } = { ...cronDefaults, ...options }
  const [missedAfterMs, timeoutMs] = [measured(parseDuration(missedAfter)), measured(parseDuration(timeout))]
  return Object.freeze({ name, expression, timezone, missed, missedAfterMs, timeoutMs, attemptsMax, run })
}

function measured(value: ReturnType<typeof parseDuration>): number {
  if ('problem' in value) throw new ForebayError('FB_PIPELINE', value.problem)
  return value.value
}
