/**
 * A node inside one's own process, as `forebay/node`: beside a web server of one's own, say.
 */
import { resolve as absolute } from 'node:path'
import { configuredTasks } from './config/config-tasks.ts'
import { loadConfig } from './config/config.ts'
import { settingsOf } from './config/settings-of.ts'
import { verifyTopic } from './connect/verify-topic.ts'
import { runNode } from './main.ts'
import { loadPipeline } from './pipeline/load-pipeline.ts'
import type { Pipeline } from './pipeline/pipeline.ts'

export { ForebayError } from './errors.ts'
export type { ErrorCode } from './errors.ts'

export interface StartNodeOptions {
  /** Path of the configuration, such as `config/forebay.yaml`. */
  readonly config: string
  /** Default: the module that the configuration names. */
  readonly pipeline?: Pipeline
  /** Ends the node cleanly: what waits is flushed first. */
  readonly signal: AbortSignal
  /** Told what an operator should read of the configuration. Default: warnings go to the standard error. */
  readonly onWarning?: (sentence: string) => void
}

export interface StartedNode {
  /** Address of its pages, `/status` and `/ws/<channel>`, such as `http://127.0.0.1:8080`. */
  readonly url: string
  /** What it waits for before it works, such as nodes of another version; undefined when it works already. */
  readonly waitsFor: string | undefined
  /** Resolves when the node has ended after `signal`; rejects with the ForebayError that ended it. */
  readonly done: Promise<void>
}

/**
 * Starts one node and resolves once it serves. Throws ForebayError: FB_CONFIG, FB_PIPELINE, FB_CATALOGUE, servers that do not answer, and
 * whatever else forbids a start. One process holds any number of nodes; each needs a `node.name` and `node.port` of its own.
 *
 * What `forebay start` does beside it belongs to the process and is left to yours: signals, `node.hangTimeout`, and the search for events that
 * end their process when `pipeline` is given.
 */
export async function startNode({ config: file, pipeline: given, signal, onWarning = warn }: StartNodeOptions): Promise<StartedNode> {
  const config = loadConfig(file)
  const path = absolute(config.folder, config.values.pipeline)
  const { pipeline, fileHash } = given === undefined ? await loadPipeline(path) : { pipeline: given, fileHash: null }
  configuredTasks(config, pipeline)
  for (const warning of config.warnings) onWarning(warning)
  const settings = settingsOf(config)
  await verifyTopic(settings, pipeline, file)
  const careful = fileHash === null ? {} : { file: { path, hash: fileHash } }
  return new Promise((resolve, reject) => {
    const running = runNode({
      ...{ settings, pipeline, fileHash, signal, ...careful },
      onRunning: (url, waitsFor) => resolve({ url, waitsFor, done: running.then(() => undefined) }),
    })
    // Ended before it served.
    running.then(() => reject(signal.reason as Error), reject)
  })
}

function warn(sentence: string): void {
  process.stderr.write(`warning: ${sentence}\n`)
}
