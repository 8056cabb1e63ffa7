/** Checks the database: first the facts in one visit, then a pure judgement. */
import type pg from 'pg'
import { isForebayError } from '../errors.ts'
import type { Database } from '../database/database.ts'
import { spanText } from '../text/time-text.ts'
import type { NodeSettings } from '../config/settings.ts'
import { missingGrants } from '../ledger/schema-rights.ts'
import { sizeText } from '../text/units.ts'
import { checkCatalogue } from '../sinks/postgres-table/catalogue.ts'
import type { PostgresTableDefinition } from '../sinks/postgres-table/postgres-table-definition.ts'
import { planTable } from '../sinks/postgres-table/table-plan.ts'
import type { Finding } from './finding.ts'
import { fail, ok, warn } from './finding.ts'

export interface TableFacts {
  readonly table: string
  /** What start would say against it; null: nothing. */
  readonly problem: string | null
}

export interface DatabaseFacts {
  readonly versionNumber: number
  readonly settings: Readonly<Record<string, string>>
  readonly connections: number
  readonly isStandby: boolean
  readonly hasSchema: boolean
  /** Statements that give this user what it lacks for the schema forebay. */
  readonly missingGrants: readonly string[]
  readonly tables: readonly TableFacts[]
  readonly hotTables: readonly { readonly table: string; readonly liveRows: number; readonly deadRows: number; readonly bytes: number }[]
  /** Longest transaction that does nothing, in milliseconds. */
  readonly idleInTransactionMs: number
  /** A statement_timeout that was set for this role or database; null: none. */
  readonly statementTimeout: string | null
  /** Its clock minus the clock here, half a round trip taken off. */
  readonly skewMs: number
  readonly roundTripMs: number
}

const settingNames = [
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'max_connections',
  'superuser_reserved_connections',
  'autovacuum',
  'default_transaction_read_only',
]
const versionMin = 140_000
const skewMaxMs = 2000
const roundTripMaxMs = 20
const hotBytesMax = 64 * 1024 * 1024
const idleMaxMs = 60_000

/** Throws FB_DATABASE_UNREACHABLE. `tables`: the targets of the pipeline. */
export async function readDatabaseFacts(database: Database, tables: readonly PostgresTableDefinition[]): Promise<DatabaseFacts> {
  const found: TableFacts[] = []
  for (const definition of tables) found.push(await tableFacts(database, definition))
  return database.use('checking the database', async (client) => {
    const startedMs = Date.now()
    const clock = await client.query<{ now: string }>('select (extract(epoch from clock_timestamp()) * 1000)::bigint as now')
    const roundTripMs = Date.now() - startedMs
    const { rows } = await client.query<
      Omit<DatabaseFacts, 'settings' | 'tables' | 'missingGrants' | 'hotTables' | 'skewMs' | 'roundTripMs'>
    >(
      `select current_setting('server_version_num')::int as "versionNumber", pg_is_in_recovery() as "isStandby",
         (select count(*) from pg_stat_activity where backend_type = 'client backend')::int as connections,
         to_regnamespace('forebay') is not null as "hasSchema",
         (select split_part(setting, '=', 2) from pg_db_role_setting s, unnest(setconfig) setting
           where setting like 'statement_timeout=%' and setrole in (0, (select oid from pg_roles where rolname = current_user))
             and setdatabase in (0, (select oid from pg_database where datname = current_database())) limit 1) as "statementTimeout",
         coalesce((select max(extract(epoch from clock_timestamp() - state_change) * 1000)::float8 from pg_stat_activity
           where datname = current_database() and state like 'idle in transaction%'), 0) as "idleInTransactionMs"`,
    )
    const settings = await client.query<{ name: string; setting: string }>('select name, setting from pg_settings where name = any($1)', [
      settingNames,
    ])
    return {
      ...rows[0]!,
      settings: Object.fromEntries(settings.rows.map(({ name, setting }) => [name, setting])),
      missingGrants: await missingGrants(client),
      tables: found,
      hotTables: await hotTables(client),
      skewMs: Number(clock.rows[0]!.now) - (startedMs + roundTripMs / 2),
      roundTripMs,
    }
  })
}

async function tableFacts(database: Database, definition: PostgresTableDefinition): Promise<TableFacts> {
  const { table } = definition
  try {
    await database.use(`checking table ${table}`, (client) => checkCatalogue(client, planTable(definition)))
    return { table, problem: null }
  } catch (error) {
    if (isForebayError(error, 'FB_CATALOGUE') || isForebayError(error, 'FB_DATABASE_REFUSED')) return { table, problem: error.message }
    throw error
  }
}

async function hotTables(client: pg.ClientBase): Promise<DatabaseFacts['hotTables']> {
  const { rows } = await client.query<DatabaseFacts['hotTables'][number]>(
    `select relname as table, n_live_tup::float8 as "liveRows", n_dead_tup::float8 as "deadRows", pg_table_size(relid)::float8 as bytes
     from pg_stat_user_tables where schemaname = 'forebay' and relname in ('watermarks', 'floors', 'nodes')`,
  )
  return rows
}

/** `nodes`: how many share the database. Pure. */
export function judgeDatabase(facts: DatabaseFacts, { database }: Pick<NodeSettings, 'database'>, nodes: number): Finding[] {
  return [
    ...judgeServer(facts, database.synchronousCommit),
    ...judgeClock(facts),
    ...judgeConnections(facts, database, nodes),
    ...judgeRights(facts),
    ...judgeTables(facts),
  ]
}

function judgeServer({ versionNumber, settings, isStandby }: DatabaseFacts, synchronousCommit: 'on' | 'off'): Finding[] {
  const version = `PostgreSQL ${Math.floor(versionNumber / 10_000)}.${versionNumber % 10_000}`
  const findings = [
    versionNumber >= versionMin
      ? ok('database', version)
      : fail('database', version, 'forebay is not tested with it', 'upgrade to PostgreSQL 14 or newer'),
  ]
  const isOff = (name: string) => settings[name] === 'off'
  if (isStandby)
    findings.push(fail('database', 'it is a standby, which takes no writes', 'no flush commits', 'name the primary in database.url'))
  if (settings['default_transaction_read_only'] === 'on')
    findings.push(
      warn(
        'database',
        'default_transaction_read_only is on',
        'statements outside of flushes fail',
        'alter role … set default_transaction_read_only = off',
      ),
    )
  for (const name of ['fsync', 'full_page_writes']) {
    if (isOff(name))
      findings.push(
        fail(
          'database',
          `${name} is off`,
          'a crash of the machine can damage the database: rows and watermarks alike',
          `set ${name} = on in postgresql.conf and reload`,
        ),
      )
  }
  if (!isOff('fsync') && !isOff('full_page_writes')) findings.push(ok('database', 'writes are forced to the disk'))
  if (isOff('synchronous_commit') && synchronousCommit === 'on')
    findings.push(
      warn(
        'database',
        'synchronous_commit is off at the server, and on in the configuration',
        'a crash forgets the last flushes; their jobs are made again, and readers may see rows vanish meanwhile',
        'turn it on, or say database.synchronousCommit: off to show that it is meant',
      ),
    )
  if (isOff('autovacuum'))
    findings.push(
      fail(
        'database',
        'autovacuum is off',
        'the tables of watermarks grow with every flush until they slow all of them',
        'set autovacuum = on',
      ),
    )
  return findings
}

function judgeClock({ skewMs, roundTripMs }: DatabaseFacts): Finding[] {
  const findings: Finding[] = []
  const skew = `its clock is ${spanText(Math.abs(skewMs))} ${skewMs < 0 ? 'behind' : 'ahead of'} this machine's`
  findings.push(
    Math.abs(skewMs) <= skewMaxMs + roundTripMs
      ? ok('database', skew)
      : warn(
          'database',
          skew,
          'nothing is lost by it, but latencies and ages are told wrong, and scheduled tasks run at other times',
          'let both follow NTP',
        ),
  )
  if (roundTripMs > roundTripMaxMs)
    findings.push(
      warn(
        'database',
        `a round trip takes ${roundTripMs} ms`,
        'a flush needs at least four, so cadences below that cannot be kept',
        'run nodes nearer to the database',
      ),
    )
  return findings
}

function judgeConnections(
  { settings, connections, statementTimeout }: DatabaseFacts,
  { poolMax }: NodeSettings['database'],
  nodes: number,
): Finding[] {
  const most = Number(settings['max_connections'] ?? 100) - Number(settings['superuser_reserved_connections'] ?? 3)
  const needed = poolMax * nodes
  const what = `${nodes} nodes use up to ${needed} of ${most} connections (${connections} are open now)`
  const findings = [
    needed <= most * 0.8
      ? ok('database', what)
      : (needed > most ? fail : warn)(
          'database',
          what,
          'nodes, or other programs, are refused a connection when all are busy',
          'raise max_connections, or lower database.poolMax',
        ),
  ]
  if (statementTimeout !== null)
    findings.push(
      warn(
        'database',
        `statement_timeout is set to ${statementTimeout} for this role or database`,
        'forebay sets its own for its connections; a pooler in between may not let it, and flushes end early then',
        'set it at least as high as database.statementTimeout',
      ),
    )
  return findings
}

function judgeRights({ hasSchema, missingGrants: grants, tables }: DatabaseFacts): Finding[] {
  const findings: Finding[] = [
    grants.length === 0
      ? ok('database', hasSchema ? 'the schema forebay is there and may be used' : 'the schema forebay is made by the first start')
      : fail(
          'database',
          hasSchema
            ? 'this role may not use the schema forebay as a node does'
            : 'there is no schema forebay, and this role may not make it',
          'no node starts',
          `run as its owner: ${grants.join('; ')}; or make it for this role: forebay ledger sql --grant-to …`,
        ),
  ]
  for (const { table, problem } of tables) {
    findings.push(
      problem === null
        ? ok('database', `table ${table} is as the pipeline needs it, and may be written`)
        : fail('database', problem, 'start refuses', 'alter the table or the pipeline as it says'),
    )
  }
  return findings
}

function judgeTables({ hotTables: tables, idleInTransactionMs }: DatabaseFacts): Finding[] {
  const findings = tables
    .filter(({ bytes, deadRows, liveRows }) => bytes > hotBytesMax && deadRows > 10 * liveRows)
    .map(({ table, bytes, deadRows }) =>
      warn(
        'database',
        `forebay.${table} takes ${sizeText(bytes)}, with ${deadRows} dead rows`,
        'flushes read more pages than they need',
        `end long transactions, then vacuum full forebay.${table} (short, while nodes wait)`,
      ),
    )
  if (idleInTransactionMs > idleMaxMs)
    findings.push(
      warn(
        'database',
        `a transaction has been idle for ${spanText(idleInTransactionMs)}`,
        'it keeps dead rows of the hot tables from being removed, and may hold locks',
        `select pid, query from pg_stat_activity where state like 'idle in%'`,
      ),
    )
  return findings
}
