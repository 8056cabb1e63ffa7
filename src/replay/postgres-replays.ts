/**
 * Replays in the tables `forebay.replays` and `forebay.replay_progress`: who asked for what, and how far each partition came.
 */
import pg from 'pg'
import { assert, must } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import type { ReplayRange } from './replay-range.ts'
import type { PartitionProgress, ReplayProgressStore, ReplayRecord, ReplaySpec, ReplayStep, Written } from './replay-store.ts'
import { PostgresSession, sessionLock } from '../ledger/postgres-session.ts'
import type { PostgresSessionOptions } from '../ledger/postgres-session.ts'
import type { PostgresTransaction } from '../ledger/postgres-transaction.ts'

export interface NewReplay {
  readonly pipeline: string
  readonly task: string
  /** Name of the new table, as one writes it in a pipeline, and as SQL names it. */
  readonly target: string
  readonly targetSql: string
  /** The live table as SQL names it: the new one is made like it. */
  readonly like: string
  /** Every table that a task of the pipeline writes into, as SQL names it. */
  readonly liveTables: readonly string[]
  readonly version: string
  readonly fileHash: string | null
  readonly spec: ReplaySpec
  readonly ranges: readonly ReplayRange[]
}

interface RecordRow {
  readonly id: number
  readonly pipeline: string
  readonly task: string
  readonly target: string
  readonly version: string
  readonly file_hash: string | null
  readonly spec: ReplaySpec
  readonly created_at: Date
  readonly finished_at: Date | null
}

interface ProgressRow {
  readonly replay: number
  readonly partition: number
  readonly first_offset: string
  readonly last_offset: string
  readonly passed: string
  readonly events: string
  readonly rows: string
  readonly refused: string
}

/** Key of the lock a running replay holds. */
export function replayLock(id: number): string {
  return sessionLock(`replay ${id}`)
}

/**
 * Makes the target like the live table (or takes an empty one that is there) and writes the replay's rows, in one transaction.
 * Throws FB_USAGE when the target is not fit, FB_SCHEMA without the right to create it.
 */
export async function insertReplay(client: pg.ClientBase, replay: NewReplay): Promise<number> {
  const { pipeline, task, target, version, fileHash, spec, ranges } = replay
  // One at a time: two replays must not both find the same table empty.
  await client.query(`begin; select pg_advisory_xact_lock(${sessionLock(`replays of ${pipeline}`)})`)
  await prepareTarget(client, replay)
  const { rows } = await client.query<{ id: number }>(
    'insert into forebay.replays (pipeline, task, target, version, file_hash, spec) values ($1, $2, $3, $4, $5, $6) returning id',
    [pipeline, task, target, version, fileHash, JSON.stringify(spec)],
  )
  const { id } = must(rows[0], 'the new replay')
  await client.query(
    `insert into forebay.replay_progress (replay, partition, first_offset, last_offset, passed)
     select $1, x.partition, x.first_offset, x.last_offset, x.first_offset - 1
     from unnest($2::int[], $3::bigint[], $4::bigint[]) x (partition, first_offset, last_offset)`,
    [id, ranges.map((one) => one.partition), ranges.map((one) => String(one.firstOffset)), ranges.map((one) => String(one.lastOffset))],
  )
  await client.query('commit')
  return id
}

async function prepareTarget(client: pg.ClientBase, { target, targetSql, like, liveTables }: NewReplay): Promise<void> {
  const refuse = (why: string): never => {
    throw new ForebayError('FB_USAGE', `--into ${target}: ${why}`)
  }
  const { rows } = await client.query<{ oid: string | null; isLive: boolean }>(
    `select to_regclass($1)::oid as oid, exists (select from unnest($2::text[]) live where to_regclass(live) = to_regclass($1)) as "isLive"`,
    [targetSql, liveTables],
  )
  const found = must(rows[0], 'an answer')
  if (found.oid === null) {
    await client.query(`create table ${targetSql} (like ${like} including all)`)
    return
  }
  if (found.isLive)
    refuse(`that is a live table of the pipeline: rows would be there twice; name another table, or mend the live one with --repair`)
  const { rows: unfinished } = await client.query<{ id: number }>(
    `select id from forebay.replays where finished_at is null and to_regclass($1)
       = to_regclass((select string_agg(quote_ident(part), '.') from unnest(string_to_array(target, '.')) part))`,
    [targetSql],
  )
  if (unfinished[0] !== undefined)
    refuse(`replay ${unfinished[0].id} is not done with it; go on with: forebay replay --resume ${unfinished[0].id}`)
  const { rows: filled } = await client.query<{ isFilled: boolean }>(`select exists (select from ${targetSql}) as "isFilled"`)
  if (filled[0]?.isFilled === true)
    refuse('it has rows, which a replay could write a second time; name a table that is not there yet, or empty it')
}

/** Every replay of `pipeline`, the newest first; or the one of `id`. */
export async function selectReplays(client: pg.ClientBase, pipeline: string, id?: number): Promise<ReplayRecord[]> {
  const { rows: schema } = await client.query<{ isThere: boolean }>(`select to_regclass('forebay.replays') is not null as "isThere"`)
  if (schema[0]?.isThere !== true) return []
  const { rows } = await client.query<RecordRow>(
    `select id, pipeline, task, target, version, file_hash, spec, created_at, finished_at from forebay.replays
     where pipeline = $1 and ($2::int is null or id = $2) order by id desc`,
    [pipeline, id ?? null],
  )
  const { rows: progress } = await client.query<ProgressRow>(
    `select replay, partition, first_offset, last_offset, passed, events, rows, refused from forebay.replay_progress
     where replay = any($1::int[]) order by replay, partition`,
    [rows.map((row) => row.id)],
  )
  const { rows: held } = await client.query<{ key: string }>(
    `select ((classid::bigint << 32) | objid::bigint)::text as key from pg_catalog.pg_locks
     where locktype = 'advisory' and objsubid = 1 and granted and database = (select oid from pg_catalog.pg_database where datname = current_database())`,
  )
  const locks = new Set(held.map(({ key }) => key))
  return rows.map((row) => ({
    id: row.id,
    pipeline: row.pipeline,
    task: row.task,
    target: row.target,
    version: row.version,
    fileHash: row.file_hash,
    spec: row.spec,
    state: row.finished_at !== null ? 'done' : locks.has(replayLock(row.id)) ? 'running' : 'stopped',
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    partitions: progress.filter((one) => one.replay === row.id).map(progressOf),
  }))
}

function progressOf(row: ProgressRow): PartitionProgress {
  return {
    partition: row.partition,
    firstOffset: BigInt(row.first_offset),
    lastOffset: BigInt(row.last_offset),
    passed: BigInt(row.passed),
    events: Number(row.events),
    rows: Number(row.rows),
    refused: Number(row.refused),
  }
}

/** The progress of one replay, written on a connection of its own that holds the replay's lock. */
export class PostgresReplayProgress implements ReplayProgressStore<PostgresTransaction> {
  readonly #session: PostgresSession

  constructor(replay: number, options: Omit<PostgresSessionOptions, 'lock' | 'isLazy'>) {
    const busy = `replay ${replay} is running in another process; see forebay replay list`
    this.#session = new PostgresSession({ ...options, lock: { key: replayLock(replay), busy }, isLazy: true })
  }

  /** Takes the lock. Throws FB_FENCED when another process has it. */
  async open(): Promise<void> {
    await this.#session.open('taking the lock of the replay')
  }

  passed(replay: number, partition: number): Promise<bigint> {
    return this.#session.use('reading the progress of the replay', async (client) => {
      const { rows } = await client.query<{ passed: string }>(
        'select passed from forebay.replay_progress where replay = $1 and partition = $2',
        [replay, partition],
      )
      return BigInt(must(rows[0], 'the progress of the partition').passed)
    })
  }

  step(
    { replay, partition, from, to, events }: ReplayStep,
    write: (transaction: PostgresTransaction) => Promise<Written>,
  ): Promise<Written> {
    assert(to > from, 'I5: a replay never goes back')
    return this.#session.transact(`replaying partition ${partition}`, async (transaction) => {
      const { rowCount } = await transaction.query({
        name: 'forebay-replay-step',
        text: `update forebay.replay_progress set passed = $4, events = events + $5, updated_at = clock_timestamp()
          where replay = $1 and partition = $2 and passed = $3`,
        values: [replay, partition, String(from), String(to), events],
      })
      if (rowCount !== 1)
        throw new ForebayError('FB_FENCED', `replay ${replay} moved on in another process; nothing was written; see forebay replay list`)
      const written = await write(transaction)
      await transaction.query({
        name: 'forebay-replay-count',
        text: 'update forebay.replay_progress set rows = rows + $3, refused = refused + $4 where replay = $1 and partition = $2',
        values: [replay, partition, written.rows, written.refused],
      })
      return written
    })
  }

  /** Durable, and with it every batch before it. */
  async finish(replay: number): Promise<void> {
    await this.#session.use('finishing the replay', async (client) => {
      await client.query('update forebay.replays set finished_at = coalesce(finished_at, clock_timestamp()) where id = $1', [replay])
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]()
  }
}
