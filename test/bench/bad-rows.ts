/**
 * `npm run bench:bad-rows`: how much of the rate of good rows stays when half of the rows of each flush are refused? Flushes of 5,000 jobs
 * through the real ledger, sink and search for bad jobs, in turns with flushes of good ones into the same table; medians of the
 * rounds. Prints one line of JSON: for each reason of a refusal good rows a second without bad ones, with them, and the ratio.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { JobLines } from '../../src/grid/segment.ts'
import { discardPostgres, startPostgres } from '../../src/launch/postgres-server.ts'
import { startWatchdog } from '../../src/launch/start-watchdog.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { openPostgresLedger } from '../../src/ledger/postgres-ledger.ts'
import type { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import type { ColumnType } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { writeIsolating } from '../../src/work/isolate.ts'
import { testPool } from '../support/postgres-database.ts'

const count = 5000
const rounds = 5

interface Case {
  readonly reason: string
  /** Of the table's column `v`, or of its column `n`, which counts up over all flushes. */
  readonly v: string
  readonly n?: string
  readonly type?: ColumnType
  readonly upsertOn?: string[]
  readonly good?: unknown
  readonly bad?: unknown
}

const cases: readonly Case[] = [
  { reason: 'check', v: `text check (v <> 'bad')` },
  { reason: 'length', v: 'varchar(4)', bad: 'too long' },
  // A column that is NOT NULL is refused at start when the pipeline may give null; a check may still say so.
  { reason: 'null', v: 'text check (v is not null)', type: 'text?', bad: null },
  { reason: 'domain', v: 'short', bad: 'too long' },
  { reason: 'foreign key', v: 'int references parents', type: 'int', good: 7, bad: -7 },
  { reason: 'unique index', v: 'text', n: 'int unique' },
  { reason: 'trigger', v: 'text' },
  { reason: 'check, under a key', v: `text check (v <> 'bad')`, n: 'int primary key', upsertOn: ['n'] },
  { reason: 'foreign key, under a key', v: 'int references parents', n: 'int primary key', upsertOn: ['n'], type: 'int', good: 7, bad: -7 },
]

/** Where the watermark stands. */
let applied = -1

const dir = mkdtempSync(join(tmpdir(), 'forebay-bad-rows-'))
const pids = join(dir, 'pids')
const watchdog = startWatchdog(dir, pids)
const postgres = await startPostgres({ dir: join(dir, 'postgres'), pids })
const pool = testPool(postgres.url)
try {
  console.log(JSON.stringify(await measure()))
} finally {
  await pool[Symbol.asyncDispose]()
  await postgres.stop()
  await watchdog.end()
  discardPostgres(join(dir, 'postgres'))
  rmSync(dir, { recursive: true, force: true })
}

async function measure(): Promise<Record<string, { goodPerSecond: number; withBadPerSecond: number; ratio: number }>> {
  const startAt = async () => new Map([[0, -1n]])
  const ledger = await openPostgresLedger({
    pool,
    pipeline: 'bench',
    topic: 't',
    identity: { cluster: 'c', topicId: null, partitions: 1 },
    fingerprint: { queues: 1, hash: 'fnv', segmentBytesMax: 1 << 20, eventBytesMax: 1 << 20, tasks: ['a'], version: '1' },
    fileHash: null,
    synchronousCommit: 'on',
    startAt,
    earliestFloors: startAt,
  })
  await ask(`create domain short as text check (length(value) < 5); create table parents (id int primary key); insert into parents select generate_series(0, 10000);
    create function refuse_bad() returns trigger language plpgsql as $$begin if new.v = 'bad' then raise 'no bad ones'; end if; return new; end$$`)
  const tables = await Promise.all(cases.map(open))
  const times = cases.map(() => ({ good: [] as number[], bad: [] as number[] }))
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, one] of cases.entries()) {
      for (const kind of ['good', 'bad'] as const) {
        const ms = await flush(ledger, tables[i]!, one, kind === 'bad')
        if (round > 0) times[i]![kind].push(ms)
      }
    }
  }
  return Object.fromEntries(
    cases.map(({ reason }, i) => {
      const [good, bad] = [(count * 1000) / median(times[i]!.good), ((count / 2) * 1000) / median(times[i]!.bad)]
      return [reason, { goodPerSecond: Math.round(good), withBadPerSecond: Math.round(bad), ratio: Number((bad / good).toFixed(3)) }]
    }),
  )
}

async function open({ v, n = 'int', type = 'text', upsertOn, reason }: Case, index: number): Promise<PostgresTable> {
  const table = `t${index}`
  await ask(`create table ${table} (n ${n}, v ${v})`)
  if (reason === 'trigger') await ask(`create trigger refuse before insert on ${table} for each row execute function refuse_bad()`)
  const columns = { n: 'int', v: type } as const
  return pool.use('opening', (client) => createPostgresTable({ table, columns, ...(upsertOn === undefined ? {} : { upsertOn }) }, client))
}

/** Milliseconds of one flush, whose odd jobs are refused when `isHalfBad`. */
async function flush(ledger: Ledger<PostgresTransaction>, table: PostgresTable, one: Case, isHalfBad: boolean): Promise<number> {
  const { good = 'good', bad = 'bad', n } = one
  const isRepeated = n === 'int unique'
  const first = applied + 1
  const rows = Array.from({ length: count }, (_, i) => {
    const isBad = isHalfBad && i % 2 === 1
    return { n: first + (isBad && isRepeated ? i - 1 : i), v: isBad && !isRepeated ? bad : good }
  })
  const bytes = Buffer.from(rows.map((row) => `${table.encode(row)}\n`).join(''))
  const deltas = Uint32Array.from(rows, (_, i) => i)
  const of = { task: 'a', kind: 'job' as const, partition: 0, queue: 0 }
  const jobs = [new JobLines(of, bytes, { offset: BigInt(first), timeMs: 0 }, deltas, new Uint32Array(count))]
  let buried = 0
  const startedMs = performance.now()
  await ledger.flush({
    task: 'a',
    advances: [{ partition: 0, queue: 0, from: BigInt(applied), to: BigInt(applied + count) }],
    write: async (transaction) => {
      if (!isHalfBad) return table.write(transaction, jobs)
      const letters = await writeIsolating(table as unknown as TransactionalSink, transaction, jobs)
      await transaction.bury(letters)
      buried = letters.length
    },
  })
  const ms = performance.now() - startedMs
  if (buried !== (isHalfBad ? count / 2 : 0)) throw new Error(`${one.reason}: ${buried} jobs were refused`)
  applied += count
  return ms
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

async function ask(text: string): Promise<void> {
  const client = new pg.Client(postgres.url)
  await client.connect()
  await client.query(text)
  await client.end()
}
