import { FloorChecksum } from './floor-checksum.ts'
import type { FloorChecksumNames, FloorChecksumPorts, FloorEvent, FloorEventStore } from './floor-checksum.ts'
import { insertHalt } from '../ledger/halts.ts'
import type { Database } from '../database/database.ts'

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
      client.query<{ partition: number; offset: string; checksum: string; leaderEpoch: number | null }>(
        `select partition, e."offset", e.checksum, e.leader_epoch as "leaderEpoch" from forebay.floor_events e join forebay.floors f using (pipeline, partition)
         where pipeline = $1 and e."offset" <= f.floor and not exists (select from forebay.halts h where h.pipeline = e.pipeline and h.partition = e.partition) order by partition`,
        [this.#pipeline],
      ),
    )
    return new Map(
      rows.map(({ partition, offset, checksum, leaderEpoch }) => [partition, { offset: BigInt(offset), checksum, leaderEpoch }]),
    )
  }

  async halt(partition: number, reason: string): Promise<void> {
    await this.#pool.use(`halting partition ${partition}`, async (client) => {
      const { rows } = await client.query<{ floor: string }>('select floor from forebay.floors where pipeline = $1 and partition = $2', [
        this.#pipeline,
        partition,
      ])
      await insertHalt(client, this.#pipeline, { partition, reason, floor: BigInt(rows[0]?.floor ?? -1), logEnd: null })
    })
  }

  async keepFloorEvents(events: ReadonlyMap<number, FloorEvent>): Promise<void> {
    // In one order always, so that two owners never wait for each other crosswise.
    const sorted = [...events].toSorted(([a], [b]) => a - b)
    const values = [
      this.#pipeline,
      sorted.map(([partition]) => partition),
      sorted.map(([, { offset }]) => String(offset)),
      sorted.map(([, { checksum }]) => checksum),
      sorted.map(([, { leaderEpoch }]) => leaderEpoch),
    ]
    await this.#pool.use('keeping the events at the floors', (client) =>
      client.query(
        `insert into forebay.floor_events (pipeline, partition, "offset", checksum, leader_epoch)
         select $1, m.* from unnest($2::int[], $3::bigint[], $4::text[], $5::int[]) as m (partition, "offset", checksum, leader_epoch)
         where not exists (select from forebay.halts h where h.pipeline = $1 and h.partition = m.partition)
         on conflict (pipeline, partition) do update
         set "offset" = excluded."offset", checksum = excluded.checksum, leader_epoch = excluded.leader_epoch`,
        values,
      ),
    )
  }
}
