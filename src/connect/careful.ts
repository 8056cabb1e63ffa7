/** What a node needs to find events that end their process: the book of owners, and the sandbox. */
import type { CarefulPorts } from '../ingest/careful-conversion.ts'
import type { Sandbox } from '../ingest/sandbox.ts'
import { chosenTasks, trackedTasks } from '../config/fingerprint-of.ts'
import type { Parts } from '../node/parts.ts'
import type { NodeSettings } from '../config/settings.ts'
import { PostgresOwnerBook } from '../sandbox/postgres-owner-book.ts'
import type { PostgresPool } from '../database/postgres-pool.ts'
import type { Pipeline } from '../pipeline/pipeline.ts'
import { ProcessSandbox } from '../sandbox/process-sandbox.ts'

/** Of the time a node may stand still, the share of one event in the sandbox: three of them are to be over within it. */
const eventShare = 3
const eventMsDefault = 10_000

/** The file that the node runs. */
export interface PipelineFile {
  readonly path: string
  readonly hash: string
}

/** Starts no process before there is something to convert in it. */
export function createSandbox(
  settings: NodeSettings,
  pipeline: Pipeline,
  file: PipelineFile | undefined,
  parts: Parts,
): Sandbox | undefined {
  if (file === undefined) return undefined
  const { grid, eventBytesMax, node } = settings
  const tasks = chosenTasks(settings, pipeline)
  const limits = { queues: grid.queues, segmentBytesMax: grid.segmentBytesMax, eventBytesMax, tracked: trackedTasks(tasks) }
  const names = tasks.map(({ name }) => name)
  const eventMs = (node.hangTimeoutMs ?? 0) === 0 ? eventMsDefault : node.hangTimeoutMs! / eventShare
  return parts.use(new ProcessSandbox({ pipelineFile: file.path, fileHash: file.hash, tasks: names, limits, eventMs }))
}

export function carefulPorts(
  pool: PostgresPool,
  pipeline: string,
  epoch: number,
  sandbox: Sandbox | undefined,
): { careful?: CarefulPorts } {
  return sandbox === undefined ? {} : { careful: { book: new PostgresOwnerBook({ pool, pipeline, epoch }), sandbox } }
}
