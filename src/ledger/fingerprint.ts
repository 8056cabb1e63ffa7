/** What all nodes of one epoch have in common. */
/** What all nodes of one epoch have in common. The first four decide which job goes where and when it is refused. */
export interface Fingerprint {
  readonly queues: number
  /** Names the function from key to queue. */
  readonly hash: string
  readonly segmentBytesMax: number
  readonly eventBytesMax: number
  /** The tasks with watermarks, in their order. */
  readonly tasks: readonly string[]
  /** The tasks that deliver latest values only; undefined in what an older forebay stored. */
  readonly ephemeral?: readonly string[] | undefined
  /** The pipeline's declared version: its converters. */
  readonly version: string
}

/** Settings that decide which job goes where; another value needs a drained cut. */
export const routingFields = ['queues', 'hash', 'segmentBytesMax', 'eventBytesMax'] as const
