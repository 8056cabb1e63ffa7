/**
 * A new version opens its epoch where the old one has drained, if it can be had (rule 11).
 *
 * Queues and carriers of an event are found by the pipeline's code: an event in flight that another version decodes otherwise, or
 * gives another key, moves to a queue whose watermark says nothing of it. So the node that brings the version asks the nodes that
 * run to drain, and opens at their floors. It does so for a bounded time only: the new version may be the very mend of what keeps
 * them from draining. Then, and where nobody runs, the epoch inherits the watermarks as they are, and a warning says what that may mean.
 */
import type { Epoch, Opening } from './opening.ts'
import type pg from 'pg'
import { isForebayError } from '../errors.ts'
import type { Clock } from '../schedule/clock.ts'
import { cutWhenDrained } from './drained-cut.ts'
import type { Database } from './drained-cut.ts'
import { readKnown } from './epoch-store.ts'
import { checkBefore, isConverterChange, openEpoch } from './epochs.ts'
import { freshNodes } from './presence.ts'

export interface VersionCutPorts {
  readonly database: Database
  readonly clock: Clock
  /** Who asks the others to drain: shown to people. */
  readonly requestedBy: string
  readonly signal: AbortSignal
}

/** Several times what healthy nodes need (a beat to hear of it, a flush, a settled floor), and short enough for a start. */
const drainMs = 10_000
const lookMs = 250

/** Joins the active epoch or opens one, as `openEpoch`, after draining where nodes of another version run. FB_INTERRUPTED on abort. */
export async function openEpochDrained(ports: VersionCutPorts, opening: Opening): Promise<Epoch> {
  const { database, clock, signal, requestedBy } = ports
  const { pipeline } = opening
  const untilMs = clock.now() + drainMs
  for (;;) {
    const old = await database.use('looking for nodes of another version', (client) => runningBefore(client, opening))
    const leftMs = untilMs - clock.now()
    if (old === undefined || leftMs <= 0)
      return database.use(`opening the ledger of pipeline "${pipeline}"`, (client) => openEpoch(client, opening))
    try {
      return await cutWhenDrained({
        database,
        clock,
        pipeline,
        epoch: old.epoch,
        purpose: `version ${opening.fingerprint.version} after version ${old.version}`,
        requestedBy,
        timeoutMs: leftMs,
        signal,
        attempt: async (client, drainRequest) => {
          // Those that died meanwhile will never drain.
          const isRun = (await runningBefore(client, opening)) !== undefined
          return openEpoch(client, isRun ? { ...opening, drainRequest } : opening)
        },
        onWaiting: () => undefined,
        reasons: async () => [],
      })
    } catch (error) {
      // Another node may be about to open the same epoch; else the time is up, or a command changes the pipeline.
      if (!isForebayError(error, 'FB_ROUTING') && !isForebayError(error, 'FB_FENCED')) throw error
    }
    await clock.sleep(lookMs, signal)
  }
}

/** The active epoch when nodes run in it and `opening` changes its converters; undefined when nothing is to be drained. */
async function runningBefore(client: pg.ClientBase, opening: Opening): Promise<{ epoch: number; version: string } | undefined> {
  if (opening.isJoinOnly === true) return undefined
  const known = await readKnown(client, opening.pipeline)
  const { active } = known
  if (active === undefined || !isConverterChange(known, opening)) return undefined
  // Nobody is asked to drain for a node that may not open.
  await checkBefore(client, opening, known)
  const nodes = await freshNodes(client, opening.pipeline)
  return nodes.some(({ epoch }) => epoch === active.epoch) ? { epoch: active.epoch, version: active.version } : undefined
}
