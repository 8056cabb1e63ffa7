/**
 * The open transaction of a flush as a sink of the same database sees it. Usable from the moment the watermarks have
 * moved until the sink's `write` returns.
 */
import type pg from 'pg'
import { from as copyInto } from 'pg-copy-streams'
import { assert } from '../assert.ts'
import { isForebayError } from '../errors.ts'
import type { DeadLetter, LedgerTransaction } from './ledger.ts'
import { databaseError, failureSentence, isConnectionLost } from '../database/postgres-error.ts'
import type { Said } from '../database/postgres-error.ts'
import { sqlOf } from '../database/sql.ts'
import type { Sql } from '../database/sql.ts'
import { copyLetters, letterLines } from './letter-lines.ts'
import type { LetterOrigin } from './letter-lines.ts'

export type { Said } from '../database/postgres-error.ts'

/** One statement; a `name` has it prepared once a connection. */
export interface Statement {
  readonly name?: string
  readonly text: string
  readonly values?: unknown[]
  /** `extended`: a text of several statements is refused. */
  readonly queryMode?: string
}

/** Letters in one insert at most, and bytes of their payloads, of which each becomes two in hexadecimal. */
const lettersPerInsertMax = 5000
const payloadPerInsertMax = 2 * 1024 * 1024
/** From so many letters on, COPY under a savepoint costs less than an insert. */
const copiedMin = 20

const insertLetters = {
  name: 'forebay-bury',
  text: `insert into forebay.dead_letters (pipeline, epoch, topic, partition, queue, "offset", ordinal, task, error, payload, is_payload_cut, is_job, traceparent, event_ms)
    select $1, $2, $3, l.* from unnest($4::int[], $5::int[], $6::bigint[], $7::int[], $8::text[], $9::text[], $10::bytea[], $11::boolean[], $12::boolean[], $13::text[], $14::bigint[]) as l
    on conflict do nothing`,
}

export class PostgresTransaction implements LedgerTransaction {
  readonly #client: pg.ClientBase
  readonly #origin: LetterOrigin
  readonly #doing: string
  /** One statement of a sink's own; throws as `query` does. */
  readonly sql: Sql
  #savepoints = 0
  #isOpen = true

  constructor(client: pg.ClientBase, origin: LetterOrigin, doing: string) {
    this.#client = client
    this.#origin = origin
    this.#doing = doing
    this.sql = sqlOf(async (text, values) => {
      // The extended protocol takes one statement only, so none can hide behind another.
      const statement = { text, values: [...values], queryMode: 'extended' }
      return (await this.query<pg.QueryResultRow>(statement)).rows
    })
  }

  /** Throws FB_BAD_JOB, FB_SCHEMA or FB_DATABASE_UNREACHABLE; afterwards only `attempt` can go on with the transaction. */
  async query<Row extends pg.QueryResultRow>(statement: Statement): Promise<pg.QueryResult<Row>> {
    this.#assertOpen()
    try {
      return await this.#client.query<Row>(statement)
    } catch (error) {
      throw databaseError(error, this.#doing)
    }
  }

  /** Runs `text`, a `COPY … FROM STDIN`, on the bytes of `chunks` as they are; resolves to the number of rows. Fails as `query` does. */
  async copyFrom(text: string, chunks: readonly Buffer[]): Promise<number> {
    this.#assertOpen()
    try {
      return await copy(this.#client, text, chunks)
    } catch (error) {
      throw databaseError(error, this.#doing)
    }
  }

  async attempt<T>(body: () => Promise<T>): Promise<T> {
    const savepoint = `forebay_${++this.#savepoints}`
    await this.query({ text: `savepoint ${savepoint}` })
    let result: T
    try {
      result = await body()
    } catch (error) {
      if (!isBroken(error)) await this.query({ text: `rollback to savepoint ${savepoint}; release savepoint ${savepoint}` })
      throw error
    }
    await this.query({ text: `release savepoint ${savepoint}` })
    return result
  }

  async bury(letters: readonly DeadLetter[]): Promise<void> {
    for (const some of lettersByInsert(letters)) if (!(await this.#copyLetters(some))) await this.#insertLetters(some)
  }

  /** False when one of them is there already, which COPY cannot pass over. */
  async #copyLetters(letters: readonly DeadLetter[]): Promise<boolean> {
    if (letters.length < copiedMin) return false
    try {
      await this.attempt(() => this.copyFrom(copyLetters, [letterLines(this.#origin, letters)]))
      return true
    } catch (error) {
      if (isForebayError(error, 'FB_BAD_JOB')) return false
      throw error
    }
  }

  async #insertLetters(letters: readonly DeadLetter[]): Promise<void> {
    const { pipeline, epoch, topic } = this.#origin
    const columns = [
      letters.map((letter) => letter.partition),
      letters.map((letter) => letter.queue),
      letters.map((letter) => String(letter.offset)),
      letters.map((letter) => letter.ordinal),
      letters.map((letter) => letter.task),
      letters.map((letter) => letter.error.replaceAll('\0', '\ufffd')),
      letters.map((letter) => letter.payload),
      letters.map((letter) => letter.isPayloadCut),
      letters.map((letter) => letter.isJob ?? false),
      letters.map((letter) => letter.traceparent ?? null),
      letters.map((letter) => letter.eventTimeMs ?? null),
    ]
    await this.query({ ...insertLetters, values: [pipeline, epoch, topic, ...columns] })
  }

  /** The sentence of a failure that a block of code caught, as `query` would have thrown it. */
  sentenceOf(said: Said): string {
    return failureSentence(said, this.#doing)
  }

  /** Called by the ledger when `write` has ended: a late statement would land in somebody else's transaction. */
  close(): void {
    this.#isOpen = false
  }

  #assertOpen(): void {
    assert(this.#isOpen, 'a transaction is used only until `write` returns')
  }
}

function* lettersByInsert(letters: readonly DeadLetter[]): Generator<readonly DeadLetter[]> {
  for (let from = 0, to = 0; from < letters.length; from = to) {
    for (let bytes = 0; to < letters.length && to - from < lettersPerInsertMax; to++) {
      bytes += letters[to]!.payload?.length ?? 0
      if (to > from && bytes > payloadPerInsertMax) break
    }
    yield letters.slice(from, to)
  }
}

function isBroken(error: unknown): boolean {
  return error instanceof Error && error.cause !== undefined && isConnectionLost(error.cause)
}

/**
 * Chunks go one at a time, each after the socket took the one before: that is the backpressure, and it leaves the copy
 * stream nothing to send after the server has refused the rows (it would trip over the connection it has let go).
 */
function copy(client: pg.ClientBase, text: string, chunks: readonly Buffer[]): Promise<number> {
  const stream = client.query(copyInto(text))
  return new Promise((resolve, reject) => {
    let next = 0
    let isFailed = false
    const send = () => {
      if (isFailed) return
      const chunk = chunks[next++]
      if (chunk === undefined) stream.end()
      else stream.write(chunk, send)
    }
    stream.on('error', (error: Error) => {
      isFailed = true
      reject(error)
    })
    stream.on('finish', () => resolve(stream.rowCount))
    send()
  })
}
