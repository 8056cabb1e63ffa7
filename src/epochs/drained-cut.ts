/**
 * Asks the nodes of a pipeline to stop reading and drain, and tries something again and again until it succeeds: a cut.
 *
 * The request is renewed as long as this runs and withdrawn at its end, whatever the end; when the process is killed it goes
 * stale within seconds, and the nodes read on. What is tried must make sure by itself, under the lock of the epoch, that all
 * is drained: the request only makes that come true.
 */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { ForebayError, isForebayError } from '../errors.ts'
import type { Clock } from '../schedule/clock.ts'
import { dropRequest, putRequest, readRequest, renewRequest } from './drain.ts'

export interface Database {
  use<T>(doing: string, body: (client: pg.ClientBase) => Promise<T>): Promise<T>
}

export interface DrainedCut<T> {
  readonly database: Database
  readonly clock: Clock
  readonly pipeline: string
  /** The active epoch, whose nodes are asked. */
  readonly epoch: number
  /** What the request is for, and by whom: shown to people. */
  readonly purpose: string
  readonly requestedBy: string
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Throws FB_ROUTING while not all is drained; `request` is the id to look for under the lock. */
  attempt(client: pg.ClientBase, request: string): Promise<T>
  /** Told at each attempt that did not succeed. */
  onWaiting(sentence: string): void
  /** What nodes tell of their troubles, for the sentence after the timeout. */
  reasons(): Promise<readonly string[]>
}

const lookMs = 250

/** Throws FB_FENCED when withdrawn or another one is in force, FB_INTERRUPTED when `signal` aborts, FB_ROUTING after the timeout, and what `attempt` throws that no waiting mends. */
export async function cutWhenDrained<T>(cut: DrainedCut<T>): Promise<T> {
  const { database, pipeline, epoch, purpose, requestedBy, clock } = cut
  const id = randomUUID()
  const isPut = await database.use('asking the nodes to drain', (client) =>
    putRequest(client, pipeline, { id, epoch, purpose, requestedBy }),
  )
  if (!isPut) {
    const other = await database.use('reading the request to drain', (client) => readRequest(client, pipeline))
    const what =
      other === undefined
        ? 'was made a moment ago'
        : `for ${other.purpose} by ${other.requestedBy} is in force since ${other.requestedAt.toISOString()}`
    throw new ForebayError(
      'FB_FENCED',
      `Another request to drain pipeline "${pipeline}" ${what}; wait for its end, or withdraw it with \`forebay routing cancel\`.`,
    )
  }
  try {
    return await tryUntilDrained(cut, id, clock.now() + cut.timeoutMs)
  } finally {
    await database.use('withdrawing the request to drain', (client) => dropRequest(client, pipeline, id)).catch(() => undefined)
  }
}

async function tryUntilDrained<T>(cut: DrainedCut<T>, id: string, untilMs: number): Promise<T> {
  const { database, clock, pipeline, signal } = cut
  let why = 'it was not tried'
  while (clock.now() < untilMs) {
    if (signal.aborted)
      throw new ForebayError('FB_INTERRUPTED', `Withdrawn: the nodes of pipeline "${pipeline}" read on, nothing was changed.`)
    try {
      return await database.use('cutting over', async (client) => {
        // Whether it is still there is looked at under the lock: a cut whose answer was lost has taken it away.
        await renewRequest(client, pipeline, id)
        return await cut.attempt(client, id)
      })
    } catch (error) {
      const mayPass = isForebayError(error) && (error.code === 'FB_ROUTING' || (error.policy === 'retry' && error.code !== 'FB_FENCED'))
      if (!mayPass) throw error
      why = error.message
      cut.onWaiting(why)
    }
    await clock.sleep(lookMs, signal)
  }
  const reasons = await cut.reasons()
  throw new ForebayError(
    'FB_ROUTING',
    `Pipeline "${pipeline}" did not drain within ${Math.round(cut.timeoutMs / 1000)} s; nothing was changed, the nodes read on. ${[why, ...reasons].join(' ')}`,
  )
}
