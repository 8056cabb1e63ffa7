import { linesBytesMaxOf } from './converting.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import { Converter } from './converter.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import { encodeOf } from '../sinks/job-encoder.ts'

/** What decides how a node converts, beside the pipeline. */
export interface ConvertingLimits extends Pick<Fingerprint, 'queues' | 'eventBytesMax' | 'segmentBytesMax'> {
  /** Names of the tasks that hold the floor; their dead letters travel with them. */
  readonly tracked: readonly string[]
}

/** Converts as a node does, for whoever has no node: no server is asked. Throws FB_PIPELINE for a table whose definition is wrong. */
export function converterOf(
  { source, key }: Pipeline,
  tasks: readonly TaskDefinition[],
  { queues, eventBytesMax, segmentBytesMax, tracked }: ConvertingLimits,
): Converter {
  return new Converter({
    source,
    key,
    tasks: tasks.map(({ name, convert, sink }) => ({ name, isTracked: tracked.includes(name), convert, encode: encodeOf(sink) })),
    queues,
    eventBytesMax,
    linesBytesMax: linesBytesMaxOf(segmentBytesMax),
  })
}
