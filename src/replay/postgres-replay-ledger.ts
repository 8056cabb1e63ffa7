/**
 * What the ledger in Postgres knows about the range of a replay. Reads only, but for the lock that keeps epochs from being opened.
 */
import { epochLock } from '../epochs/opening.ts'
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type pg from 'pg'
import { ForebayError } from '../errors.ts'
import type { Applied, DeadMark, ReplayLedger } from './replay-ledger.ts'
import type { OffsetSpan } from './table-check.ts'
import type { PostgresTransaction } from '../ledger/postgres-transaction.ts'
import { known } from '../epochs/routing-cut.ts'

/** A pipeline's ledger when a command began. */
export interface LedgerState {
  readonly epoch: number
  readonly mark: string
  readonly reset: number
  readonly version: string
  readonly fingerprint: Fingerprint
  readonly topic: string
  readonly floors: ReadonlyMap<number, bigint>
  /** Every version that the pipeline ever ran as. */
  readonly versions: readonly string[]
  /** Where tasks came and tables were emptied; the newest first. */
  readonly beginnings: readonly Beginning[]
}

interface Beginning {
  /** Floors, by partition. */
  readonly floors: ReadonlyMap<number, bigint>
  /** Tables that a reset emptied, as SQL names them. */
  readonly emptied: readonly string[]
  /** Tasks whose jobs begin there. */
  readonly newTasks: readonly string[]
}

/** The floors above which `table` holds the rows of `task`, by partition, where they are known. */
export function beginningOf({ beginnings }: LedgerState, { task, table }: { task: string; table: string }): ReadonlyMap<number, bigint> {
  const last = beginnings.find(({ emptied, newTasks }) => emptied.includes(table) || newTasks.includes(task))
  return last?.floors ?? new Map<number, bigint>()
}

interface EpochRow {
  readonly version: string
  readonly fingerprint: Fingerprint
  readonly cut: unknown
  readonly emptied: readonly string[]
  readonly begun: readonly string[] | null
}

/** Throws FB_DATABASE_WRONG when the pipeline never ran on this database. */
export async function readLedgerState(client: pg.ClientBase, pipeline: string): Promise<LedgerState> {
  const { active, pipeline: stored } = await known(client, pipeline)
  const { rows: floors } = await client.query<{ partition: number; floor: string }>(
    'select partition, floor from forebay.floors where pipeline = $1 order by partition',
    [pipeline],
  )
  const { rows: epochs } = await client.query<EpochRow>(
    `select version, fingerprint, cut, emptied, begun from forebay.epochs where pipeline = $1 order by epoch desc`,
    [pipeline],
  )
  return {
    epoch: active.epoch,
    mark: active.mark,
    reset: active.reset,
    version: active.version,
    fingerprint: active.fingerprint,
    topic: stored.topic,
    floors: new Map(floors.map(({ partition, floor }) => [partition, BigInt(floor)])),
    versions: [...new Set(epochs.map(({ version }) => version))],
    beginnings: epochs.map(({ cut, emptied, fingerprint, begun }, i) => {
      const before = epochs[i + 1]?.fingerprint.tasks ?? []
      return { floors: floorsOf(cut), emptied, newTasks: begun ?? fingerprint.tasks.filter((task) => !before.includes(task)) }
    }),
  }
}

/** `{"0": "41"}`, by partition. */
function floorsOf(cut: unknown): ReadonlyMap<number, bigint> {
  if (typeof cut !== 'object' || cut === null || Array.isArray(cut)) return new Map()
  const entries = Object.entries(cut).filter(([partition, floor]) => /^\d+$/.test(partition) && /^-?\d+$/.test(String(floor)))
  return new Map(entries.map(([partition, floor]) => [Number(partition), BigInt(String(floor))]))
}

export class PostgresReplayLedger implements ReplayLedger<PostgresTransaction> {
  readonly #pipeline: string
  readonly #state: LedgerState

  constructor(pipeline: string, state: LedgerState) {
    this.#pipeline = pipeline
    this.#state = state
  }

  async deadMarks(transaction: PostgresTransaction, task: string, { partition, after, upTo }: OffsetSpan): Promise<DeadMark[]> {
    const { rows } = await transaction.query<{ offset: string; ordinal: number | null }>({
      name: 'forebay-dead-marks',
      text: `select "offset", case when is_job then ordinal end as ordinal from forebay.dead_letters
        where pipeline = $1 and topic = $2 and partition = $3 and "offset" > $4 and "offset" <= $5
          and (task is null or task = $6) and resolution is distinct from 'redriven'`,
      values: [this.#pipeline, this.#state.topic, partition, String(after), String(upTo), task],
    })
    return rows.map((row) => ({ offset: BigInt(row.offset), ordinal: row.ordinal }))
  }

  async applied(transaction: PostgresTransaction, task: string): Promise<ReadonlyMap<number, Applied>> {
    await transaction.query({ text: 'set transaction isolation level repeatable read' })
    const { rows } = await transaction.query<{ partition: number; floor: string; queue: number | null; applied: string | null }>({
      text: `select f.partition, f.floor, w.queue, w.applied from forebay.floors f
        left join forebay.watermarks w on w.pipeline = f.pipeline and w.partition = f.partition and w.task = $2
        where f.pipeline = $1`,
      values: [this.#pipeline, task],
    })
    const found = new Map<number, { floor: bigint; rows: bigint[] }>()
    for (const { partition, floor, queue, applied } of rows) {
      const one = found.get(partition) ?? { floor: BigInt(floor), rows: [] }
      if (queue !== null && applied !== null) one.rows[queue] = BigInt(applied)
      found.set(partition, one)
    }
    return found
  }

  async guard(transaction: PostgresTransaction, { partition, upTo }: OffsetSpan): Promise<void> {
    await transaction.query({ text: `select pg_advisory_xact_lock_shared(${epochLock(this.#pipeline)})` })
    const { rows } = await transaction.query<{ epoch: number; mark: string | null }>({
      text: 'select epoch, mark from forebay.epochs where pipeline = $1 order by epoch desc limit 1',
      values: [this.#pipeline],
    })
    const { epoch, mark } = this.#state
    if (rows[0]?.epoch !== epoch || (rows[0].mark ?? mark) !== mark)
      throw new ForebayError(
        'FB_EPOCH_CLOSED',
        `pipeline "${this.#pipeline}" was reset, or got another version, routing or other tasks, while its table was being mended; what was mended stays; run the repair again`,
      )
    const { rows: floors } = await transaction.query<{ floor: string }>({
      text: 'select floor from forebay.floors where pipeline = $1 and partition = $2 for share',
      values: [this.#pipeline, partition],
    })
    const [now] = floors
    if (now !== undefined && BigInt(now.floor) >= upTo) return
    // The floor never goes back by itself: a server took over, or was restored, without the last commits, and the nodes write these rows again.
    throw new ForebayError(
      'FB_INTERRUPTED',
      `the database lost its last commits while the table was being mended: the floor of partition ${partition} is at ${now?.floor ?? 'nothing'}, and was at ${upTo} or above; nothing was written above it; run the repair again`,
    )
  }
}
