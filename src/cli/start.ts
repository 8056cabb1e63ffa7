import { resolve } from 'node:path'
import type { Command } from 'commander'
import { errorCodes } from '../errors.ts'
import { converting, placeText } from '../ingest/converting.ts'
import { loadConfig } from '../config/config.ts'
import { configuredTasks } from '../config/config-tasks.ts'
import { chosenTasks } from '../config/fingerprint-of.ts'
import type { NodeSettings } from '../config/settings.ts'
import { settingsOf } from '../config/settings-of.ts'
import { endAtStrayFailures } from '../node/stray-failure.ts'
import { loadPipeline } from '../pipeline/load-pipeline.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import { durationText } from '../text/units.ts'
import { startHangWatch } from '../sandbox/hang-watch.ts'
import { paint } from '../text/paint.ts'
import { report } from './report.ts'
import { jsonText } from './json-text.ts'

interface StartOptions {
  readonly config: string
  readonly json?: boolean
}

const examples = `
Examples:
  forebay start -c config/forebay.yaml
  FOREBAY_NODE_NAME=node-2 FOREBAY_NODE_PORT=8081 forebay start -c config/forebay.yaml

The first SIGINT or SIGTERM drains and stops; the second one, or a drain longer than node.drain, ends at once with exit code 75.
Nothing is lost either way.`

/** Adds `forebay start`. */
export function addStart(program: Command): void {
  program
    .command('start')
    .description('run one node until it is told to stop')
    .requiredOption('-c, --config <file>', 'the configuration')
    .option('--json', 'say where the node serves as one line of JSON')
    .addHelpText('after', examples)
    .action(start)
}

async function start({ config: file, json = false }: StartOptions): Promise<void> {
  const config = loadConfig(file)
  const pipelineFile = resolve(config.folder, config.values.pipeline)
  const { pipeline, fileHash } = await loadPipeline(pipelineFile)
  configuredTasks(config, pipeline)
  for (const warning of config.warnings) process.stderr.write(`${paint(process.stderr, 'yellow', 'warning:')} ${warning}\n`)
  const settings = settingsOf(config)
  const { name } = settings.node
  const onRunning = (url: string, waitsFor: string | undefined) => {
    const line = json
      ? jsonText({ node: name, pipeline: pipeline.name, http: url, waitsFor: waitsFor ?? null }, 0)
      : waitsFor === undefined
        ? `node ${name} runs pipeline ${pipeline.name}; look at ${url}`
        : `node ${name} waits: ${waitsFor}\nIt goes on by itself; look at ${url}`
    process.stdout.write(`${line}\n`)
  }
  // Loaded late: the clients of Kafka, Hazelcast and Postgres are of no use to a wrong configuration.
  const { runNode } = await import('../main.ts')
  const { verifyTopic } = await import('../connect/verify-topic.ts')
  await verifyTopic(settings, pipeline, file)
  const tasks = chosenTasks(settings, pipeline).map((task) => task.name)
  const forgetWatches = watchUserCode(settings, pipeline, tasks)
  const stopping = stopOnSignals(config.values.node.drain)
  try {
    await runNode({ settings, pipeline, fileHash, file: { path: pipelineFile, hash: fileHash }, signal: stopping.signal, onRunning })
  } finally {
    stopping.forget()
    forgetWatches()
  }
}

/** Code of the pipeline that does not come back, fails outside of every call, or leaves the process by itself is told of by the event it had in hand. */
function watchUserCode(settings: NodeSettings, { name, source: { topic } }: Pipeline, tasks: readonly string[]): () => void {
  const place = () => converting.place(tasks)
  const forgetStrays = endAtStrayFailures({ topic, place, end: (error) => process.exit(report(error, secretsOf(settings))) })
  const onExit = (code: number) => {
    const at = place()
    if (at?.isRunning === true)
      process.stderr.write(`code of the pipeline ended the process with exit code ${code}, in the event at ${placeText(topic, at)}\n`)
  }
  process.on('exit', onExit)
  const { hangTimeoutMs = 0 } = settings.node
  const forgetHangs = startHangWatch({ hangTimeoutMs, topic, tasks, book: { url: settings.database.url, pipeline: name } })
  return () => {
    forgetStrays()
    process.off('exit', onExit)
    forgetHangs()
  }
}

function secretsOf({ grid, database }: NodeSettings): string[] {
  const { password } = new URL(database.url)
  return [grid.secret, password, decodeURIComponent(password)].filter((secret) => secret !== undefined && secret.length >= 4) as string[]
}

/** Aborts at the first signal; leaves the process at the second, or when the clean stop takes longer than `drainMs`. */
function stopOnSignals(drainMs: number): { signal: AbortSignal; forget: () => void } {
  const stop = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const leave = (why: string) => {
    process.stderr.write(`${why}\n`)
    process.exit(errorCodes.FB_FENCED.exitCode)
  }
  const onSignal = () => {
    if (stop.signal.aborted) leave('a second signal: leaving at once; other nodes go on from the watermarks')
    stop.abort()
    timer = setTimeout(
      () => leave(`the clean stop took longer than node.drain (${durationText(drainMs)}): leaving; other nodes go on from the watermarks`),
      drainMs,
    )
    timer.unref()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const forget = () => {
    clearTimeout(timer)
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  return { signal: stop.signal, forget }
}
