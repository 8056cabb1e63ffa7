/**
 * A node's life over epochs: it *runs* in one epoch, *waits* while the active epoch has another routing, and follows when its own
 * epoch is closed by a reset or a cut (rules 11 and 12).
 *
 * It waits looking once a second. A node whose own epoch was closed only ever joins: opening one of its own would fight those that
 * closed it. When it cannot join because its version or tasks are not the epoch's, it ends with what closed its epoch.
 */
import { isForebayError } from '../errors.ts'
import type { Clock } from '../schedule/clock.ts'

export interface EpochLife<Opened> {
  readonly clock: Clock
  /** Joins the active epoch, or opens one unless `isJoinOnly`. Throws FB_ROUTING when the node is to wait. */
  open(isJoinOnly: boolean): Promise<Opened>
  /** Runs in the epoch until `signal` aborts. Throws FB_EPOCH_CLOSED when another one is active. */
  live(opened: Opened, signal: AbortSignal): Promise<void>
  /** Told at every look while the node waits. */
  onWaiting(sentence: string): Promise<void>
}

const lookMs = 1000

/** Throws what no waiting mends; at the very first opening everything but FB_ROUTING. */
export async function liveThroughEpochs<Opened>(life: EpochLife<Opened>, signal: AbortSignal): Promise<void> {
  let closing: unknown
  let isFirst = true
  while (!signal.aborted) {
    let opened: Opened
    try {
      opened = await life.open(closing !== undefined)
    } catch (error) {
      const mayPass = isForebayError(error) && (error.code === 'FB_ROUTING' || (error.policy === 'retry' && !isFirst))
      const isOutdated = isForebayError(error) && (error.code === 'FB_FINGERPRINT' || error.code === 'FB_EPOCH_CLOSED')
      if (!mayPass) throw isOutdated && closing !== undefined ? closing : error
      isFirst = false
      await life.onWaiting(error.message)
      await life.clock.sleep(lookMs, signal)
      continue
    }
    isFirst = false
    try {
      return await life.live(opened, signal)
    } catch (error) {
      if (!isForebayError(error, 'FB_EPOCH_CLOSED')) throw error
      closing = error
    }
  }
}
