/**
 * The restart of a pipeline from an earlier point (rule 12): one transaction under the exclusive lock of the epoch, so that it
 * happens wholly or not at all, and nothing of the old epoch is applied after it.
 */
import { differencesOf } from './task-set.ts'
import { beginExclusive } from './opening.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import type { LogIdentity } from '../events/event-log.ts'
import { dropRequest, undrained, undrainedText } from './drain.ts'
import { insertEpoch, insertFloors, readViews, tasksOf, writeRows } from './epoch-store.ts'
import { checkIdentity, checkRequested, checkVersion } from './epochs.ts'
import type { EpochRow } from './epoch-store.ts'
import { dropHalts } from '../ledger/halts.ts'
import { changeOf, isMadeAgain } from './reset-plan.ts'
import type { PartitionReset } from './reset-plan.ts'
import { known, readProgress } from './routing-cut.ts'
import { namesOf, taskChangeOf, taskDifferences } from './task-set.ts'

export interface Reset {
  readonly pipeline: string
  readonly topic: string
  readonly identity: LogIdentity
  readonly fingerprint: Fingerprint
  readonly fileHash: string | null
  readonly partitions: readonly PartitionReset[]
  /** Quoted names of tables. */
  readonly truncations: readonly string[]
  /** Id of the request under which running nodes have drained; undefined: nobody runs. */
  readonly drainRequest?: string
}

export interface ResetEpoch {
  readonly epoch: number
  readonly reset: number
  /** What became of each partition: those that moved since the plan go back to the same point. */
  readonly partitions: readonly PartitionReset[]
}

/**
 * Throws FB_IDENTITY, FB_FINGERPRINT and FB_ROUTING when the configuration is not the pipeline's, FB_ROUTING while not all is drained
 * (`drainRequest`), FB_FENCED when floors moved meanwhile, FB_SCHEMA when a table cannot be emptied.
 */
export async function performReset(client: pg.ClientBase, reset: Reset): Promise<ResetEpoch> {
  const { pipeline, fingerprint, truncations, drainRequest } = reset
  // Looked at before the lock, which flushes wait for while it is asked for.
  if (drainRequest !== undefined) await checkDrained(client, reset, drainRequest, (await known(client, pipeline)).active.fingerprint)
  await beginExclusive(client, pipeline, drainRequest !== undefined)
  const stored = await known(client, pipeline)
  const { active } = stored
  checkIdentity(stored.pipeline, reset)
  checkVersion(stored, reset)
  checkRouting(active, reset)
  const withRows = tasksOf(await readViews(client, pipeline))
  const begun = begunTasks(reset, active, withRows)
  if (drainRequest !== undefined) await checkDrained(client, reset, drainRequest, active.fingerprint)
  await insertFloors(client, reset, new Map())
  const partitions = await presentChanges(client, reset, active.fingerprint.tasks)
  if (truncations.length > 0) await client.query(`truncate ${truncations.join(', ')}`)
  const [again, onwards] = [
    partitions.filter((partition) => isMadeAgain(partition)),
    partitions.filter((partition) => !isMadeAgain(partition)),
  ]
  await begin(
    client,
    pipeline,
    again,
    withRows.filter((task) => !active.fingerprint.tasks.includes(task)),
  )
  await raise(
    client,
    pipeline,
    onwards.filter(({ change }) => change === 'ahead'),
  )
  // To begin elsewhere is a decision on what was halted (rule 21).
  await dropHalts(
    client,
    pipeline,
    partitions.filter(({ change }) => change !== 'kept').map(({ partition }) => partition),
  )
  const next = { epoch: active.epoch + 1, reset: active.reset + 1, partitions }
  await insertEpoch(client, reset, { active, reset: next.reset, isCut: true, begun })
  // A comparison with the log must know from where on each table holds its rows.
  await client.query('update forebay.epochs set emptied = $3 where pipeline = $1 and epoch = $2', [pipeline, next.epoch, truncations])
  await writeRows(client, { pipeline, fingerprint }, { active, views: await readViews(client, pipeline), isCut: false })
  await dropRequest(client, pipeline)
  await client.query('commit')
  return next
}

/** The tasks that the configuration brings. Throws FB_TASKS where it leaves one out, or brings one back: that has a place of its own. */
function begunTasks(
  { pipeline, fingerprint }: Reset,
  { epoch, fingerprint: was }: EpochRow,
  withRows: readonly string[],
): readonly string[] {
  const { left, added } = taskChangeOf(was, fingerprint)
  if (left.length === 0 && !added.some((task) => withRows.includes(task))) return added
  throw new ForebayError(
    'FB_TASKS',
    `Epoch ${epoch} of pipeline "${pipeline}" runs ${namesOf(was.tasks)}; the configuration ${taskDifferences(was, fingerprint)}. Reset with the tasks of the epoch, and change them before or after.`,
  )
}

/** Throws FB_ROUTING when the configuration has another routing than the epoch. */
export function checkRouting(
  active: { epoch: number; fingerprint: Fingerprint },
  { pipeline, fingerprint }: Pick<Reset, 'pipeline' | 'fingerprint'>,
): void {
  const differences = differencesOf(active.fingerprint, fingerprint)
  if (differences.length === 0) return
  const what = differences.map(({ field, was, is }) => `${field} ${was}, the configuration has ${is}`).join('; ')
  throw new ForebayError(
    'FB_ROUTING',
    `Epoch ${active.epoch} of pipeline "${pipeline}" has ${what}. Reset with the configuration of the epoch, and change the routing before or after with \`forebay routing apply\`.`,
  )
}

async function checkDrained(client: pg.ClientBase, { pipeline }: Reset, request: string, active: Fingerprint): Promise<void> {
  await checkRequested(client, pipeline, request)
  const [first] = await undrained(client, pipeline, active.tasks)
  if (first !== undefined) throw new ForebayError('FB_ROUTING', `Pipeline "${pipeline}" is not drained yet (${undrainedText(first)}).`)
}

/**
 * What the plan means for the floors as they are now: a partition that was before the point may have passed it while nodes drained.
 * One whose floor fell below its cut, by another reset, would be raised over unprocessed events: that is refused.
 */
async function presentChanges(
  client: pg.ClientBase,
  { pipeline, partitions, truncations }: Reset,
  tasks: readonly string[],
): Promise<PartitionReset[]> {
  await client.query('select from forebay.floors where pipeline = $1 order by partition for update', [pipeline])
  const now = new Map((await readProgress(client, pipeline, tasks)).map((row) => [row.partition, row]))
  // Whether rows may come twice was asked only if something was to be made again.
  const isAsked = partitions.some((partition) => isMadeAgain(partition))
  return partitions.map((planned) => {
    const { partition, floor, target, cut, change } = planned
    const { floor: standing, appliedTo } = now.get(partition) ?? { floor: -1n, appliedTo: -1n }
    const isStill = now.has(partition) && (change === 'ahead' ? standing === floor : change === 'kept' || standing >= cut)
    const at = { floor: standing, appliedTo, target, isTruncated: truncations.length > 0 }
    const isAhead = change === 'ahead' && truncations.length > 0 && appliedTo > cut
    const present: PartitionReset =
      change === 'ahead'
        ? { partition, floor, target, cut, change, ...(isAhead ? { isAboveMadeAgain: true } : {}) }
        : { partition, floor: standing, target, ...changeOf(at) }
    if (!isStill || (isMadeAgain(present) && !isMadeAgain(planned) && !isAsked)) {
      throw new ForebayError(
        'FB_FENCED',
        `The floor of partition ${partition} moved from ${floor} to ${standing} meanwhile; nothing was changed, run the reset again.`,
      )
    }
    return present
  })
}

/** Everything above the cut is made again, whatever was applied there; tasks that are `away` keep their places and letters. */
async function begin(client: pg.ClientBase, pipeline: string, back: readonly PartitionReset[], away: readonly string[]): Promise<void> {
  const values = [pipeline, back.map(({ partition }) => partition), back.map(({ cut }) => String(cut))]
  await client.query('delete from forebay.watermarks where pipeline = $1 and partition = any($2::int[]) and task <> all($3::text[])', [
    ...values.slice(0, 2),
    away,
  ])
  const cuts = 'unnest($2::int[], $3::bigint[]) as c (partition, cut)'
  await client.query(`update forebay.floors f set floor = c.cut from ${cuts} where f.pipeline = $1 and f.partition = c.partition`, values)
  const above = `using ${cuts} where t.pipeline = $1 and t.partition = c.partition and t."offset" > c.cut`
  await client.query(`delete from forebay.floor_events t ${above}`, values)
  await client.query(`delete from forebay.dead_letters t ${above} and (t.task is null or t.task <> all($4::text[]))`, [...values, away])
}

/** Rows stay: a queue that is ahead of the new floor goes on from its row. */
async function raise(client: pg.ClientBase, pipeline: string, ahead: readonly PartitionReset[]): Promise<void> {
  await client.query(
    `update forebay.floors f set floor = c.cut, leader_epoch = null from unnest($2::int[], $3::bigint[]) as c (partition, cut)
     where f.pipeline = $1 and f.partition = c.partition and f.floor < c.cut`,
    [pipeline, ahead.map(({ partition }) => partition), ahead.map(({ cut }) => String(cut))],
  )
}
