/** The rows of pipelines, epochs, floors and watermarks, as opening an epoch reads and writes them. */
import type { Opening } from './opening.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { epochMark } from './epoch-mark.ts'
import type { PartitionView } from '../ledger/ledger.ts'
import { dropPermissions, readPermissions } from '../ledger/permissions.ts'
import type { Permission } from '../ledger/permissions.ts'
import { rowsOfNextEpoch, taskChangeOf } from './task-set.ts'

export interface EpochRow {
  readonly epoch: number
  readonly reset: number
  readonly version: string
  readonly fingerprint: Fingerprint
  readonly file_hash: string | null
  /** Tells it from another one of its number; of an epoch that an older forebay opened, what that forebay takes for it. */
  readonly mark: string
  /** False: an older forebay opened it, and the mark is not in the ledger yet. */
  readonly isMarked: boolean
}

export interface PipelineRow {
  readonly cluster: string
  readonly topic: string
  readonly topic_id: string | null
  readonly partitions: number
}

/** What the ledger knows of a pipeline. */
export interface Known {
  readonly pipeline: PipelineRow | undefined
  readonly active: EpochRow | undefined
  /** The epochs before, the newest first. */
  readonly earlier: readonly EpochRow[]
  /** What whoever opens the next epoch was allowed. */
  readonly permissions: readonly Permission[]
}

/** Reads what the ledger knows; everything undefined for a pipeline that never started. */
export async function readKnown(client: pg.ClientBase, pipeline: string): Promise<Known> {
  const pipelines = await client.query<PipelineRow>('select cluster, topic, topic_id, partitions from forebay.pipelines where name = $1', [
    pipeline,
  ])
  const epochs = await client.query<Omit<EpochRow, 'mark' | 'isMarked'> & { mark: string | null }>(
    'select epoch, reset, version, fingerprint, file_hash, mark from forebay.epochs where pipeline = $1 order by epoch desc',
    [pipeline],
  )
  const [active, ...earlier] = epochs.rows.map((row) => ({
    ...row,
    mark: row.mark ?? epochMark(row.fingerprint, row.reset),
    isMarked: row.mark !== null,
  }))
  const permissions = active === undefined ? [] : await readPermissions(client, pipeline, active)
  return { pipeline: pipelines.rows[0], active, earlier, permissions }
}

export async function insertPipeline(client: pg.ClientBase, { pipeline, topic, identity }: Opening): Promise<void> {
  await client.query('insert into forebay.pipelines (name, cluster, topic, topic_id, partitions) values ($1, $2, $3, $4, $5)', [
    pipeline,
    identity.cluster,
    topic,
    identity.topicId,
    identity.partitions,
  ])
}

/** Partitions without a floor get theirs of `floors`, else the beginning. */
export async function insertFloors(
  client: pg.ClientBase,
  { pipeline, identity }: Pick<Opening, 'pipeline' | 'identity'>,
  floors: ReadonlyMap<number, bigint>,
): Promise<void> {
  const partitions = Array.from({ length: identity.partitions }, (_, partition) => partition)
  await client.query('update forebay.pipelines set partitions = $2 where name = $1', [pipeline, identity.partitions])
  await client.query('insert into forebay.floors select $1, * from unnest($2::int[], $3::bigint[]) on conflict do nothing', [
    pipeline,
    partitions,
    partitions.map((partition) => String(floors.get(partition) ?? -1n)),
  ])
}

/**
 * Opens the epoch after `active`. `isCut`: it remembers the floors; one in which tasks have `begun` does too (the first one
 * brings all), since nothing below is in their tables. What was allowed is used up.
 */
export async function insertEpoch(
  client: pg.ClientBase,
  { pipeline, fingerprint, fileHash }: Pick<Opening, 'pipeline' | 'fingerprint' | 'fileHash'>,
  { active, reset, isCut, begun }: { active: EpochRow | undefined; reset: number; isCut: boolean; begun: readonly string[] },
): Promise<void> {
  const floors = '(select jsonb_object_agg(partition, floor::text) from forebay.floors where pipeline = $1)'
  await client.query(
    `insert into forebay.epochs (pipeline, epoch, reset, version, fingerprint, file_hash, mark, begun, cut)
     values ($1, $2, $3, $4, $5, $6, $7, $8, ${isCut || begun.length > 0 ? floors : 'null'})`,
    [
      pipeline,
      (active?.epoch ?? 0) + 1,
      reset,
      fingerprint.version,
      JSON.stringify(fingerprint),
      fileHash,
      randomBytes(6).toString('hex'),
      begun,
    ],
  )
  await dropPermissions(client, pipeline)
}

/** Gives the active epoch, which an older forebay opened, what that did not store. */
export async function completeEpoch(client: pg.ClientBase, { pipeline, fingerprint }: Opening, active: EpochRow): Promise<void> {
  const complete = { ...active.fingerprint, ephemeral: active.fingerprint.ephemeral ?? fingerprint.ephemeral }
  await client.query('update forebay.epochs set mark = $3, fingerprint = $4 where pipeline = $1 and epoch = $2', [
    pipeline,
    active.epoch,
    active.mark,
    JSON.stringify(complete),
  ])
}

/** Floors and rows of every partition and of every task that has any. */
export async function readViews(client: pg.ClientBase, pipeline: string): Promise<PartitionView[]> {
  const { rows } = await client.query<{ partition: number; floor: string; task: string | null; queue: number; applied: string }>(
    `select f.partition, f.floor, w.task, w.queue, w.applied from forebay.floors f left join forebay.watermarks w using (pipeline, partition)
     where f.pipeline = $1 order by f.partition, w.task, w.queue`,
    [pipeline],
  )
  const views = new Map<number, { partition: number; floor: bigint; rows: Map<string, bigint[]> }>()
  for (const { partition, floor, task, queue, applied } of rows) {
    const view = views.get(partition) ?? { partition, floor: BigInt(floor), rows: new Map<string, bigint[]>() }
    views.set(partition, view)
    if (task === null) continue
    const marks = view.rows.get(task) ?? []
    view.rows.set(task, marks)
    marks[queue] = BigInt(applied)
  }
  return [...views.values()]
}

/** Tasks of which there are rows. */
export function tasksOf(views: readonly PartitionView[]): string[] {
  return [...new Set(views.flatMap(({ rows }) => [...rows.keys()]))]
}

/** Gives floors and rows the state of the next epoch. */
export async function writeRows(
  client: pg.ClientBase,
  { pipeline, fingerprint }: Pick<Opening, 'pipeline' | 'fingerprint'>,
  { active, views, isCut }: { active: EpochRow | undefined; views: readonly PartitionView[]; isCut: boolean },
): Promise<void> {
  const was = active?.fingerprint ?? { tasks: [] }
  const { untracked } = taskChangeOf(was, fingerprint)
  const change = { was: was.tasks, is: fingerprint.tasks, withRows: tasksOf(views), untracked, queues: fingerprint.queues, isCut }
  const columns: [tasks: string[], partitions: number[], queues: number[], applied: string[]] = [[], [], [], []]
  const floors = new Map<number, bigint>()
  for (const view of views) {
    const next = rowsOfNextEpoch(view, change)
    if (next.floor < view.floor) floors.set(view.partition, next.floor)
    for (const [task, marks] of next.rows) {
      const before = isCut ? undefined : view.rows.get(task)
      marks.forEach((mark, queue) => {
        if (before?.[queue] === mark) return
        columns[0].push(task)
        columns[1].push(view.partition)
        columns[2].push(queue)
        columns[3].push(String(mark))
      })
    }
  }
  await client.query('delete from forebay.watermarks where pipeline = $1 and ($2 or task = any($3::text[]))', [pipeline, isCut, untracked])
  await client.query(
    `insert into forebay.watermarks (pipeline, task, partition, queue, applied)
     select $1, * from unnest($2::text[], $3::int[], $4::int[], $5::bigint[])
     on conflict (pipeline, task, partition, queue) do update set applied = excluded.applied`,
    [pipeline, ...columns],
  )
  await client.query(
    `update forebay.floors f set floor = b.floor from unnest($2::int[], $3::bigint[]) b (partition, floor)
     where f.pipeline = $1 and f.partition = b.partition`,
    [pipeline, [...floors.keys()], [...floors.values()].map(String)],
  )
}
