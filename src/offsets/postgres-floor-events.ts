import { FloorChecksum } from './floor-checksum.ts'
import type { FloorChecksumNames, FloorChecksumPorts, FloorEvent, FloorEventStore } from './floor-checksum.ts'
import type { Database } from '../inspect/database.ts'

interface FloorChecksumBase extends Pick<FloorChecksumPorts, 'log' | 'clock'> {
  readonly metrics: FloorChecksumPorts['observer']
  readonly pool: Database
}

/** The checksum of a pipeline's floors, with its marks kept in Postgres. */
export function floorChecksum({ log, clock, metrics: observer, pool }: FloorChecksumBase, names: FloorChecksumNames): FloorChecksum {
  return new FloorChecksum({ log, store: new PostgresFloorEvents(pool, names.pipeline), clock, observer }, names)
}

/** The events at the floors of one pipeline, in the table `forebay.floor_events`. */
class PostgresFloorEvents implements FloorEventStore {
  readonly #pool: Database
  readonly #pipeline: string

  constructor(pool: Database, pipeline: string) {
    this.#pool = pool
    this.#pipeline = pipeline
  }

  async floorEvents(): Promise<ReadonlyMap<number, FloorEvent>> {
    const { rows } = await this.#pool.use('reading the events at the floors', (client) =>
      client.query<{ partition: number; offset: string; checksum: string }>(
        `select partition, e."offset", e.checksum from forebay.floor_events e join forebay.floors f using (pipeline, partition)
         where pipeline = $1 and e."offset" <= f.floor order by partition`,
        [this.#pipeline],
      ),
    )
    return new Map(rows.map(({ partition, offset, checksum }) => [partition, { offset: BigInt(offset), checksum }]))
  }

  async keepFloorEvents(events: ReadonlyMap<number, FloorEvent>): Promise<void> {
    // In one order always, so that two owners never wait for each other crosswise.
    const sorted = [...events].toSorted(([a], [b]) => a - b)
    const values = [
      this.#pipeline,
      sorted.map(([partition]) => partition),
      sorted.map(([, { offset }]) => String(offset)),
      sorted.map(([, { checksum }]) => checksum),
    ]
    await this.#pool.use('keeping the events at the floors', (client) =>
      client.query(
        `insert into forebay.floor_events select $1, * from unnest($2::int[], $3::bigint[], $4::text[])
         on conflict (pipeline, partition) do update set "offset" = excluded."offset", checksum = excluded.checksum`,
        values,
      ),
    )
  }
}
