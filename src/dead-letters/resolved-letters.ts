/**
 * Lets resolved dead letters go, so that their table does not grow for ever. A letter stays as long as anything still asks for it:
 * open ones always; above the floor, where a job made again must meet its letter; and discarded ones while the log has their
 * event, since a comparison of the table excuses missing rows by them.
 */
import type { Database } from '../database/database.ts'

/** Of one statement, so that it holds few locks. */
export const lettersForgottenMax = 1000

export interface ForgottenLetters {
  readonly pipeline: string
  readonly topic: string
  /** Resolved ones stay at least so long, by the database's clock. */
  readonly keptMs: number
  /** The first offset that the log holds, by partition. */
  readonly logStarts: ReadonlyMap<number, bigint>
}

/** Deletes at most `lettersForgottenMax` and gives how many it was; letters that another node is at are left to it. */
export async function forgetResolvedLetters(database: Database, { pipeline, topic, keptMs, logStarts }: ForgottenLetters): Promise<number> {
  const values = [pipeline, topic, keptMs, [...logStarts.keys()], [...logStarts.values()].map(String)]
  const { rowCount } = await database.use('deleting old resolved dead letters', (client) =>
    client.query(
      `delete from forebay.dead_letters where id in (
        select d.id from forebay.dead_letters d join forebay.floors f on f.pipeline = d.pipeline and f.partition = d.partition
        left join unnest($4::int[], $5::bigint[]) as l (partition, first_offset) on l.partition = d.partition
        where d.pipeline = $1 and d.topic = $2 and d.resolved_at < now() - $3 * interval '1 millisecond' and d."offset" <= f.floor
          and (d.resolution = 'redriven' or d."offset" < l.first_offset)
        order by d.id limit ${lettersForgottenMax} for update of d skip locked)`,
      values,
    ),
  )
  return rowCount ?? 0
}
