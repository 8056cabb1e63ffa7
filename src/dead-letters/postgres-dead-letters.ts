/**
 * The dead letters in Postgres. A redrive is one transaction: the letter's row is locked, its rows are written, and the letter is
 * noted as redriven, so that whatever is killed when, its jobs are written once. It shares the lock of the epoch with
 * the flushes: a reset never comes in between.
 */
import { epochLock } from '../epochs/opening.ts'
import type pg from 'pg'
import { assert } from '../assert.ts'
import type { DeadLetterFilter, DeadLetterRow, DeadLetters } from './dead-letters.ts'
import { ForebayError } from '../errors.ts'
import type { Database } from '../database/database.ts'
import type { EpochName } from '../ledger/permissions.ts'
import { PostgresTransaction } from '../ledger/postgres-transaction.ts'

interface LetterRecord extends Omit<DeadLetterRow, 'offset'> {
  readonly offset: string
}

const columns = `id::text, topic, partition, "offset"::text, ordinal, task, is_job as "isJob", error, payload, is_payload_cut as "isPayloadCut",
  created_at as "createdAt", attempts, resolved_at as "resolvedAt", resolution, reason, traceparent, event_ms::float8 as "eventTimeMs"`
const order = 'partition, dead_letters."offset", ordinal, dead_letters.id'
const errorCharsMax = 1000

export class PostgresDeadLetters implements DeadLetters<PostgresTransaction> {
  readonly #database: Database
  readonly #pipeline: string
  readonly #epoch: EpochName

  /** Letters are redriven while `epoch` is the active one. */
  constructor(database: Database, pipeline: string, epoch: EpochName) {
    this.#database = database
    this.#pipeline = pipeline
    this.#epoch = epoch
  }

  async count(filter: DeadLetterFilter): Promise<number> {
    const { where, values } = this.#where(filter)
    const { rows } = await this.#database.use('counting dead letters', (client) =>
      client.query<{ total: string }>(`select count(*) as total from forebay.dead_letters where ${where}`, values),
    )
    return Number(rows[0]?.total)
  }

  async ids(filter: DeadLetterFilter, countMax: number): Promise<string[]> {
    const { where, values } = this.#where(filter)
    const { rows } = await this.#database.use('looking for dead letters', (client) =>
      client.query<{ id: string }>(`select id::text from forebay.dead_letters where ${where} order by ${order} limit ${countMax}`, values),
    )
    return rows.map(({ id }) => id)
  }

  async read(ids: readonly string[]): Promise<DeadLetterRow[]> {
    const { rows } = await this.#database.use('reading dead letters', (client) =>
      client.query<LetterRecord>(
        `select ${columns} from forebay.dead_letters where pipeline = $1 and id = any($2::bigint[]) order by ${order}`,
        [this.#pipeline, ids],
      ),
    )
    return rows.map((row) => ({ ...row, offset: BigInt(row.offset) }))
  }

  async redrive(id: string, write: (transaction: PostgresTransaction) => Promise<void>, isDry: boolean): Promise<boolean> {
    const doing = `redriving dead letter ${id}`
    return this.#database.use(doing, async (client) => {
      await client.query(
        `begin isolation level read committed read write; set constraints all immediate; select pg_advisory_xact_lock_shared(${epochLock(this.#pipeline)})`,
      )
      await this.#checkEpoch(client)
      const { rows } = await client.query<{ epoch: number; topic: string }>(
        'select epoch, topic from forebay.dead_letters where pipeline = $1 and id = $2 and resolved_at is null for update skip locked',
        [this.#pipeline, id],
      )
      const [letter] = rows
      if (letter !== undefined) {
        const transaction = new PostgresTransaction(client, { ...letter, pipeline: this.#pipeline }, doing)
        try {
          await write(transaction)
        } finally {
          transaction.close()
        }
        await client.query(`update forebay.dead_letters set resolved_at = now(), resolution = 'redriven' where id = $1`, [id])
      }
      const ended = await client.query(isDry || letter === undefined ? 'rollback' : 'commit')
      assert(isDry || letter === undefined || ended.command === 'COMMIT', 'a sink lets the failure of a statement through')
      return letter !== undefined
    })
  }

  /** Throws FB_EPOCH_CLOSED: another epoch may convert otherwise, or run other tasks. */
  async #checkEpoch(client: pg.ClientBase): Promise<void> {
    const { rows } = await client.query<{ epoch: number; mark: string | null }>(
      'select epoch, mark from forebay.epochs where pipeline = $1 order by epoch desc limit 1',
      [this.#pipeline],
    )
    const { epoch, mark } = this.#epoch
    if (rows[0]?.epoch === epoch && (rows[0].mark ?? mark) === mark) return
    throw new ForebayError(
      'FB_EPOCH_CLOSED',
      `Another epoch of pipeline "${this.#pipeline}" was opened meanwhile; what was redriven stays, run the command again for the rest.`,
    )
  }

  async fail(id: string, error: string): Promise<void> {
    await this.#database.use(`noting the failure of dead letter ${id}`, (client: pg.ClientBase) =>
      client.query(
        'update forebay.dead_letters set error = $3, attempts = attempts + 1 where pipeline = $1 and id = $2 and resolved_at is null',
        [this.#pipeline, id, error.replaceAll('\0', '\ufffd').slice(0, errorCharsMax)],
      ),
    )
  }

  async discard(ids: readonly string[], reason: string): Promise<number> {
    const { rowCount } = await this.#database.use('discarding dead letters', (client) =>
      client.query(
        `update forebay.dead_letters set resolved_at = now(), resolution = 'discarded', reason = $3
         where pipeline = $1 and id = any($2::bigint[]) and resolved_at is null`,
        [this.#pipeline, ids, reason],
      ),
    )
    return rowCount ?? 0
  }

  #where(filter: DeadLetterFilter): { where: string; values: unknown[] } {
    const values: unknown[] = [this.#pipeline]
    const clauses = ['pipeline = $1']
    const add = (value: unknown, clause: (parameter: string) => string) => {
      if (value === undefined) return
      clauses.push(clause(`$${values.push(value)}`))
    }
    if (filter.isOpenOnly) clauses.push('resolved_at is null')
    if (filter.task === null) clauses.push('task is null')
    add(filter.task ?? undefined, (p) => `task = ${p}`)
    add(filter.ids, (p) => `id = any(${p}::bigint[])`)
    add(filter.error, (p) => `position(lower(${p}) in lower(error)) > 0`)
    add(filter.from, (p) => `created_at >= ${p}`)
    add(filter.to, (p) => `created_at <= ${p}`)
    add(filter.partition, (p) => `partition = ${p}`)
    add(filter.offset === undefined ? undefined : String(filter.offset), (p) => `"offset" = ${p}::bigint`)
    return { where: clauses.join(' and '), values }
  }
}
