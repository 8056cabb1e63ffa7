/**
 * A node's life over epochs: it *runs* in one epoch, *waits* while the active epoch has another routing or other tasks, and follows when its own
 * epoch is closed by a reset or a cut (rules 11 and 12).
 *
 * It waits looking once a second. A node whose own epoch was closed only ever joins: opening one of its own would fight those that
 * closed it. When it cannot join because its version is not the epoch's, it ends with what closed its epoch.
 *
 * A server that is away ends a node at its very first start only: right after a reset or a cut every node would end of one short
 * outage, so later it waits for the server, before an epoch is joined and while it gets ready to run in it.
 */
import { isForebayError } from '../errors.ts'
import type { Clock } from '../schedule/clock.ts'

export interface EpochLife<Opened> {
  readonly clock: Clock
  /** Joins the active epoch, or opens one unless `isJoinOnly`. Throws FB_ROUTING or FB_TASKS when the node is to wait. */
  open(isJoinOnly: boolean): Promise<Opened>
  /** Runs in the epoch until `signal` aborts. Throws FB_EPOCH_CLOSED when another one is active. */
  live(opened: Opened, signal: AbortSignal): Promise<void>
  /** Told at every look while the node waits. */
  onWaiting(sentence: string): Promise<void>
}

const lookMs = 1000

/** Throws what no waiting mends; at the very first opening and life everything but FB_ROUTING and FB_TASKS. */
export async function liveThroughEpochs<Opened>(life: EpochLife<Opened>, signal: AbortSignal): Promise<void> {
  let closing: unknown
  let isFirst = true
  const wait = async (sentence: string) => {
    await life.onWaiting(sentence)
    await life.clock.sleep(lookMs, signal)
  }
  while (!signal.aborted) {
    let opened: Opened
    try {
      opened = await life.open(closing !== undefined)
    } catch (error) {
      // Stopped while it waited for others to drain.
      if (signal.aborted && isForebayError(error, 'FB_INTERRUPTED')) return
      const isToWait = isForebayError(error, 'FB_ROUTING') || isForebayError(error, 'FB_TASKS')
      const mayPass = isToWait || (isForebayError(error) && error.policy === 'retry' && !isFirst)
      const isOutdated = isForebayError(error) && (error.code === 'FB_FINGERPRINT' || error.code === 'FB_EPOCH_CLOSED')
      if (!mayPass) throw isOutdated && closing !== undefined ? closing : error
      isFirst = false
      await wait(error.message)
      continue
    }
    const mayWait = !isFirst
    isFirst = false
    try {
      return await life.live(opened, signal)
    } catch (error) {
      if (isForebayError(error, 'FB_EPOCH_CLOSED')) closing = error
      else if (mayWait && isForebayError(error) && error.policy === 'retry') await wait(error.message)
      else throw error
    }
  }
}
