/**
 * A change of routing while nodes run (rule 11): what would change, who runs and who waits, and the drained cut itself.
 */
import { differencesOf, isSame } from './task-set.ts'
import type { Epoch, Opening } from './opening.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import { readRequest } from './drain.ts'
import type { DrainRequest } from './drain.ts'
import { cutWhenDrained } from './drained-cut.ts'
import type { DrainedCut } from './drained-cut.ts'
import { readKnown } from './epoch-store.ts'
import type { Known } from './epoch-store.ts'
import { openEpoch } from './epochs.ts'
import { freshNodes } from './presence.ts'
import type { PresentNode } from './presence.ts'
import { checkSchemaVersion, schemaVersionOf } from '../ledger/schema.ts'

export interface PartitionProgress {
  readonly partition: number
  readonly floor: bigint
  /** The furthest offset that any task has applied in any queue. */
  readonly appliedTo: bigint
}

export interface RoutingPlan {
  readonly epoch: number
  readonly reset: number
  readonly active: Fingerprint
  readonly configured: Fingerprint
  readonly changes: readonly { field: string; was: string | number; is: string | number }[]
  /** Nodes that run in the active epoch. */
  readonly running: readonly PresentNode[]
  /** Nodes that wait with the configured fingerprint. */
  readonly waiting: readonly PresentNode[]
  /** Nodes that wait with yet another one. */
  readonly others: readonly PresentNode[]
  readonly request: DrainRequest | undefined
  readonly partitions: readonly PartitionProgress[]
}

/** Throws FB_DATABASE_WRONG for a pipeline that never started. */
export async function readRoutingPlan(client: pg.ClientBase, pipeline: string, configured: Fingerprint): Promise<RoutingPlan> {
  const { active } = await known(client, pipeline)
  const nodes = await freshNodes(client, pipeline)
  const idle = nodes.filter(({ epoch }) => epoch === null)
  return {
    epoch: active.epoch,
    reset: active.reset,
    active: active.fingerprint,
    configured,
    changes: differencesOf(active.fingerprint, configured),
    running: nodes.filter(({ epoch }) => epoch !== null),
    waiting: idle.filter(({ fingerprint }) => isSame(fingerprint, configured)),
    others: idle.filter(({ fingerprint }) => !isSame(fingerprint, configured)),
    request: await readRequest(client, pipeline),
    partitions: await readProgress(client, pipeline, active.fingerprint.tasks),
  }
}

export type Started = Known & { readonly pipeline: NonNullable<Known['pipeline']>; readonly active: NonNullable<Known['active']> }

/** What the ledger knows of a pipeline that has started once. Throws FB_DATABASE_WRONG when it has not, or is of another release. */
export async function known(client: pg.ClientBase, pipeline: string): Promise<Started> {
  const version = await schemaVersionOf(client)
  if (version !== undefined) checkSchemaVersion(version)
  const found = version === undefined ? undefined : await readKnown(client, pipeline)
  if (found?.pipeline !== undefined && found.active !== undefined) return { ...found, pipeline: found.pipeline, active: found.active }
  throw new ForebayError(
    'FB_DATABASE_WRONG',
    `This database has no ledger of pipeline "${pipeline}": it never started here. Name the right database, or start a node.`,
  )
}

/** Floor of each partition, and the furthest row of `tasks`. */
export async function readProgress(client: pg.ClientBase, pipeline: string, tasks: readonly string[]): Promise<PartitionProgress[]> {
  const { rows } = await client.query<{ partition: number; floor: string; applied: string }>(
    `select f.partition, f.floor, greatest(f.floor, max(w.applied)) as applied from forebay.floors f
     left join forebay.watermarks w on w.pipeline = f.pipeline and w.partition = f.partition and w.task = any($2::text[])
     where f.pipeline = $1 group by f.partition, f.floor order by f.partition`,
    [pipeline, tasks],
  )
  return rows.map((row) => ({ partition: row.partition, floor: BigInt(row.floor), appliedTo: BigInt(row.applied) }))
}

export interface RoutingCut
  extends
    Omit<DrainedCut<Epoch>, 'epoch' | 'purpose' | 'attempt'>,
    Pick<Opening, 'topic' | 'identity' | 'fingerprint' | 'fileHash' | 'earliestFloors'> {}

/** Drains and opens the next epoch with the routing of `fingerprint`. Throws as `cutWhenDrained` and `openEpoch` do. */
export async function applyRouting(cut: RoutingCut): Promise<Epoch> {
  const { pipeline, topic, identity, fingerprint, fileHash, earliestFloors } = cut
  const { active } = await cut.database.use('reading the active epoch', (client) => known(client, pipeline))
  const purpose = differencesOf(active.fingerprint, fingerprint)
    .map(({ field, was, is }) => `${field} ${is} instead of ${was}`)
    .join(', ')
  return cutWhenDrained({
    ...cut,
    epoch: active.epoch,
    purpose,
    attempt: (client, drainRequest) =>
      openEpoch(client, {
        pipeline,
        topic,
        identity,
        fingerprint,
        fileHash,
        drainRequest,
        earliestFloors,
        startAt: () => Promise.reject(new Error('a pipeline that has started needs no first floors')),
      }),
  })
}
