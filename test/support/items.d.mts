import type { Pipeline } from '../../src/index.ts'

interface PipelineChoice {
  /** Default: items. */
  readonly name?: string
  readonly topic: string
  /** Default: 1. */
  readonly version?: string
  /** First part of the names of its tables. */
  readonly prefix?: string
}

/** Each item into a table without any unique index, a sum a key (whose merge is not idempotent), and the latest of each key. */
export function itemsPipeline(choice: PipelineChoice): Pipeline
