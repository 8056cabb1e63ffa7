/**
 * `npm run bench:bad-rows`: how much of the rate of good rows stays when half of the rows of each flush are refused? Flushes of 5,000 jobs
 * through the real ledger, sink and search for bad jobs, in turns with flushes of good ones, and with a bare COPY of those in a
 * transaction of its own, into the same table; medians of the rounds. Prints a table: for each reason of a refusal good rows a second of the bare COPY, of a flush without bad
 * jobs, and of one with them, milliseconds of both flushes, and the share of the good rate that is left. `--json` prints one line of JSON.
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
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import type { ColumnType } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { writeIsolating } from '../../src/work/isolate.ts'
import type { BadJobHabit } from '../../src/work/isolate.ts'
import { testPool } from '../support/postgres-database.ts'

const count = 5000
const rounds = 9

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

/** Where the watermark stands, and how many rows were made. */
let applied = -1
let made = 0

const dir = mkdtempSync(join(tmpdir(), 'forebay-bad-rows-'))
const pids = join(dir, 'pids')
const watchdog = startWatchdog(dir, pids)
const postgres = await startPostgres({ dir: join(dir, 'postgres'), pids })
const pool = testPool(postgres.url)
try {
  const measured = await measure()
  if (process.argv.includes('--json')) console.log(JSON.stringify(measured))
  else console.table(measured)
} finally {
  await pool[Symbol.asyncDispose]()
  await postgres.stop()
  await watchdog.end()
  discardPostgres(join(dir, 'postgres'))
  rmSync(dir, { recursive: true, force: true })
}

interface Measured {
  readonly copyPerSecond: number
  readonly goodPerSecond: number
  readonly withBadPerSecond: number
  readonly goodMs: number
  readonly withBadMs: number
  readonly ratio: number
}

async function measure(): Promise<Record<string, Measured>> {
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
  const times = cases.map(() => ({ copy: [] as number[], good: [] as number[], bad: [] as number[] }))
  const habits = cases.map((): BadJobHabit => ({ refused: 0, isCrowded: false }))
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, one] of cases.entries()) {
      for (const kind of ['copy', 'good', 'bad'] as const) {
        const isBad = kind === 'bad'
        const jobs = linesOf(tables[i]!, one, isBad)
        const ms = kind === 'copy' ? await copy(`t${i}`, jobs) : await flush(ledger, tables[i]!, jobs, isBad ? habits[i] : undefined)
        if (round > 0) times[i]![kind].push(ms)
      }
    }
  }
  return Object.fromEntries(
    cases.map(({ reason }, i) => {
      const [copyMs, goodMs, withBadMs] = [median(times[i]!.copy), median(times[i]!.good), median(times[i]!.bad)]
      const perSecond = (rows: number, ms: number) => Math.round((rows * 1000) / ms)
      const [goodPerSecond, withBadPerSecond] = [perSecond(count, goodMs), perSecond(count / 2, withBadMs)]
      const ratio = Number((withBadPerSecond / goodPerSecond).toFixed(3))
      const [goodShort, badShort] = [Number(goodMs.toFixed(1)), Number(withBadMs.toFixed(1))]
      return [
        reason,
        { copyPerSecond: perSecond(count, copyMs), goodPerSecond, withBadPerSecond, goodMs: goodShort, withBadMs: badShort, ratio },
      ]
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

/** The jobs of one flush, whose odd ones are refused when `isHalfBad`. */
function linesOf(table: PostgresTable, one: Case, isHalfBad: boolean): JobLines {
  const { good = 'good', bad = 'bad', n } = one
  const isRepeated = n === 'int unique'
  const first = applied + 1
  const rows = Array.from({ length: count }, (_, i) => {
    const isBad = isHalfBad && i % 2 === 1
    return { n: made + (isBad && isRepeated ? i - 1 : i), v: isBad && !isRepeated ? bad : good }
  })
  made += count
  const bytes = Buffer.from(rows.map((row) => `${table.encode(row)}\n`).join(''))
  const deltas = Uint32Array.from(rows, (_, i) => i)
  const of = { task: 'a', kind: 'job' as const, partition: 0, queue: 0 }
  return new JobLines(of, bytes, { offset: BigInt(first), timeMs: 0 }, deltas, new Uint32Array(count))
}

/** Milliseconds of one flush; with a habit half of the jobs are bad, and searched for as a task does that has met such before. */
async function flush(
  ledger: Ledger<PostgresTransaction>,
  table: PostgresTable,
  jobs: JobLines,
  habit: BadJobHabit | undefined,
): Promise<number> {
  let buried = 0
  const startedMs = performance.now()
  await ledger.flush({
    task: 'a',
    advances: [{ partition: 0, queue: 0, from: BigInt(applied), to: BigInt(applied + count) }],
    write: async (transaction) => {
      if (habit === undefined) return table.write(transaction, [jobs])
      const letters = await writeIsolating(table as unknown as TransactionalSink, transaction, [jobs], habit)
      await transaction.bury(letters)
      buried = letters.length
    },
  })
  const ms = performance.now() - startedMs
  if (buried !== (habit === undefined ? 0 : count / 2)) throw new Error(`${table.label}: ${buried} jobs were refused`)
  applied += count
  return ms
}

/** Milliseconds of the same rows in a COPY and a commit. */
async function copy(table: string, jobs: JobLines): Promise<number> {
  return pool.use('copying', async (client) => {
    const transaction = new PostgresTransaction(client, { pipeline: 'bench', epoch: 1, topic: 't' }, 'copying')
    const startedMs = performance.now()
    await client.query('begin')
    await transaction.copyFrom(`copy ${table} (n, v) from stdin`, [jobs.bytes])
    await client.query('commit')
    return performance.now() - startedMs
  })
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
