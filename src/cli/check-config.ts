import { type Command, InvalidArgumentError } from 'commander'
import type { Config } from '../config/config.ts'
import { leafKeys, valueAt } from '../config/config-issues.ts'
import { docOf } from '../config/config-keys.ts'
import { secretEnv } from '../config/config-secrets.ts'
import { sinkBytesOf, checkMemory } from '../node/memory-bound.ts'
import type { MemoryBound } from '../node/memory-bound.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import { durationText, parseDuration, parseSize, sizeText } from '../text/units.ts'
import { paint } from '../text/paint.ts'
import { openTarget, withTarget } from './target.ts'
import type { TargetOptions } from './target.ts'
import { jsonText } from './json-text.ts'
import { printable } from '../text/printable.ts'

interface CheckOptions extends TargetOptions {
  readonly partitions: number
  readonly json?: boolean
}

interface Report {
  readonly config: Config
  readonly pipeline: Pipeline
  readonly tasks: readonly TaskDefinition[]
  readonly memory: MemoryBound
  readonly partitions: number
}

const partitionsDefault = 4
const examples = `
Examples:
  forebay check-config -c config/forebay.yaml
  forebay check-config -c config/forebay.yaml --partitions 24 --json

Nothing is connected to: tables, topics and members are checked when a node starts.`

/** Adds `forebay check-config`. */
export function addCheckConfig(program: Command): void {
  withTarget(program.command('check-config'))
    .description('check a configuration and its pipeline, and print every value with where it is from')
    .option('--partitions <count>', 'partitions of the topic, for the memory at worst', wholeNumber, partitionsDefault)
    .option('--json', 'print JSON')
    .addHelpText('after', examples)
    .action(checkConfig)
}

async function checkConfig({ partitions, json = false, ...options }: CheckOptions): Promise<void> {
  const { config, pipeline, tasks, settings } = await openTarget(options)
  const report = { config, pipeline, tasks, memory: checkMemory(settings, partitions, { sinkBytes: sinkBytesOf(tasks) }), partitions }
  process.stdout.write(json ? `${jsonText(jsonOf(report))}\n` : textOf(report))
  for (const warning of config.warnings) process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${warning}\n`)
}

function textOf({ config, pipeline, tasks, memory, partitions }: Report): string {
  const rows = effectiveValues(config).map(({ key, value, source }) => [key, shown(key, value), source] as const)
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map(
    ([key, value, source]) => `${key.padEnd(widths[0]!)}  ${printable(value).padEnd(widths[1]!)}  ${paint(process.stdout, 'dim', source)}`,
  )
  const taskLines = tasks.map((task) => `  ${task.name}  every ${durationText(task.everyMs)}  into ${task.sink.label}`)
  const cronLines = pipeline.cron.map(
    ({ name, expression, timezone, missed }) => `  ${name}  cron ${expression} ${timezone}, missed ${missed}`,
  )
  const member = memory.memberBytes === null ? '' : `, ${sizeText(memory.memberBytes)} in one member with the others it may lose gone`
  return [
    ...lines,
    '',
    `pipeline ${pipeline.name}, version ${pipeline.version}, topic ${pipeline.source.topic}`,
    ...taskLines,
    ...cronLines,
    `memory at worst with ${partitions} partitions: grid ${sizeText(memory.gridBytes)}${member}; buffers of a node that owns everything ${sizeText(memory.nodeBytes)}`,
    paint(process.stdout, 'green', 'the configuration is right'),
    '',
  ].join('\n')
}

function jsonOf({ config, pipeline, tasks, memory, partitions }: Report) {
  return {
    file: config.file,
    values: Object.fromEntries(effectiveValues(config).map(({ key, value, source }) => [key, { value: value ?? null, source }])),
    pipeline: { name: pipeline.name, version: pipeline.version, topic: pipeline.source.topic },
    tasks: tasks.map(({ name, everyMs, rowsMax, bytesMax, sink }) => ({ name, everyMs, rowsMax, bytesMax, sink: sink.kind })),
    cron: pipeline.cron.map(({ name, expression, timezone, missed }) => ({ name, expression, timezone, missed })),
    memory: { partitions, ...memory },
    warnings: config.warnings,
  }
}

/** Every key with the value in force; what is secret shows as `***`. */
function effectiveValues({ values, secrets, sources }: Config): { key: string; value: unknown; source: string }[] {
  const plain = [...sources].map(([key, source]) => ({ key, value: valueAt(values, key.split('.')), source }))
  const hidden = Object.entries(secretEnv).flatMap(([name, variable]) => {
    const isFromEnv = (process.env[variable] ?? '') !== ''
    return secrets[name as keyof typeof secretEnv] !== undefined && isFromEnv
      ? [{ key: variable, value: '***', source: 'environment' }]
      : []
  })
  return [...plain, ...hidden]
}

/** As one would write it: durations and sizes with their unit. */
function shown(key: string, value: unknown): string {
  if (value === undefined) return '-'
  const doc = defaults.get(key)
  if (typeof value === 'number' && 'value' in parseDuration(doc)) return durationText(value)
  if (typeof value === 'number' && 'value' in parseSize(doc)) return sizeText(value)
  return typeof value === 'string' ? value : JSON.stringify(value)
}

const defaults = new Map(leafKeys().map(({ path, schema }) => [path.join('.'), docOf(schema).default]))

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('expected a whole number of at least 1')
  return Number(text)
}
