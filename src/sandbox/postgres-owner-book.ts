/** The book of owners in the ledger's database (rule 23). Each call is one statement; nothing of it is in the path of a flush. */
import type { OwnerBook, OwnerRecord } from '../ingest/owner-book.ts'
import type { PostgresPool } from '../database/postgres-pool.ts'

export interface PostgresOwnerBookOptions {
  readonly pool: PostgresPool
  readonly pipeline: string
  /** Another epoch has another converter: what the last one died of is no concern of it. */
  readonly epoch: number
}

const begin = {
  name: 'forebay-owner-begins',
  text: `with floor as (
      select floor from forebay.floors where pipeline = $1 and partition = $2
    ), gone as (
      delete from forebay.suspects s using floor f where s.pipeline = $1 and s.partition = $2 and (s."offset" <= f.floor or s.epoch <> $4)
    ), begun as (
      insert into forebay.owners as o (pipeline, partition, epoch, owner, floor) select $1, $2, $4, $3, f.floor from floor f
      on conflict (pipeline, partition) do update set epoch = excluded.epoch, owner = excluded.owner, floor = excluded.floor, began_at = now(),
        deaths = case when o.epoch <> excluded.epoch then 0
          when o.floor = excluded.floor then o.deaths + (o.owner is not null)::int else (o.owner is not null)::int end
      returning o.deaths
    )
    select b.deaths, s."offset", s.deaths as "offsetDeaths" from begun b left join (
      forebay.suspects s join floor f on s."offset" > f.floor
    ) on s.pipeline = $1 and s.partition = $2 and s.epoch = $4`,
}

export class PostgresOwnerBook implements OwnerBook {
  readonly #options: PostgresOwnerBookOptions

  constructor(options: PostgresOwnerBookOptions) {
    this.#options = options
  }

  async begin(partition: number, owner: string): Promise<OwnerRecord> {
    const { pool, pipeline, epoch } = this.#options
    const { rows } = await pool.use(`beginning with partition ${partition}`, (client) =>
      client.query<{ deaths: number; offset: string | null; offsetDeaths: number }>({
        ...begin,
        values: [pipeline, partition, owner, epoch],
      }),
    )
    const found = rows.flatMap(({ offset, offsetDeaths }) => (offset === null ? [] : [[BigInt(offset), offsetDeaths] as const]))
    return { deaths: rows[0]?.deaths ?? 0, suspects: new Map(found) }
  }

  async leave(partition: number, owner: string): Promise<void> {
    const { pool, pipeline } = this.#options
    const text = 'update forebay.owners set owner = null where pipeline = $1 and partition = $2 and owner = $3'
    await pool.use(`leaving partition ${partition}`, (client) => client.query(text, [pipeline, partition, owner]))
  }

  async suspect(partition: number, offset: bigint): Promise<number> {
    const { pool, pipeline, epoch } = this.#options
    const text = `insert into forebay.suspects as s (pipeline, partition, "offset", epoch, deaths) values ($1, $2, $3, $4, 1)
      on conflict (pipeline, partition, "offset") do update set deaths = case when s.epoch = $4 then s.deaths + 1 else 1 end, epoch = $4, last_at = now()
      returning deaths`
    const { rows } = await pool.use(`counting a death at offset ${offset} of partition ${partition}`, (client) =>
      client.query<{ deaths: number }>({ name: 'forebay-suspect', text, values: [pipeline, partition, String(offset), epoch] }),
    )
    return rows[0]!.deaths
  }

  async acquit(partition: number, offset: bigint): Promise<void> {
    const { pool, pipeline } = this.#options
    const text = 'delete from forebay.suspects where pipeline = $1 and partition = $2 and "offset" = $3'
    await pool.use(`acquitting offset ${offset} of partition ${partition}`, (client) =>
      client.query({ name: 'forebay-acquit', text, values: [pipeline, partition, String(offset)] }),
    )
  }
}
