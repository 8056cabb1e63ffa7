/**
 * What `forebay replay` connects to.
 *
 * A replay disturbs the live pipeline as little as it can: small fetches through a cursor of its own, one connection of its own to the
 * database, and a low priority for its process.
 */
import { randomBytes } from 'node:crypto'
import { ForebayError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import type { JobLines } from '../grid/segment.ts'
import { eventKey } from '../ingest/converter.ts'
import type { Converter } from '../ingest/converter.ts'
import { openDatabase, openEventLog } from './servers.ts'
import type { Database } from '../database/database.ts'
import { converterOf } from '../ingest/converter-of.ts'
import { chosenTasks, trackedTasks } from '../config/fingerprint-of.ts'
import { Parts } from '../node/parts.ts'
import type { NodeSettings } from '../config/settings.ts'
import { PostgresCheckSession } from '../replay/postgres-check-session.ts'
import { PostgresReplayLedger, beginningOf, readLedgerState } from '../replay/postgres-replay-ledger.ts'
import type { LedgerState } from '../replay/postgres-replay-ledger.ts'
import { PostgresReplayProgress, insertReplay, selectReplays } from '../replay/postgres-replays.ts'
import type { NewReplay } from '../replay/postgres-replays.ts'
import { PostgresSession, sessionLock } from '../ledger/postgres-session.ts'
import type { PostgresSessionOptions } from '../ledger/postgres-session.ts'
import { PostgresTransaction } from '../ledger/postgres-transaction.ts'
import { checkSameLog } from '../epochs/same-log.ts'
import type { Pipeline, TaskDefinition } from '../pipeline/pipeline.ts'
import type { History } from '../replay/verify-merged.ts'
import type { KeyFilter } from '../replay/range-converter.ts'
import type { ReplayRecord } from '../replay/replay-store.ts'
import type { MergedTableCheck, PlainTableCheck } from '../replay/table-check.ts'
import { SystemClock } from '../schedule/clock.ts'
import type { Clock } from '../schedule/clock.ts'
import { createMergedTableCheck, createPlainTableCheck } from '../replay/postgres-table-check.ts'
import type { PostgresTableDefinition } from '../sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../sinks/postgres-table/postgres-table.ts'
import { planTable, quotedTable } from '../sinks/postgres-table/table-plan.ts'
import type { TransactionalSink } from '../sinks/running-sink.ts'
import { writeIsolating } from '../work/isolate.ts'
import { tableOf } from '../sinks/traits.ts'

/** Bytes of one fetch of a replay: it never asks for much at once. */
const fetchBytesMax = 256 * 1024
/** A comparison of a large table without an index takes its time. */
const comparisonTimeoutMsMin = 300_000

export interface ReplayBase {
  readonly settings: NodeSettings
  readonly pipeline: Pipeline
  readonly clock: Clock
  readonly log: EventLog
  readonly database: Database
  readonly state: LedgerState
  /** As a node converts: every task, the limits of the active epoch. */
  readonly converter: Converter
  /** Of the converter, in its order. */
  readonly tasks: readonly TaskDefinition[]
}

/** A table of one task: the live one, or one of the same shape. */
export interface TaskTable {
  readonly task: string
  readonly definition: PostgresTableDefinition
}

/** Throws FB_DATABASE_WRONG when the pipeline never ran, FB_IDENTITY when the log is another than the ledger's, and what the servers throw. */
export async function openReplay(
  settings: NodeSettings,
  pipeline: Pipeline,
  { parts, warn }: { parts: Parts; warn(sentence: string): void },
): Promise<ReplayBase> {
  const database = parts.use(openDatabase(settings))
  const log = parts.use(openEventLog({ ...settings, events: { ...settings.events, fetchBytesMax } }, pipeline))
  const clock = new SystemClock()
  const state = await database.use(`reading the ledger of pipeline "${pipeline.name}"`, (client) => readLedgerState(client, pipeline.name))
  await checkSameLog({ log, database, warn }, { pipeline: pipeline.name, topic: pipeline.source.topic })
  const tasks = chosenTasks(settings, pipeline)
  await database.use('checking tables', async (client) => {
    for (const table of tasks.flatMap((task) => tableOf(task) ?? [])) await createPostgresTable(table, client)
  })
  const converter = converterOf(pipeline, tasks, { ...state.fingerprint, tracked: trackedTasks(tasks) })
  return { settings, pipeline, clock, log, database, state, converter, tasks }
}

type Client = Parameters<typeof createPostgresTable>[1]

/** Only events of `key`, as the pipeline takes it. */
export function keyFilterOf({ pipeline }: ReplayBase, key: string): KeyFilter {
  return { key, keyOf: (record, partition) => eventKey(pipeline, record, partition) }
}

/** `table` in the schema of the live one, unless it says its own. Throws FB_USAGE for a name Postgres would cut. */
export function tableLike(task: TaskDefinition, table: string | undefined): TaskTable {
  const { name } = task
  const definition = tableOf(task)
  if (definition === undefined) throw new ForebayError('FB_USAGE', `task ${name} has no table`)
  if (table === undefined) return { task: name, definition }
  const { schema } = planTable(definition)
  const full = table.includes('.') || schema === null ? table : `${schema}.${table}`
  const parts = full.split('.')
  const isGood = parts.length <= 2 && parts.every((part) => part !== '' && Buffer.byteLength(part) <= 63 && !/[\0-\x1f]/.test(part))
  if (!isGood) throw new ForebayError('FB_USAGE', `--into takes a table or schema.table, each name of at most 63 bytes; not ${table}`)
  return { task: name, definition: { ...definition, table: full } }
}

/** As SQL names it. */
export function sqlNameOf({ definition }: TaskTable): string {
  return quotedTable(planTable(definition))
}

/** Throws FB_CATALOGUE. */
export function openSink({ database }: ReplayBase, { definition }: TaskTable): Promise<PostgresTable> {
  return database.use(`checking table ${definition.table}`, (client) => createPostgresTable(definition, client))
}

/** Makes `table` like `live` and writes down the replay; resolves to its id. Throws FB_USAGE when the table is not fit, FB_SCHEMA. */
export function createReplay(
  { database, pipeline }: ReplayBase,
  table: TaskTable,
  live: TaskTable,
  replay: Omit<NewReplay, 'targetSql' | 'like' | 'liveTables'>,
): Promise<number> {
  const liveTables = pipeline.tasks.filter((task) => tableOf(task) !== undefined).map((task) => sqlNameOf(tableLike(task, undefined)))
  return database.use('beginning a replay', (client) =>
    insertReplay(client, { ...replay, targetSql: sqlNameOf(table), like: sqlNameOf(live), liveTables }),
  )
}

/** Replay `id` of the pipeline, or undefined. */
export async function readReplay({ database, pipeline }: ReplayBase, id: number): Promise<ReplayRecord | undefined> {
  const [record] = await database.use('reading the replay', (client) => selectReplays(client, pipeline.name, id))
  return record
}

/** The replays of `pipeline`, the newest first. */
export function listReplays(database: Database, pipeline: string): Promise<ReplayRecord[]> {
  return database.use('listing replays', (client) => selectReplays(client, pipeline))
}

/** The progress of replay `id`, under its lock. Throws FB_FENCED when another process has it. */
export async function openProgress({ settings }: ReplayBase, id: number, parts: Parts): Promise<PostgresReplayProgress> {
  const progress = parts.use(new PostgresReplayProgress(id, sessionOptions(settings, `forebay replay ${id}`)))
  await progress.open()
  return progress
}

export interface OpenedCheck {
  readonly session: PostgresCheckSession
  readonly ledger: PostgresReplayLedger
  /** Plain inserts, or one row a key. */
  readonly check:
    | { readonly kind: 'plain'; readonly of: PlainTableCheck<PostgresTransaction> }
    | { readonly kind: 'merged'; readonly of: MergedTableCheck<PostgresTransaction> }
}

/** A connection that compares `table`; for a repair under the lock of the table. Throws FB_FENCED, FB_CATALOGUE, FB_PIPELINE. */
export async function openCheck(
  base: ReplayBase,
  table: TaskTable,
  { isRepair, isOfKey }: { isRepair: boolean; isOfKey: boolean },
  parts: Parts,
): Promise<OpenedCheck> {
  const { settings, pipeline, state, database } = base
  const { definition } = table
  const name = await database.use(`looking for table ${definition.table}`, async (client) => {
    const { rows } = await client.query<{ name: string | null }>('select to_regclass($1)::oid::text as name', [sqlNameOf(table)])
    if (isRepair) await checkOtherTasks(client, base, table)
    return rows[0]?.name ?? definition.table
  })
  demandActive(state, pipeline.name, table.task)
  const lock = {
    key: isRepair ? sessionLock(`repair ${name}`) : sessionLock(`comparison ${randomBytes(16).toString('hex')}`),
    busy: `another repair of table ${definition.table} is under way; wait for its end, or look for "forebay repair" in pg_stat_activity`,
  }
  const options = sessionOptions(settings, isRepair ? 'forebay repair' : 'forebay verify')
  const statementTimeoutMs = Math.max(comparisonTimeoutMsMin, options.statementTimeoutMs)
  const session = parts.use(new PostgresSession({ ...options, statementTimeoutMs, lock }))
  const check = await session.use(`checking table ${definition.table}`, async (client): Promise<OpenedCheck['check']> =>
    (definition.upsertOn ?? []).length > 0
      ? { kind: 'merged', of: await createMergedTableCheck(definition, client) }
      : { kind: 'plain', of: await createPlainTableCheck(definition, client, { isOfKey }) },
  )
  return { session: new PostgresCheckSession(session), ledger: new PostgresReplayLedger(pipeline.name, state), check }
}

/** Rows of one task have no place in the live table of another; two tasks may share one. Throws FB_USAGE. */
async function checkOtherTasks(client: Client, { pipeline }: ReplayBase, table: TaskTable): Promise<void> {
  const lives = pipeline.tasks.filter((task) => tableOf(task) !== undefined)
  const { rows } = await client.query<{ task: string }>(
    'select task from unnest($2::text[], $3::text[]) live (task, name) where to_regclass(live.name) = to_regclass($1)',
    [sqlNameOf(table), lives.map(({ name }) => name), lives.map((task) => sqlNameOf(tableLike(task, undefined)))],
  )
  if (rows.length === 0 || rows.some(({ task }) => task === table.task)) return
  throw new ForebayError(
    'FB_USAGE',
    `--into ${table.definition.table}: that is the live table of task ${rows[0]!.task}, not of ${table.task}`,
  )
}

function sessionOptions({ database }: NodeSettings, applicationName: string): Omit<PostgresSessionOptions, 'lock' | 'isLazy'> {
  const { url, statementTimeoutMs, lockTimeoutMs } = database
  return { url, applicationName, statementTimeoutMs, lockTimeoutMs }
}

/** Throws FB_TASKS: what a task that is away missed is no fault of its table, and would come twice when it is back. */
function demandActive({ epoch, fingerprint }: LedgerState, pipeline: string, task: string): void {
  if (fingerprint.tasks.includes(task)) return
  throw new ForebayError(
    'FB_TASKS',
    `Task ${task} is not part of epoch ${epoch} of pipeline "${pipeline}": its table is compared and mended once it runs again.`,
  )
}

/** The floors above which `table` holds its rows, by partition, where they are known. */
export function beganAtOf({ state }: ReplayBase, table: TaskTable): ReadonlyMap<number, bigint> {
  return beginningOf(state, { task: table.task, table: sqlNameOf(table) })
}

/** Where the log and the rows of `table` begin, in every partition. */
export async function historiesOf(base: ReplayBase, table: TaskTable): Promise<History[]> {
  const { log, state } = base
  const beganAt = beganAtOf(base, table)
  const histories: History[] = []
  for (const partition of state.floors.keys()) {
    const { startOffset } = await log.range(partition)
    histories.push({ partition, startOffset, beganAt: beganAt.get(partition) ?? null })
  }
  return histories
}

/** Writes `jobs` into a table like `table` and takes everything back: what it costs, and nothing else. Throws FB_SCHEMA. */
export function sampleWrite({ database }: ReplayBase, table: TaskTable, jobs: JobLines): Promise<void> {
  const { definition } = table
  const { schema } = planTable(definition)
  const name = `forebay_dry_run_${randomBytes(6).toString('hex')}`
  const scratch = { ...definition, table: schema === null ? name : `${schema}.${name}` }
  return database.use(`measuring writes like those into ${definition.table}`, async (client) => {
    await client.query(`begin; create table ${quotedTable(planTable(scratch))} (like ${sqlNameOf(table)} including all)`)
    const sink = await createPostgresTable(scratch, client)
    const transaction = new PostgresTransaction(client, { pipeline: '', epoch: 0, topic: '' }, 'measuring')
    // A job that the table would not take is set aside, as by a node.
    await writeIsolating(sink as unknown as TransactionalSink, transaction, [jobs])
    await client.query('rollback')
  })
}
