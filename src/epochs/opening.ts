/** What a node opens an epoch with, what it gets, and the lock under which an epoch is opened. */
import type { Fingerprint } from '../ledger/fingerprint.ts'
import { createHash } from 'node:crypto'
import type { LogIdentity } from '../events/event-log.ts'
import type pg from 'pg'

export interface Opening {
  readonly pipeline: string
  readonly topic: string
  readonly identity: LogIdentity
  readonly fingerprint: Fingerprint
  /** Hash of the pipeline's file, null when there is none: another one under the same version is warned about. */
  readonly fileHash: string | null
  /**
   * The floors of a pipeline's very first start, by partition; asked for only then and outside of any transaction.
   * Partitions added later start at -1, so that none of their events is missed.
   */
  startAt(): Promise<ReadonlyMap<number, bigint>>
  /** The lowest floors that the log can serve, by partition; asked for as `startAt` is, when a task comes back. */
  earliestFloors(): Promise<ReadonlyMap<number, bigint>>
  /** Joins the active epoch or throws FB_EPOCH_CLOSED: for a node whose own epoch was closed. Default: may open one. */
  readonly isJoinOnly?: boolean
  /** Id of the drain request under which another routing may be opened although nodes run (default: only where none runs), or another version only when all is drained (default: as things are). */
  readonly drainRequest?: string
}

export interface Epoch {
  readonly epoch: number
  readonly reset: number
  /** Tells it from another epoch of its number, which a failover forgot. */
  readonly mark: string
  /** Set when this call cut the routing over: what an operator should be told. */
  readonly cutSentence?: string
  /** Sentences an operator should read. */
  readonly warnings: readonly string[]
}

/**
 * BEGIN and the exclusive lock of the epoch. An `isAttempt` gives up soon: a request for the exclusive lock stands before every
 * flush that comes after it.
 */
export async function beginExclusive(client: pg.ClientBase, pipeline: string, isAttempt: boolean): Promise<void> {
  await client.query(
    [
      'begin isolation level read committed read write',
      ...(isAttempt ? [`set local lock_timeout = '${attemptLockMs}ms'`] : []),
      `select pg_advisory_xact_lock(${epochLock(pipeline)})`,
      'set local lock_timeout to default',
    ].join(';'),
  )
}

/** Key of the advisory lock that flushes share and an opening epoch holds alone. */
export function epochLock(pipeline: string): string {
  return String(createHash('sha256').update(`forebay epoch ${pipeline}`).digest().readBigInt64BE())
}

/** How long a flush may be kept waiting behind an attempt to cut that waits itself; the attempt is made again. */
export const attemptLockMs = 300
