/** What an operator decides about versions and tasks, and what can be seen of them: each one transaction under the lock of the epoch. */
import { beginExclusive } from './opening.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import { readViews, tasksOf } from './epoch-store.ts'
import { dropPermissions, givePermission } from '../ledger/permissions.ts'
import type { Permission } from '../ledger/permissions.ts'
import { known } from './routing-cut.ts'
import type { Started } from './routing-cut.ts'
import { behindOf, namesOf, taskChangeOf } from './task-set.ts'

/** Lets the next epoch be one of the superseded `version`, once. Throws FB_USAGE where there is nothing to allow, FB_FENCED while another version is accepted. */
export function acceptVersion(client: pg.ClientBase, pipeline: string, version: string, givenBy: string): Promise<Started> {
  return underLock(client, pipeline, async (found) => {
    const { active, earlier, permissions } = found
    if (version === active.version)
      throw new ForebayError('FB_USAGE', `Version ${version} of pipeline "${pipeline}" is the active one: there is nothing to accept.`)
    if (earlier.every((epoch) => epoch.version !== version)) {
      const ran = [...new Set([active, ...earlier].map((epoch) => epoch.version))].join(', ')
      throw new ForebayError(
        'FB_USAGE',
        `Version ${version} of pipeline "${pipeline}" never ran here (${ran} did): a new version opens its epoch when it starts, and needs no acceptance.`,
      )
    }
    const other = permissions.find(({ kind, subject }) => kind === 'version' && subject !== version)
    if (other !== undefined)
      throw new ForebayError(
        'FB_FENCED',
        `Version ${other.subject} of pipeline "${pipeline}" was accepted already, by ${other.givenBy}; withdraw that first: \`forebay versions accept ${other.subject} --withdraw\`.`,
      )
    await givePermission(client, pipeline, active, { kind: 'version', subject: version, givenBy })
  })
}

/** Lets the next epoch leave `tasks` out, once. Throws FB_USAGE for one that is not a durable task of the active epoch. */
export function allowLeaving(client: pg.ClientBase, pipeline: string, tasks: readonly string[], givenBy: string): Promise<Started> {
  return underLock(client, pipeline, async ({ active }) => {
    const { left: durable } = taskChangeOf(active.fingerprint, { tasks: [], ephemeral: active.fingerprint.ephemeral })
    const wrong = tasks.filter((task) => !durable.includes(task))
    if (wrong.length > 0)
      throw new ForebayError(
        'FB_USAGE',
        `Epoch ${active.epoch} of pipeline "${pipeline}" has no durable ${namesOf(wrong)}; it has ${durable.join(', ') || 'none'}.`,
      )
    for (const subject of tasks) await givePermission(client, pipeline, active, { kind: 'leave', subject, givenBy })
  })
}

/** Takes permissions back that nobody has used yet; gives the subjects of those there were. */
export async function withdraw(
  client: pg.ClientBase,
  pipeline: string,
  { kind, subjects }: { kind: Permission['kind']; subjects: readonly string[] },
): Promise<string[]> {
  const dropped: string[] = []
  await underLock(client, pipeline, async ({ permissions }) => {
    for (const subject of subjects) {
      const isThere = permissions.some((one) => one.kind === kind && one.subject === subject)
      if (isThere && (await dropPermissions(client, pipeline, { kind, subject }))) dropped.push(subject)
    }
  })
  return dropped
}

/** Gives up what tasks that are away have missed so far: their places move up to the floors. Throws FB_USAGE for a task that has none. */
export function skipMissed(client: pg.ClientBase, pipeline: string, tasks: readonly string[]): Promise<Started> {
  return underLock(client, pipeline, async ({ active }) => {
    const runs = tasks.filter((task) => active.fingerprint.tasks.includes(task))
    if (runs.length > 0)
      throw new ForebayError(
        'FB_USAGE',
        `Epoch ${active.epoch} of pipeline "${pipeline}" runs ${namesOf(runs)}: only a task that is left out misses anything.`,
      )
    const away = tasksOf(await readViews(client, pipeline))
    const none = tasks.filter((task) => !away.includes(task))
    if (none.length > 0)
      throw new ForebayError(
        'FB_USAGE',
        `The ledger of pipeline "${pipeline}" has no place of ${namesOf(none)}: a task without one begins at the floors.`,
      )
    await client.query(
      `insert into forebay.watermarks as w (pipeline, task, partition, queue, applied)
       select f.pipeline, t.task, f.partition, q.queue, f.floor from forebay.floors f, unnest($2::text[]) t (task), generate_series(0, $3::int - 1) q (queue)
       where f.pipeline = $1 on conflict (pipeline, task, partition, queue) do update set applied = greatest(w.applied, excluded.applied)`,
      [pipeline, tasks, active.fingerprint.queues],
    )
  })
}

export interface EpochRecord {
  readonly epoch: number
  readonly reset: number
  readonly version: string
  readonly openedAt: Date
  readonly fingerprint: Fingerprint
}

/** The newest first. */
export async function readEpochs(client: pg.ClientBase, pipeline: string): Promise<EpochRecord[]> {
  const { rows } = await client.query<EpochRecord>(
    'select epoch, reset, version, fingerprint, opened_at as "openedAt" from forebay.epochs where pipeline = $1 order by epoch desc',
    [pipeline],
  )
  return rows
}

export interface TaskPlace {
  readonly task: string
  readonly isDurable: boolean
  /** Whether the active epoch runs it. */
  readonly isActive: boolean
  /** What it has not seen of each partition that is behind its floor. */
  readonly behind: readonly { readonly partition: number; readonly place: bigint; readonly floor: bigint }[]
}

/** The tasks of the active epoch, and those that are away with where they stand. */
export async function readTaskPlaces(client: pg.ClientBase, pipeline: string): Promise<TaskPlace[]> {
  const { active } = await known(client, pipeline)
  const { tasks, ephemeral = [] } = active.fingerprint
  const views = await readViews(client, pipeline)
  const away = tasksOf(views).filter((task) => !tasks.includes(task))
  const runs = [...new Set([...tasks, ...ephemeral])]
  return [
    ...runs.map((task) => ({ task, isDurable: !ephemeral.includes(task), isActive: true, behind: [] })),
    ...away.map((task) => ({ task, isDurable: true, isActive: false, behind: behindOf(views, task) })),
  ]
}

async function underLock(client: pg.ClientBase, pipeline: string, body: (found: Started) => Promise<void>): Promise<Started> {
  // Before any lock: it says so when there is no such pipeline.
  await known(client, pipeline)
  await beginExclusive(client, pipeline, false)
  const found = await known(client, pipeline)
  await body(found)
  await client.query('commit')
  return found
}
