/**
 * Notices partitions that are added to the topic while a node runs: they would be read by nobody.
 *
 * Job: asks the log now and then for its number of partitions; when there are more than the node works with, ends its life in
 * the epoch cleanly, so that it opens again with all of them. Boundary: nothing else; a log that is away is asked again later.
 */
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { Observer } from '../observer.ts'
import type { Clock } from '../schedule/clock.ts'

export interface PartitionWatchPorts {
  readonly log: Pick<EventLog, 'identity'>
  readonly clock: Clock
  readonly observer: Observer
}

const lookMs = 10_000

/**
 * Runs `body` with a signal that aborts with `signal`, or when the topic has more than `partitions`: FB_EPOCH_CLOSED is thrown then,
 * once `body` has ended.
 */
export async function watchPartitions(
  { log, clock, observer }: PartitionWatchPorts,
  { topic, partitions }: { readonly topic: string; readonly partitions: number },
  signal: AbortSignal,
  body: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const grown = new AbortController()
  const over = new AbortController()
  // Once: in a loop each would stay with its sources.
  const ended = AbortSignal.any([over.signal, grown.signal])
  const look = async () => {
    await clock.sleep(lookMs, ended)
    while (!ended.aborted) {
      try {
        const found = (await log.identity()).partitions
        if (found > partitions) grown.abort(grownError(topic, partitions, found))
      } catch (error) {
        if (!isForebayError(error)) throw error
        observer.log('debug', `the number of partitions of topic "${topic}" is not known at present: ${sentenceOf(error)}`)
      }
      await clock.sleep(lookMs, ended)
    }
  }
  const looking = look().catch((error: unknown) => grown.abort(error))
  try {
    await body(AbortSignal.any([signal, grown.signal]))
  } finally {
    over.abort()
    await looking
  }
  if (!signal.aborted) grown.signal.throwIfAborted()
}

function grownError(topic: string, was: number, is: number): ForebayError {
  return new ForebayError(
    'FB_EPOCH_CLOSED',
    `Topic "${topic}" has ${is} partitions now, this node works with ${was}: it goes on with all of them.`,
  )
}
