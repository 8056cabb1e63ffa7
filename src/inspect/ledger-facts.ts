/** What the ledger's database tells of a pipeline: plain reads, no lock that anybody waits for. */
import type { Fingerprint } from '../ledger/fingerprint.ts'
import type pg from 'pg'
import { epochMark } from '../epochs/epoch-mark.ts'
import type { Database } from '../database/database.ts'
import type { EpochFacts, LedgerFacts, LetterFacts, OpenLetters, PartitionLedger, PresenceFacts, SessionFacts } from './facts.ts'

const lettersMax = 50
const openLettersMax = 100_000

/** Throws FB_DATABASE_UNREACHABLE. A database without a ledger gives one without epoch and partitions. */
export function readLedgerFacts(database: Pick<Database, 'use'>, pipeline: string): Promise<LedgerFacts> {
  return database.use('reading the ledger', async (client) => {
    const { rows } = await client.query<{ now: string; has_ledger: boolean; has_nodes: boolean }>(
      `select (extract(epoch from clock_timestamp()) * 1000)::bigint as now, to_regclass('forebay.deployment') is not null as has_ledger,
         to_regclass('forebay.cuts') is not null as has_nodes`,
    )
    const { now, has_ledger: hasLedger, has_nodes: hasNodes } = rows[0]!
    const nowMs = Number(now)
    const sessions = await readSessions(client)
    if (!hasLedger) return { deployment: '', nowMs, epoch: null, partitions: new Map(), sessions, present: [], cut: null, openLetters: [] }
    const deployment = await client.query<{ id: string }>('select id from forebay.deployment')
    const epoch = await readEpoch(client, pipeline)
    return {
      deployment: deployment.rows[0]?.id ?? '',
      nowMs,
      epoch,
      partitions: await readPartitions(client, pipeline, epoch?.fingerprint.tasks ?? []),
      sessions,
      present: hasNodes ? await readPresence(client, pipeline) : [],
      cut: hasNodes ? await readCut(client, pipeline) : null,
      openLetters: await readOpenLetters(client, pipeline),
    }
  })
}

/** Dead letters of the events at `offsets`, oldest first. */
export function readLetters(database: Database, pipeline: string, partition: number, offsets: readonly bigint[]): Promise<LetterFacts[]> {
  return database.use('reading dead letters', async (client) => {
    const { rows } = await client.query<Omit<LetterFacts, 'offset' | 'createdMs'> & { offset: string; created_ms: string }>(
      `select id::text, "offset", queue, ordinal, task, error, attempts, resolution, (extract(epoch from created_at) * 1000)::bigint as created_ms
       from forebay.dead_letters where pipeline = $1 and partition = $2 and "offset" = any($3::bigint[]) order by id limit ${lettersMax}`,
      [pipeline, partition, offsets.map(String)],
    )
    return rows.map(({ offset, created_ms, ...row }) => ({ ...row, offset: BigInt(offset), createdMs: Number(created_ms) }))
  })
}

async function readEpoch(client: pg.ClientBase, pipeline: string): Promise<EpochFacts | null> {
  const { rows } = await client.query<{
    epoch: number
    reset: number
    version: string
    fingerprint: Fingerprint
    opened_ms: string
    mark: string | null
  }>(
    `select epoch, reset, version, fingerprint, (extract(epoch from opened_at) * 1000)::bigint as opened_ms,
       to_jsonb(e) ->> 'mark' as mark -- a ledger of an older release has no such column
     from forebay.epochs e where pipeline = $1 order by epoch desc limit 1`,
    [pipeline],
  )
  const [row] = rows
  if (row === undefined) return null
  const { opened_ms: openedMs, ...epoch } = row
  return { ...epoch, mark: row.mark ?? epochMark(row.fingerprint, row.reset), openedMs: Number(openedMs) }
}

/** With the rows of `tasks`: others are away, and hold no floor. */
async function readPartitions(
  client: pg.ClientBase,
  pipeline: string,
  tasks: readonly string[],
): Promise<ReadonlyMap<number, PartitionLedger>> {
  const { rows } = await client.query<{ partition: number; floor: string; task: string | null; queue: number; applied: string }>(
    `select f.partition, f.floor, w.task, w.queue, w.applied from forebay.floors f
     left join forebay.watermarks w on w.pipeline = f.pipeline and w.partition = f.partition and w.task = any($2::text[]) where f.pipeline = $1`,
    [pipeline, tasks],
  )
  const partitions = new Map<number, { floor: bigint; rows: Map<string, bigint[]> }>()
  for (const { partition, floor, task, queue, applied } of rows) {
    const entry = partitions.get(partition) ?? { floor: BigInt(floor), rows: new Map<string, bigint[]>() }
    partitions.set(partition, entry)
    if (task === null) continue
    const watermarks = entry.rows.get(task) ?? []
    entry.rows.set(task, watermarks)
    watermarks[queue] = BigInt(applied)
  }
  return partitions
}

async function readPresence(client: pg.ClientBase, pipeline: string): Promise<PresenceFacts[]> {
  const { rows } = await client.query<PresenceFacts>(
    `select node, epoch, waits_for as "waitsFor", http, (extract(epoch from now() - beat_at) * 1000)::float8 as "ageMs"
     from forebay.nodes where pipeline = $1 and beat_at > now() - interval '1 minute' order by node`,
    [pipeline],
  )
  return rows
}

async function readCut(client: pg.ClientBase, pipeline: string): Promise<LedgerFacts['cut']> {
  const { rows } = await client.query<{ purpose: string; requestedBy: string }>(
    `select purpose, requested_by as "requestedBy" from forebay.cuts where pipeline = $1 and renewed_at > now() - interval '10 seconds'`,
    [pipeline],
  )
  return rows[0] ?? null
}

async function readOpenLetters(client: pg.ClientBase, pipeline: string): Promise<OpenLetters[]> {
  const { rows } = await client.query<OpenLetters>(
    `select task, count(*)::int as count, (array_agg(partition || '/' || "offset" order by id))[1] as "firstAt",
       (array_agg(error order by id))[1] as "firstError"
     from (select id, task, partition, "offset", error from forebay.dead_letters
       where pipeline = $1 and resolved_at is null order by id limit ${openLettersMax}) open
     group by task order by task nulls first limit 100`,
    [pipeline],
  )
  return rows
}

/** Connections of forebay, and those that some connection of this database waits for. */
async function readSessions(client: pg.ClientBase): Promise<SessionFacts[]> {
  const { rows } = await client.query<SessionFacts>(
    `with here as materialized (
       select *, pg_blocking_pids(pid) as blockers from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
     )
     select pid, coalesce(application_name, '') as application, coalesce(usename, '') as "user", host(client_addr) as client,
       coalesce(state, '') as state, case when wait_event_type is null or state like 'idle%' then null else wait_event_type || ': ' || wait_event end as "waitsFor",
       (extract(epoch from clock_timestamp() - xact_start) * 1000)::float8 as "transactionMs",
       (extract(epoch from clock_timestamp() - query_start) * 1000)::float8 as "statementMs",
       left(regexp_replace(query, '\\s+', ' ', 'g'), 1000) as query, blockers as "blockedBy"
     from here
     where (application_name like 'forebay%' and application_name <> 'forebay command' and state <> 'idle')
       or pid in (select unnest(blockers) from here)
     order by pid limit 200`,
  )
  return rows
}
