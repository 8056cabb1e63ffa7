/**
 * What a command works on: the pipeline that `-c` names, else the run that lives in this folder, else config/forebay.yaml.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import { readRunFile } from '../launch/run-file.ts'
import { loadConfig } from '../config/config.ts'
import type { Config } from '../config/config.ts'
import { configuredTasks } from '../config/config-tasks.ts'
import { settingsOf } from '../config/settings-of.ts'
import type { NodeSettings } from '../config/settings.ts'
import { loadPipeline } from '../pipeline/load-pipeline.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'

export interface TargetOptions {
  readonly config?: string
  readonly runFile?: string
}

export interface Target {
  readonly config: Config
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  /** With the overrides of the configuration. */
  readonly tasks: readonly TaskDefinition[]
  readonly fileHash: string
  /** Addresses of the pages of nodes that may run. */
  readonly urls: readonly string[]
}

const runFileDefault = '.forebay/run.json'
const presetFile = 'config/forebay.yaml'

/** Gives `command` the option that `openTarget` reads. */
export function withTarget(command: Command): Command {
  return command
    .option('-c, --config <file>', `the configuration (default: of the run in this folder, else ${presetFile})`)
    .option('--run-file <file>', `what a launched run wrote about itself (default: ${runFileDefault})`)
}

/** Throws FB_USAGE when there is nothing to work on, FB_CONFIG and FB_PIPELINE when what there is is wrong. Connects to nothing. */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const { file, urls } = located(options)
  const config = loadConfig(file)
  const { pipeline, fileHash } = await loadPipeline(resolve(config.folder, config.values.pipeline))
  const tasks = configuredTasks(config, pipeline)
  return { config, settings: settingsOf(config), pipeline, tasks, fileHash, urls: urls ?? urlsOf(config) }
}

/** The configuration alone, for a command that needs no pipeline. Throws as `openTarget`. */
export function openConfig(options: TargetOptions): Config {
  return loadConfig(located(options).file)
}

/** Process ids of the nodes of a run by their addresses; empty for a configuration: its processes may be anywhere. */
export function nodePids({ config, runFile }: TargetOptions): ReadonlyMap<string, number> {
  const run = config === undefined ? readRunFile(runFile ?? runFileDefault) : undefined
  const nodes = run?.processes.filter(({ role }) => role === 'node') ?? []
  return new Map(nodes.flatMap(({ pid }, index) => (run?.http[index] === undefined ? [] : [[run.http[index], pid] as const])))
}

function located({ config, runFile }: TargetOptions): { file: string; urls: readonly string[] | undefined } {
  if (config !== undefined) return { file: config, urls: undefined }
  const run = readRunFile(runFile ?? runFileDefault)
  const [first] = run?.config ?? []
  if (run !== undefined && first !== undefined) return { file: first, urls: run.http }
  if (runFile !== undefined)
    throw new ForebayError('FB_USAGE', `there is no ${runFile}, so nothing seems to run; name a configuration with -c`)
  if (existsSync(presetFile)) return { file: presetFile, urls: undefined }
  throw new ForebayError(
    'FB_USAGE',
    `neither ${runFileDefault} nor ${presetFile} is here, so there is nothing to work on; name a configuration with -c`,
  )
}

function urlsOf({ values }: Config): readonly string[] {
  const { host, port, tls } = values.node
  if (port === 0) return []
  const isEverywhere = host === '0.0.0.0' || host === '::'
  const name = isEverywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return [`${tls === undefined ? 'http' : 'https'}://${name}:${port}`]
}
