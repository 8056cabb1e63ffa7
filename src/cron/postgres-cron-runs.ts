/**
 * The book of cron runs in Postgres.
 *
 * The row of a task in forebay.cron_tasks is its lock: whoever begins or runs holds it for the length of the transaction, so two
 * runs of one task never overlap, and a node that dies lets go of it with its connection. A run is fenced by its attempt
 * number: one that was taken over finds another number and does nothing. No node's clock decides anything here.
 */
import pg from 'pg'
import { assert } from '../assert.ts'
import type {
  CronBeginning,
  CronClaim,
  CronPlan,
  CronResult,
  CronRun,
  CronRuns,
  CronSchedule,
  CronState,
  CronWork,
  OpenRun,
} from './cron-runs.ts'
import { ForebayError, isForebayError, sentenceOf } from '../errors.ts'
import { errorOf } from '../thrown.ts'
import { openCronSql } from './postgres-cron-sql.ts'
import { databaseError } from '../database/postgres-error.ts'
import type { PostgresPool } from '../database/postgres-pool.ts'

export interface PostgresCronRunsOptions {
  readonly pool: PostgresPool
  readonly pipeline: string
  /** Unique for this life of the process. */
  readonly node: string
}

/** Runs of a task that the history keeps. */
const historyMax = 1000
/** Skipped times that are written down one by one; of more, the earliest line tells how many came before it. */
const skippedLinesMax = 100
const pruneEvery = 20
const errorCharsMax = 1000
/** Between the transaction that begins a run and the one that runs it, the task's lock is free for a moment. */
const takeoverMs = 2000
/** How soon the server notices that the node of a long statement is gone. */
const connectionCheckMs = 1000
const graceMs = 2000

const msOf = (column: string) => `(extract(epoch from ${column}) * 1000)::bigint`

const readState = `select ${msOf('t.done_to')} as "doneToMs", ${msOf('clock_timestamp()')} as "nowMs", t.expression, t.timezone, r.*
  from forebay.cron_tasks t left join lateral (
    select ${msOf('scheduled_at')} as "scheduledMs", outcome, attempts, node, ceil(greatest(0, extract(epoch from
      case outcome when 'retrying' then retry_at else started_at + interval '${takeoverMs} ms' end - clock_timestamp()) * 1000))::bigint as "waitMs"
    from forebay.cron_runs where pipeline = t.pipeline and task = t.task and outcome in ('running', 'retrying') order by scheduled_at limit 1
  ) r on true
  where t.pipeline = $1 and t.task = $2`

interface StateRow {
  readonly doneToMs: string
  readonly nowMs: string
  readonly expression: string
  readonly timezone: string
  readonly scheduledMs: string | null
  readonly outcome: OpenRun['outcome']
  readonly attempts: number
  readonly node: string
  readonly waitMs: string
}

const abortedState = '25P02'

/** Thrown to leave a connection whose statement may still be running. */
class TimedOut extends Error {}

export class PostgresCronRuns implements CronRuns {
  readonly #pool: PostgresPool
  readonly #pipeline: string
  readonly #node: string
  #runs = 0

  constructor({ pool, pipeline, node }: PostgresCronRunsOptions) {
    this.#pool = pool
    this.#pipeline = pipeline
    this.#node = node
  }

  async open({ task, expression, timezone }: CronSchedule, nowMs: number): Promise<void> {
    await this.#pool.use(`opening cron task ${task}`, (client) =>
      client.query(
        `insert into forebay.cron_tasks as t (pipeline, task, expression, timezone, done_to) values ($1, $2, $3, $4, least(to_timestamp($5::float8 / 1000), clock_timestamp()))
         on conflict (pipeline, task) do update set expression = excluded.expression, timezone = excluded.timezone,
           done_to = greatest(t.done_to, excluded.done_to) where (t.expression, t.timezone) <> (excluded.expression, excluded.timezone)`,
        [this.#pipeline, task, expression, timezone, nowMs],
      ),
    )
  }

  read(schedule: CronSchedule): Promise<CronState> {
    return this.#pool.use(`reading cron task ${schedule.task}`, (client) => this.#state(client, schedule))
  }

  async begin(schedule: CronSchedule, seen: CronState, plan: CronPlan, attemptsMax: number): Promise<CronBeginning> {
    const { task } = schedule
    return this.#pool.use(`beginning cron task ${task}`, async (client) => {
      await client.query('begin isolation level read committed read write')
      const isMine = await this.#lock(client, task, 'for update skip locked')
      const state = isMine ? await this.#state(client, schedule) : undefined
      const claim = state !== undefined && isStill(seen, state) ? await this.#begin(client, schedule, state, plan, attemptsMax) : undefined
      await client.query('commit')
      return claim
    })
  }

  async execute(claim: CronClaim, work: CronWork): Promise<CronResult> {
    try {
      return await this.#pool.use(`running cron task ${claim.task}`, (client) => this.#attempt(client, claim, work))
    } catch (error) {
      // The connection is gone, and with it the transaction, unless it broke just after COMMIT.
      const cause = isForebayError(error) && error.cause instanceof TimedOut ? error.cause : error
      return this.#pool.use(`noting the failure of cron task ${claim.task}`, async (client) => {
        await client.query('begin isolation level read committed read write')
        const result = await this.#noteBroken(client, claim, work, sentenceOf(cause))
        await client.query('commit')
        return result
      })
    }
  }

  async history(countMax: number): Promise<CronRun[]> {
    const { rows } = await this.#pool.use('reading the history of cron tasks', (client) =>
      client.query<Record<'scheduledMs' | 'startedMs' | 'endedMs', string | null> & Omit<CronRun, 'scheduledMs' | 'startedMs' | 'endedMs'>>(
        `select r.task, ${msOf('r.scheduled_at')} as "scheduledMs", r.outcome, r.attempts, r.node, ${msOf('r.started_at')} as "startedMs",
           ${msOf('r.ended_at')} as "endedMs", r.error
         from forebay.cron_tasks t cross join lateral (
           (select * from forebay.cron_runs where pipeline = t.pipeline and task = t.task order by scheduled_at desc limit $2)
           union (select * from forebay.cron_runs where pipeline = t.pipeline and task = t.task and outcome = 'succeeded'
             order by scheduled_at desc limit 1)
         ) r where t.pipeline = $1 order by r.task, r.scheduled_at desc`,
        [this.#pipeline, countMax],
      ),
    )
    const number = (ms: string | null) => (ms === null ? null : Number(ms))
    return rows.map((row) => ({
      ...row,
      scheduledMs: Number(row.scheduledMs),
      startedMs: number(row.startedMs),
      endedMs: number(row.endedMs),
    }))
  }

  async #state(client: pg.ClientBase, { task, expression, timezone }: CronSchedule): Promise<CronState> {
    const { rows } = await client.query<StateRow>(readState, [this.#pipeline, task])
    const [row] = rows
    if (row === undefined) {
      throw new ForebayError(
        'FB_DATABASE_WRONG',
        `The ledger of pipeline "${this.#pipeline}" has no cron task ${task}; was the schema forebay emptied while nodes ran? Restart them.`,
      )
    }
    const { doneToMs, nowMs, scheduledMs, outcome, attempts, node, waitMs } = row
    const open = scheduledMs === null ? undefined : { scheduledMs: Number(scheduledMs), outcome, attempts, node, waitMs: Number(waitMs) }
    return {
      doneToMs: Number(doneToMs),
      nowMs: Number(nowMs),
      open,
      isSuperseded: row.expression !== expression || row.timezone !== timezone,
    }
  }

  async #lock(client: pg.ClientBase, task: string, how: string): Promise<boolean> {
    const { rowCount } = await client.query(`select from forebay.cron_tasks where pipeline = $1 and task = $2 ${how}`, [
      this.#pipeline,
      task,
    ])
    return rowCount === 1
  }

  async #begin(
    client: pg.ClientBase,
    { task }: CronSchedule,
    { open }: CronState,
    { skipped, run }: CronPlan,
    attemptsMax: number,
  ): Promise<CronBeginning> {
    if (open !== undefined && open.attempts >= attemptsMax) {
      const claim = { task, scheduledMs: open.scheduledMs, attempt: open.attempts }
      await this.#end(client, claim, { outcome: 'failed', error: `its node ${open.node} ended in the middle of the run` })
      return 'given-up'
    }
    if (skipped.length > 0) await this.#skip(client, task, skipped)
    if (run === undefined) return skipped.length > 0 ? 'skipped' : undefined
    const { rows } = await client.query<{ attempts: number }>(
      `insert into forebay.cron_runs as r (pipeline, task, scheduled_at, outcome, attempts, node, started_at)
       values ($1, $2, to_timestamp($3::float8 / 1000), 'running', 1, $4, clock_timestamp())
       on conflict (pipeline, task, scheduled_at) do update set outcome = 'running', attempts = r.attempts + 1, node = excluded.node,
         started_at = excluded.started_at, ended_at = null, retry_at = null where r.outcome in ('running', 'retrying')
       returning attempts`,
      [this.#pipeline, task, run, this.#node],
    )
    const [begun] = rows
    assert(begun !== undefined, 'a scheduled time that is decided is not begun again')
    return { task, scheduledMs: run, attempt: begun.attempts }
  }

  async #skip(client: pg.ClientBase, task: string, skipped: readonly number[]): Promise<void> {
    const lines = skipped.slice(-skippedLinesMax)
    const untold = skipped.length - lines.length
    await client.query(
      `insert into forebay.cron_runs (pipeline, task, scheduled_at, outcome, attempts, node, error)
       select $1, $2, to_timestamp(x.ms / 1000), 'skipped', 0, $3, case when x.ms = $5 then $6 end from unnest($4::float8[]) x (ms) on conflict do nothing`,
      [this.#pipeline, task, this.#node, lines, lines[0], untold > 0 ? `and at least ${untold} times before it` : null],
    )
    await this.#decide(client, task, skipped.at(-1)!)
  }

  async #decide(client: pg.ClientBase, task: string, toMs: number): Promise<void> {
    await client.query(
      'update forebay.cron_tasks set done_to = greatest(done_to, to_timestamp($3::float8 / 1000)) where pipeline = $1 and task = $2',
      [this.#pipeline, task, toMs],
    )
  }

  /** One attempt in one transaction. A failure of the work is noted in it, behind a savepoint, so that nobody comes in between. */
  async #attempt(client: pg.ClientBase, claim: CronClaim, work: CronWork): Promise<CronResult> {
    await client.query(`set client_connection_check_interval = ${connectionCheckMs}`).catch(onlyRefusals)
    await client.query(
      `begin isolation level read committed read write; set local statement_timeout = ${work.timeoutMs};
       set local idle_in_transaction_session_timeout = ${work.timeoutMs + graceMs}`,
    )
    if (!(await this.#holds(client, claim))) {
      await client.query('rollback')
      return { outcome: 'lost' }
    }
    await client.query('savepoint forebay_work')
    const before = await transactionOf(client)
    let result: CronResult = { outcome: 'succeeded' }
    try {
      await runWithin(client, work)
      await client.query('release savepoint forebay_work')
      if ((await transactionOf(client)) !== before) throw new TimedOut('its statements ended the transaction of the run')
    } catch (error) {
      if (error instanceof TimedOut) throw error
      await client.query('rollback to savepoint forebay_work')
      result = failureOf(claim, work, databaseSentence(error, claim.task))
    }
    await this.#end(client, claim, result, work.retryMs)
    if (this.#runs++ % pruneEvery === 0) await this.#prune(client, claim.task)
    const committed = await client.query('commit')
    assert(committed.command === 'COMMIT', 'a cron run commits as a whole')
    return result
  }

  /** Takes the lock of the task, and tells whether this attempt is still the one to run. */
  async #holds(client: pg.ClientBase, claim: CronClaim): Promise<boolean> {
    if (!(await this.#lock(client, claim.task, 'for update'))) return false
    return (await this.#outcome(client, claim)) === 'running'
  }

  async #outcome(client: pg.ClientBase, { task, scheduledMs, attempt }: CronClaim): Promise<string | undefined> {
    const { rows } = await client.query<{ outcome: string }>(
      `select outcome from forebay.cron_runs where pipeline = $1 and task = $2 and scheduled_at = to_timestamp($3::float8 / 1000)
         and attempts = $4 and node = $5`,
      [this.#pipeline, task, scheduledMs, attempt, this.#node],
    )
    return rows[0]?.outcome
  }

  async #noteBroken(client: pg.ClientBase, claim: CronClaim, work: CronWork, error: string): Promise<CronResult> {
    await this.#lock(client, claim.task, 'for update')
    const outcome = await this.#outcome(client, claim)
    if (outcome === 'succeeded') return { outcome }
    if (outcome !== 'running') return { outcome: 'lost' }
    const result = failureOf(claim, work, error)
    await this.#end(client, claim, result, work.retryMs)
    return result
  }

  async #end(client: pg.ClientBase, { task, scheduledMs }: CronClaim, result: CronResult, retryMs = 0): Promise<void> {
    const error = 'error' in result ? result.error.replaceAll('\0', '\ufffd').slice(0, errorCharsMax) : null
    await client.query(
      `update forebay.cron_runs set outcome = $4, ended_at = clock_timestamp(), error = $5,
         retry_at = case when $4 = 'retrying' then clock_timestamp() + $6 * interval '1 ms' end
       where pipeline = $1 and task = $2 and scheduled_at = to_timestamp($3::float8 / 1000)`,
      [this.#pipeline, task, scheduledMs, result.outcome, error, retryMs],
    )
    if (result.outcome !== 'retrying') await this.#decide(client, task, scheduledMs)
  }

  async #prune(client: pg.ClientBase, task: string): Promise<void> {
    await client.query(
      `delete from forebay.cron_runs where pipeline = $1 and task = $2 and scheduled_at <= (
         select scheduled_at from forebay.cron_runs where pipeline = $1 and task = $2 order by scheduled_at desc offset $3 limit 1)
         and scheduled_at is distinct from (
           select max(scheduled_at) from forebay.cron_runs where pipeline = $1 and task = $2 and outcome = 'succeeded')`,
      [this.#pipeline, task, historyMax],
    )
  }
}

function isStill(seen: CronState, now: CronState): boolean {
  const isSameRun = seen.open?.scheduledMs === now.open?.scheduledMs && seen.open?.attempts === now.open?.attempts
  return !now.isSuperseded && seen.doneToMs === now.doneToMs && isSameRun && (now.open?.waitMs ?? 0) === 0
}

async function runWithin(client: pg.ClientBase, work: CronWork): Promise<void> {
  const { timeoutMs } = work
  const { sql, close } = openCronSql(client, timeoutMs + graceMs)
  const stop = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      stop.abort()
      reject(new TimedOut(`it took longer than its timeout of ${timeoutMs} ms`))
    }, timeoutMs)
  })
  try {
    const running = runForeign(() => work.run(sql, stop.signal))
    running.catch(() => undefined)
    await Promise.race([running, timeout])
  } finally {
    clearTimeout(timer)
    close()
  }
}

/** What a task's own function throws may be anything: from here on it is an error like others. */
async function runForeign(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (thrown) {
    throw errorOf(thrown)
  }
}

function failureOf({ attempt }: CronClaim, { attemptsMax }: CronWork, error: string): CronResult {
  return { outcome: attempt < attemptsMax ? 'retrying' : 'failed', error }
}

function databaseSentence(error: unknown, task: string): string {
  if (error instanceof pg.DatabaseError && error.code === abortedState)
    return 'one of its statements failed and the run went on: let the failure through, or use a savepoint'
  return sentenceOf(error instanceof pg.DatabaseError ? databaseError(error, `running cron task ${task}`) : error)
}

async function transactionOf(client: pg.ClientBase): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string }>('select pg_current_xact_id()::text as id')
  return rows[0]?.id
}

/** Not every platform of a server can watch its connections; without it a dead node is noticed when its statement ends. */
function onlyRefusals(error: unknown): void {
  if (!(error instanceof pg.DatabaseError)) throw error
}
