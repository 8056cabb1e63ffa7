/** Partitions that stand still until an operator decides (rule 21), in the table `forebay.halts`. */
import type pg from 'pg'
import type { PartitionHalt, PartitionView } from './ledger.ts'

export interface HaltRow {
  readonly reason: string | null
  readonly haltFloor: string | null
  readonly logEnd: string | null
}

/** One partition's halt, with when it was found. */
export interface FoundHalt extends PartitionHalt {
  readonly foundAt: Date
}

export function haltOf(partition: number, row: HaltRow | undefined): Pick<PartitionView, 'halt'> {
  if (row === undefined || row.reason === null || row.haltFloor === null) return {}
  const logEnd = row.logEnd === null ? null : BigInt(row.logEnd)
  return { halt: { partition, reason: row.reason, floor: BigInt(row.haltFloor), logEnd } }
}

/** The first one stays; under the lock of the floor's row, so that no floor is raised past one that is being written. */
export async function insertHalt(
  client: pg.ClientBase,
  pipeline: string,
  { partition, reason, floor, logEnd }: PartitionHalt,
): Promise<void> {
  await client.query('begin')
  await client.query('select from forebay.floors where pipeline = $1 and partition = $2 for update', [pipeline, partition])
  await client.query(
    'insert into forebay.halts (pipeline, partition, reason, floor, log_end) values ($1, $2, $3, $4, $5) on conflict do nothing',
    [pipeline, partition, reason, String(floor), logEnd === null ? null : String(logEnd)],
  )
  await client.query('commit')
}

export async function readHalts(client: pg.ClientBase, pipeline: string): Promise<FoundHalt[]> {
  const { rows } = await client.query<HaltRow & { partition: number; foundAt: Date }>(
    `select partition, reason, floor as "haltFloor", log_end as "logEnd", found_at as "foundAt" from forebay.halts where pipeline = $1 order by partition`,
    [pipeline],
  )
  return rows.flatMap((row) => {
    const { halt } = haltOf(row.partition, row)
    return halt === undefined ? [] : [{ ...halt, foundAt: row.foundAt }]
  })
}

/** The operator has decided: what was known of the log below the floor no longer counts. Gives the partitions that were halted. */
export async function dropHalts(client: pg.ClientBase, pipeline: string, partitions: readonly number[]): Promise<number[]> {
  const values = [pipeline, partitions]
  const { rows } = await client.query<{ partition: number }>(
    'delete from forebay.halts where pipeline = $1 and partition = any($2::int[]) returning partition',
    values,
  )
  const dropped = rows.map(({ partition }) => partition)
  await client.query('update forebay.floors set leader_epoch = null where pipeline = $1 and partition = any($2::int[])', [
    pipeline,
    dropped,
  ])
  await client.query('delete from forebay.floor_events where pipeline = $1 and partition = any($2::int[])', [pipeline, dropped])
  return dropped
}
