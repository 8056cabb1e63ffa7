/**
 * The ledger in Postgres: the fence of the protocol (fact 1).
 *
 * It owns the schema `forebay` and the transaction of a flush. A flush is open while `Flush.write` runs and ends in COMMIT, in
 * ROLLBACK, or in an unknown outcome when the connection breaks at COMMIT; the ledger itself remembers nothing in between.
 * Holds I1 and I7: rows are written only after every watermark moved by compare-and-set, under the shared lock of the active
 * epoch. Holds I5: floors are written only upwards, under the row's lock and that same lock.
 */
import { epochLock } from '../epochs/opening.ts'
import type { Epoch, Opening } from '../epochs/opening.ts'
import pg from 'pg'
import { assert, must } from '../assert.ts'
import { ForebayError } from '../errors.ts'
import { isDrainingSql } from '../epochs/drain.ts'
import { openEpoch } from '../epochs/epochs.ts'
import { haltOf, insertHalt } from './halts.ts'
import type { HaltRow } from './halts.ts'
import { assertAdvances, floorAllowedBy, haltRefusal } from './ledger.ts'
import type { Advance, Flush, Ledger, OwnerCapture, PartitionHalt, PartitionView } from './ledger.ts'
import { checkProcess } from '../database/postgres-connection.ts'
import type { PostgresPool } from '../database/postgres-pool.ts'
import { PostgresTransaction } from './postgres-transaction.ts'
import { createSchema } from './schema.ts'
import { openEpochDrained } from '../epochs/version-cut.ts'
import type { VersionCutPorts } from '../epochs/version-cut.ts'

export interface PostgresLedgerOptions extends Opening {
  /** Stays the caller's: the ledger never ends it. */
  readonly pool: PostgresPool
  /** `off` commits before the disk has it: a crash of Postgres may forget the last flushes, and their jobs are made again. */
  readonly synchronousCommit: 'on' | 'off'
  /** How nodes of another version are asked to drain first; undefined: they are not. */
  readonly drain?: Omit<VersionCutPorts, 'database'>
}

interface Opened extends Epoch {
  readonly deployment: string
}

interface EpochRow {
  readonly leaderEpoch: number | null
}

interface WatermarkRow {
  readonly task: string
  readonly queue: number
  readonly applied: string
}

// The rows are locked in their order first, so that two nodes with overlapping queues never wait for each other in a circle. The
// update sees a row that another flush moved meanwhile in its new state, and then leaves it alone.
const compareAndSet = {
  name: 'forebay-compare-and-set',
  text: `with x as materialized (
      select * from unnest($3::int[], $4::int[], $5::bigint[], $6::bigint[]) as x (partition, queue, was, becomes)
    ), locked as materialized (
      select w.partition, w.queue from forebay.watermarks w
      where w.pipeline = $1 and w.task = $2 and (w.partition, w.queue) in (select x.partition, x.queue from x)
      order by w.partition, w.queue for no key update
    )
    update forebay.watermarks w set applied = x.becomes
    from locked l join x using (partition, queue) join forebay.floors f on f.pipeline = $1 and f.partition = l.partition
    where w.pipeline = $1 and w.task = $2 and w.partition = l.partition and w.queue = l.queue
      and (w.applied = x.was or (w.applied < x.was and f.floor = x.was))`,
}

const readPartitions = {
  name: 'forebay-read-partitions',
  text: `select f.partition, f.floor, w.task, w.queue, w.applied, ${isDrainingSql('$1', '$4::int')} as "isDraining",
      h.reason, h.floor as "haltFloor", h.log_end as "logEnd", f.leader_epoch as "leaderEpoch"
    from forebay.floors f left join forebay.watermarks w on w.pipeline = f.pipeline and w.partition = f.partition and w.task = any($3::text[])
    left join forebay.halts h on h.pipeline = f.pipeline and h.partition = f.partition
    where f.pipeline = $1 and f.partition = any($2::int[])`,
}

/**
 * Makes the schema if need be, and joins or opens the pipeline's epoch.
 * Throws FB_DATABASE_WRONG, FB_IDENTITY, FB_FINGERPRINT, FB_ROUTING, FB_EPOCH_CLOSED (`isJoinOnly`), FB_DATABASE_UNREACHABLE, or FB_DATABASE_REFUSED without the right to create the schema.
 */
export async function openPostgresLedger(options: PostgresLedgerOptions): Promise<PostgresLedger> {
  const { pool, drain } = options
  const doing = `opening the ledger of pipeline "${options.pipeline}"`
  const deployment = await pool.use(doing, (client) => createSchema(client))
  const epoch =
    drain === undefined
      ? await pool.use(doing, (client) => openEpoch(client, options))
      : await openEpochDrained({ ...drain, database: pool }, options)
  return new PostgresLedger(options, { deployment, ...epoch })
}

export class PostgresLedger implements Ledger<PostgresTransaction> {
  /** Id of this database's ledger: part of the scope of a segment. */
  readonly deployment: string
  readonly epoch: number
  readonly reset: number
  /** Tells this epoch from another one of its number that a failover forgot. */
  readonly mark: string
  /** What opening found worth telling. */
  readonly warnings: readonly string[]
  /** Set when opening cut the routing over. */
  readonly cutSentence: string | undefined
  readonly #options: PostgresLedgerOptions
  readonly #begin: string
  readonly #pipelineLiteral: string

  constructor(options: PostgresLedgerOptions, opened: Opened) {
    this.deployment = opened.deployment
    this.epoch = opened.epoch
    this.reset = opened.reset
    this.mark = opened.mark
    this.warnings = opened.warnings
    this.cutSentence = opened.cutSentence
    this.#options = options
    this.#pipelineLiteral = pg.escapeLiteral(options.pipeline)
    // One round trip; each statement has its own snapshot, so the epoch is read after the lock is held. Deferred constraints are
    // checked at once: a bad row must not come to light at COMMIT, where nobody could tell which job it was.
    this.#begin = [
      'begin isolation level read committed read write',
      ...(options.synchronousCommit === 'off' ? ['set local synchronous_commit = off'] : []),
      'set constraints all immediate',
      `select pg_advisory_xact_lock_shared(${epochLock(options.pipeline)})`,
      `select epoch, version, mark, pg_backend_pid() as process from forebay.epochs where pipeline = ${this.#pipelineLiteral} order by epoch desc limit 1`,
    ].join(';')
  }

  async read(partition: number): Promise<PartitionView> {
    const [view] = await this.#read(`reading the watermarks of partition ${partition}`, [partition])
    return must(view, 'the view of a partition')
  }

  async readAll(partitions: readonly number[]): Promise<PartitionView[]> {
    return this.#read(`reading the watermarks of ${partitions.length} partitions`, partitions)
  }

  async #read(doing: string, partitions: readonly number[]): Promise<PartitionView[]> {
    const { pool, pipeline, fingerprint } = this.#options
    const { rows } = await pool.use(doing, (client) =>
      client.query<{ partition: number; floor: string; isDraining: boolean } & WatermarkRow & HaltRow & EpochRow>({
        ...readPartitions,
        values: [pipeline, partitions, fingerprint.tasks, this.epoch],
      }),
    )
    return partitions.map((partition) => {
      const own = rows.filter((row) => row.partition === partition)
      return {
        ...this.#viewOf(partition, own[0]?.floor, own),
        ...(own[0]?.isDraining === true ? { isDraining: true } : {}),
        ...haltOf(partition, own[0]),
        ...epochOf(own[0]),
      }
    })
  }

  async settle(capture: OwnerCapture): Promise<PartitionView> {
    const { pool } = this.#options
    const { partition } = capture
    assert(Number.isInteger(partition), 'a partition is a whole number')
    return pool.use(`settling the floor of partition ${partition}`, async (client) => {
      const where = `where pipeline = ${this.#pipelineLiteral} and partition = ${partition}`
      // The rows are read by a statement of its own, after the floor's row is locked.
      const results = await this.#startTransaction(
        client,
        `select floor, leader_epoch as "leaderEpoch", ${isDrainingSql(this.#pipelineLiteral, String(this.epoch))} as "isDraining" from forebay.floors ${where} for update`,
        `select task, queue, applied from forebay.watermarks ${where}`,
        `select reason, floor as "haltFloor", log_end as "logEnd" from forebay.halts ${where}`,
      )
      const [floors, watermarks, halts] = results.slice(-3) as [
        pg.QueryResult<{ floor: string; isDraining: boolean } & EpochRow>,
        pg.QueryResult<WatermarkRow>,
        pg.QueryResult<HaltRow>,
      ]
      const { halt } = haltOf(partition, halts.rows[0])
      if (halt !== undefined) throw haltRefusal(halt)
      const view = this.#viewOf(partition, floors.rows[0]?.floor, watermarks.rows)
      const floor = floorAllowedBy(capture, view)
      assert(floor >= view.floor, 'I5: a floor never goes back')
      const leaderEpoch = laterEpoch(capture.leaderEpoch, floors.rows[0]?.leaderEpoch)
      const isNew = floor > view.floor || leaderEpoch !== (floors.rows[0]?.leaderEpoch ?? undefined)
      const write = isNew ? `update forebay.floors set floor = ${floor}, leader_epoch = ${leaderEpoch ?? 'null'} ${where};` : ''
      await client.query(`${write} commit`)
      const isDraining = floors.rows[0]?.isDraining === true
      return { ...view, floor, ...(isDraining ? { isDraining } : {}), ...(leaderEpoch === undefined ? {} : { leaderEpoch }) }
    })
  }

  async flush(flush: Flush<PostgresTransaction>): Promise<void> {
    const { pool, pipeline, topic, fingerprint } = this.#options
    assert(fingerprint.tasks.includes(flush.task), `task ${flush.task} has watermarks`)
    assertAdvances(flush.advances)
    const doing = `flushing task ${flush.task}`
    await pool.use(doing, async (client) => {
      await this.#startTransaction(client)
      await this.#advance(client, flush)
      const transaction = new PostgresTransaction(client, { pipeline, epoch: this.epoch, topic }, doing)
      try {
        await flush.write(transaction)
      } finally {
        transaction.close()
      }
      const committed = await client.query('commit')
      // A transaction whose failed statement was swallowed answers COMMIT with ROLLBACK, and no error.
      assert(committed.command === 'COMMIT', 'I7: a sink lets the failure of a statement through')
    })
  }

  /** Dead letters of this pipeline so far. */
  async deadLetterCount(): Promise<number> {
    const { pool, pipeline } = this.#options
    const { rows } = await pool.use('counting dead letters', (client) =>
      client.query<{ count: string }>('select count(*) from forebay.dead_letters where pipeline = $1', [pipeline]),
    )
    return Number(rows[0]?.count)
  }

  async halt(halt: PartitionHalt): Promise<void> {
    const { pool, pipeline } = this.#options
    await pool.use(`halting partition ${halt.partition}`, (client) => insertHalt(client, pipeline, halt))
  }

  /** BEGIN, the shared lock of the epoch and its check, then the statements `more`; throws FB_EPOCH_CLOSED. */
  async #startTransaction(client: pg.ClientBase, ...more: readonly string[]): Promise<pg.QueryResult[]> {
    const results = (await client.query([this.#begin, ...more].join(';'))) as unknown as pg.QueryResult[]
    const checks = results.length - 1 - more.length
    const active = must(
      results[checks]?.rows[0] as { epoch: number; version: string; mark: string | null; process: number } | undefined,
      'the active epoch',
    )
    checkProcess(client, active.process)
    if (active.epoch !== this.epoch || active.mark !== this.mark) {
      const { pipeline, fingerprint } = this.#options
      if (active.epoch === this.epoch)
        throw new ForebayError(
          'FB_EPOCH_CLOSED',
          `Epoch ${this.epoch} of pipeline "${pipeline}" is another one than the epoch ${this.epoch} of this node, which the database forgot in a failover.`,
        )
      throw new ForebayError(
        'FB_EPOCH_CLOSED',
        active.version === fingerprint.version
          ? `Pipeline "${pipeline}" is at epoch ${active.epoch}, this node at epoch ${this.epoch}, which was closed by a reset, another routing or other tasks.`
          : `Pipeline "${pipeline}" is at epoch ${active.epoch} (version ${active.version}), this node at epoch ${this.epoch} (version ${fingerprint.version}); restart it with the new version.`,
      )
    }
    return results
  }

  async #advance(client: pg.ClientBase, { task, advances }: Flush<PostgresTransaction>): Promise<void> {
    if (advances.length === 0) return
    const { rowCount } = await client.query({ ...compareAndSet, values: [this.#options.pipeline, task, ...columnsOf(advances)] })
    if (rowCount === advances.length) return
    throw new ForebayError(
      'FB_FENCED',
      `Another node moved ${advances.length - (rowCount ?? 0)} of the ${advances.length} watermarks of task ${task} first; nothing was written.`,
    )
  }

  #viewOf(partition: number, floor: string | undefined, found: readonly WatermarkRow[]): PartitionView {
    const { pipeline, fingerprint } = this.#options
    if (floor === undefined) {
      throw new ForebayError(
        'FB_DATABASE_WRONG',
        `The ledger of pipeline "${pipeline}" has no partition ${partition}; was the schema forebay emptied while nodes ran? Restart them.`,
      )
    }
    const rows = new Map<string, bigint[]>(fingerprint.tasks.map((task) => [task, new Array<bigint>(fingerprint.queues).fill(-1n)]))
    for (const { task, queue, applied } of found) {
      const watermarks = rows.get(task)
      if (watermarks !== undefined && queue < fingerprint.queues) watermarks[queue] = BigInt(applied)
    }
    return { partition, floor: BigInt(floor), rows }
  }
}

function epochOf(row: EpochRow | undefined): Pick<PartitionView, 'leaderEpoch'> {
  return row === undefined || row.leaderEpoch === null ? {} : { leaderEpoch: row.leaderEpoch }
}

/** Never back: of two owners the later one may know less (rule 21). */
function laterEpoch(own: number | undefined, kept: number | null | undefined): number | undefined {
  assert(own === undefined || Number.isInteger(own), 'a leader epoch is a whole number')
  if (own === undefined || kept === null || kept === undefined) return own ?? kept ?? undefined
  return Math.max(own, kept)
}

function columnsOf(advances: readonly Advance[]): unknown[] {
  return [
    advances.map(({ partition }) => partition),
    advances.map(({ queue }) => queue),
    advances.map(({ from }) => String(from)),
    advances.map(({ to }) => String(to)),
  ]
}
