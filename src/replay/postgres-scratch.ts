/**
 * A schema of its own in the ledger's database, for measuring: with the tables of a ledger and with tables like the live ones. Nothing
 * outside it is written, and all of it goes when it is disposed of. Whoever dies before leaves it behind; the next one removes it after an hour.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { ForebayError, sentenceOf } from '../errors.ts'
import { PostgresPool } from '../database/postgres-pool.ts'
import type { PostgresPoolOptions } from '../database/postgres-pool.ts'
import { createSchema } from '../ledger/schema.ts'

const prefix = 'forebay_tune_'
const leftBehindMs = 3_600_000

/** A pool whose statements find the tables of the ledger in the scratch schema: the very statements of a node, on other tables. */
class ScratchPool extends PostgresPool {
  readonly #schema: string

  constructor(options: PostgresPoolOptions, schema: string) {
    super(options)
    this.#schema = schema
  }

  override use<T>(doing: string, body: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return super.use(doing, (client) => body(redirected(client, this.#schema)))
  }
}

export class PostgresScratch implements AsyncDisposable {
  readonly schema: string
  /** For a ledger in the scratch schema. */
  readonly pool: PostgresPool
  readonly #plain: PostgresPool
  readonly #warn: (sentence: string) => void
  #tables = 0

  private constructor(plain: PostgresPool, options: PostgresPoolOptions, schema: string, warn: (sentence: string) => void) {
    this.#plain = plain
    this.schema = schema
    this.pool = new ScratchPool(options, schema)
    this.#warn = warn
  }

  /** `warn` is told when something could not be removed. Throws FB_DATABASE_UNREACHABLE, FB_DATABASE_REFUSED without the right to create schemas. */
  static async open(options: PostgresPoolOptions, warn: (sentence: string) => void): Promise<PostgresScratch> {
    const schema = `${prefix}${Date.now().toString(36)}_${randomBytes(4).toString('hex')}`
    const plain = new PostgresPool({ ...options, connectionsMax: 1 })
    const scratch = new PostgresScratch(plain, options, schema, warn)
    try {
      await plain.use('making the scratch schema', dropLeftBehind)
      await scratch.pool.use('making the scratch schema', createSchema)
      return scratch
    } catch (error) {
      await scratch[Symbol.asyncDispose]()
      throw error
    }
  }

  /**
   * Makes a table like `live` (as SQL names it) and resolves to its name. With `isPlain` unique indexes become ordinary ones, since a sample is
   * written again and again. Throws FB_CATALOGUE when there is no `live`.
   */
  createLike(live: string, { isPlain }: { isPlain: boolean }): Promise<string> {
    const name = `${this.schema}.t${this.#tables++}`
    return this.#plain.use(`making a table like ${live}`, async (client) => {
      const { rows } = await client.query<{ oid: string | null }>('select to_regclass($1)::oid as oid', [live])
      const oid = rows[0]?.oid ?? null
      if (oid === null)
        throw new ForebayError('FB_CATALOGUE', `Table ${live} does not exist; create it, since tune measures writes into one like it.`)
      await client.query(`create table ${name} (like ${live} including all${isPlain ? ' excluding indexes' : ''})`)
      if (isPlain) await indexLike(client, name, oid)
      await ownSequences(client, name)
      return name
    })
  }

  /** Never throws: what cannot be removed is told. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool[Symbol.asyncDispose]()
    try {
      await this.#plain.use('removing the scratch schema', (client) => client.query(`drop schema if exists ${this.schema} cascade`))
    } catch (error) {
      this.#warn(
        `the scratch schema could not be removed (${sentenceOf(error)}); remove it with: drop schema if exists ${this.schema} cascade`,
      )
    }
    await this.#plain[Symbol.asyncDispose]()
  }
}

function redirected(client: pg.PoolClient, schema: string): pg.PoolClient {
  const textOf = (text: string) => text.replace(/\bforebay\b(?!-)/g, schema)
  const query = (first: unknown, ...rest: unknown[]) => {
    const statement =
      typeof first === 'string'
        ? textOf(first)
        : // A COPY is an object that the client drives; its text names the table of the sink, which is in the schema already.
          isStatement(first)
          ? { ...first, text: textOf(first.text) }
          : first
    return (client.query as (...all: unknown[]) => unknown).call(client, statement, ...rest)
  }
  return { query } as unknown as pg.PoolClient
}

function isStatement(value: unknown): value is { readonly text: string } {
  return typeof value === 'object' && value !== null && typeof (value as { text?: unknown }).text === 'string' && !('submit' in value)
}

async function indexLike(client: pg.ClientBase, name: string, oid: string): Promise<void> {
  const { rows } = await client.query<{ definition: string }>(
    'select pg_get_indexdef(indexrelid) as definition from pg_catalog.pg_index where indrelid = $1 and indisvalid',
    [oid],
  )
  for (const { definition } of rows) {
    const using = / USING .*$/s.exec(definition)?.[0]
    if (using !== undefined) await client.query(`create index on ${name}${using.replace(/ NULLS NOT DISTINCT/, '')}`)
  }
}

/** A default taken from a sequence would count up the live one. */
async function ownSequences(client: pg.ClientBase, name: string): Promise<void> {
  const { rows } = await client.query<{ column: string }>(
    `select a.attname as column from pg_catalog.pg_attrdef d join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
     where d.adrelid = $1::regclass and pg_get_expr(d.adbin, d.adrelid) like '%nextval(%'`,
    [name],
  )
  for (const [i, { column }] of rows.entries()) {
    const sequence = `${name}_s${i}`
    await client.query(
      `create sequence ${sequence}; alter table ${name} alter column ${pg.escapeIdentifier(column)} set default nextval(${pg.escapeLiteral(sequence)})`,
    )
  }
}

async function dropLeftBehind(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    "select nspname as name from pg_catalog.pg_namespace where starts_with(nspname, $1) and pg_has_role(nspowner, 'usage')",
    [prefix],
  )
  for (const { name } of rows) {
    const madeMs = Number.parseInt(name.slice(prefix.length).split('_')[0] ?? '', 36)
    if (Date.now() - madeMs > leftBehindMs) await client.query(`drop schema if exists ${pg.escapeIdentifier(name)} cascade`)
  }
}
