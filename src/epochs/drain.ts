/**
 * Draining: a request that makes the owners of partitions stop reading, and the look that tells whether nothing is in flight.
 *
 * The request is a row that whoever made it renews; once it is stale, owners read on by themselves, so that a command that died
 * stops nobody. It is a matter of liveness only. Safety is `undrained`, asked under the exclusive lock of the epoch: a job is
 * applied only by moving its queue's row past it, so where no row lies above its partition's floor, exactly the jobs at or below
 * the floor are applied, and everything else may be made again in any routing.
 */
import type pg from 'pg'

/** A request older than this, by the database's clock, is void. */
const staleMs = 10_000

/** A partition in which something is applied beyond the floor; the task and queue that went furthest. */
export interface Undrained {
  readonly partition: number
  readonly floor: bigint
  readonly task: string
  readonly queue: number
  readonly applied: bigint
}

/** A request in force. */
export interface DrainRequest {
  readonly id: string
  readonly epoch: number
  readonly purpose: string
  readonly requestedBy: string
  readonly requestedAt: Date
}

/** SQL that is true while the owners of `epoch` are asked to drain; both arguments are SQL. */
export function isDrainingSql(pipeline: string, epoch: string): string {
  return `exists (select from forebay.cuts c where c.pipeline = ${pipeline} and c.epoch = ${epoch} and c.renewed_at > now() - interval '${staleMs} ms')`
}

/** Partitions with a row of `tasks` above the floor. */
export async function undrained(client: pg.ClientBase, pipeline: string, tasks: readonly string[]): Promise<Undrained[]> {
  const { rows } = await client.query<{ partition: number; floor: string; task: string; queue: number; applied: string }>(
    `select distinct on (w.partition) w.partition, f.floor, w.task, w.queue, w.applied from forebay.watermarks w
     join forebay.floors f using (pipeline, partition)
     where w.pipeline = $1 and w.task = any($2::text[]) and w.applied > f.floor order by w.partition, w.applied desc`,
    [pipeline, tasks],
  )
  return rows.map((row) => ({ ...row, floor: BigInt(row.floor), applied: BigInt(row.applied) }))
}

export function undrainedText({ partition, floor, task, queue, applied }: Undrained): string {
  return `partition ${partition}: task ${task} has applied up to ${applied} in queue ${queue}, the floor is ${floor}`
}

/** The request in force, if there is one. */
export async function readRequest(client: pg.ClientBase, pipeline: string): Promise<DrainRequest | undefined> {
  const { rows } = await client.query<DrainRequest>(
    `select id, epoch, purpose, requested_by as "requestedBy", requested_at as "requestedAt" from forebay.cuts
     where pipeline = $1 and renewed_at > now() - interval '${staleMs} ms'`,
    [pipeline],
  )
  return rows[0]
}

/** Puts a request, in the place of a stale one; false while another one is in force. */
export async function putRequest(
  client: pg.ClientBase,
  pipeline: string,
  request: Pick<DrainRequest, 'id' | 'epoch' | 'purpose' | 'requestedBy'>,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into forebay.cuts (pipeline, id, epoch, purpose, requested_by) values ($1, $2, $3, $4, $5)
     on conflict (pipeline) do update set id = excluded.id, epoch = excluded.epoch, purpose = excluded.purpose,
       requested_by = excluded.requested_by, requested_at = now(), renewed_at = now()
     where cuts.renewed_at <= now() - interval '${staleMs} ms'`,
    [pipeline, request.id, request.epoch, request.purpose, request.requestedBy],
  )
  return rowCount === 1
}

/** Keeps the request in force, if it is still there. */
export async function renewRequest(client: pg.ClientBase, pipeline: string, id: string): Promise<void> {
  await client.query('update forebay.cuts set renewed_at = now() where pipeline = $1 and id = $2', [pipeline, id])
}

/** Whether the request is still there, whatever its age, and its epoch is still the active one. */
export async function isRequested(client: pg.ClientBase, pipeline: string, id: string): Promise<boolean> {
  const { rows } = await client.query(
    `select from forebay.cuts c where pipeline = $1 and id = $2
     and epoch = (select max(e.epoch) from forebay.epochs e where e.pipeline = c.pipeline)`,
    [pipeline, id],
  )
  return rows.length > 0
}

/** Withdraws the request `id`, or whichever there is; false when there was none. */
export async function dropRequest(client: pg.ClientBase, pipeline: string, id?: string): Promise<boolean> {
  const { rowCount } = await client.query('delete from forebay.cuts where pipeline = $1 and ($2::uuid is null or id = $2)', [
    pipeline,
    id ?? null,
  ])
  return (rowCount ?? 0) > 0
}
