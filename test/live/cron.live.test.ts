/** Cron tasks on a real Postgres: several runners with clocks of their own, killed owners, missed times, changes of clocks. */
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import stockTicks from '../../examples/stock-ticks/pipeline.ts'
import { CronSchedule } from '../../src/cron/cron-schedule.ts'
import { cron, definePipeline, json, postgresTable } from '../../src/index.ts'
import type { CronOptions, CronTask } from '../../src/index.ts'
import { packageRoot } from '../../src/launch/package-root.ts'
import { PostgresCronRuns } from '../../src/cron/postgres-cron-runs.ts'
import type { PostgresPool } from '../../src/database/postgres-pool.ts'
import { createSchema } from '../../src/ledger/schema.ts'
import type { Pipeline } from '../../src/pipeline/pipeline.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import * as z from 'zod'
import { postgresFeed, startNode } from '../support/live-node.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
let pool: PostgresPool
/** Stops every runner of a test, a failed one too. */
let stopping: (() => Promise<void>)[] = []
let pipelines = 0
let name = ''

beforeAll(async () => {
  database = await createTestDatabase()
  pool = testPool(database.url)
  await pool.use('making the schema', createSchema)
  await database.query('create table marks (pipeline text not null, at timestamptz not null, node text not null)')
})
afterAll(async () => {
  await pool[Symbol.asyncDispose]()
  await database.drop()
})
beforeEach(() => {
  name = `cron-${++pipelines}`
})
afterEach(async () => {
  await Promise.all(stopping.map((stop) => stop()))
  stopping = []
})

/** A clock that shows another time than the machine's, and is set by the test. */
class ShiftedClock extends SystemClock {
  aheadMs = 0

  set(text: string): this {
    this.aheadMs = Date.parse(text) - Date.now()
    return this
  }

  override wallMs(): number {
    return Date.now() + this.aheadMs
  }
}

function pipelineOf(task: CronTask): Pipeline {
  return definePipeline({
    name,
    source: { topic: 'none', decode: json(z.object({})) },
    tasks: { none: { every: '1s', sink: postgresTable('none', { columns: { n: 'int' } }), convert: () => undefined } },
    cron: { job: task },
  })
}

interface Runner {
  readonly clock: ShiftedClock
  readonly logged: string[]
  /** What it told its metrics: by outcome, and times skipped. */
  readonly counted: Readonly<Record<string, number>>
  readonly schedule: CronSchedule
  stop(): Promise<void>
}

/** A runner as a node has one, with connections of its own. */
function runner(node: string, clock: ShiftedClock, expression: string, options: CronOptions, run: CronTask['run']): Runner {
  const own = testPool(database.url)
  const logged: string[] = []
  const counted: Record<string, number> = {}
  const add = (what: string, by: number) => (counted[what] = (counted[what] ?? 0) + by)
  const observer = { log: (level: string, message: string) => void logged.push(`${level} ${message}`) }
  const tally = {
    ran: (_task: string, outcome: string) => void add(outcome, 1),
    skipped: (_task: string, times: number) => void add('skipped', times),
  }
  const schedule = new CronSchedule(
    { runs: new PostgresCronRuns({ pool: own, pipeline: name, node }), clock, observer, tally },
    pipelineOf(cron(expression, options, run)).cron,
  )
  const ending = new AbortController()
  schedule.start(ending.signal)
  const stop = async () => {
    ending.abort()
    await schedule[Symbol.asyncDispose]()
    await own[Symbol.asyncDispose]()
  }
  stopping.push(stop)
  return { clock, logged, counted, schedule, stop }
}

/** Writes one mark: which time ran, and where. */
const marking =
  (node: string): CronTask['run'] =>
  async ({ sql, scheduledAt }) => {
    await sql`insert into marks values (${name}, ${scheduledAt}, ${node})`
  }

const marks = async () => {
  const rows = await database.query<{ at: Date }>('select at from marks where pipeline = $1 order by at', [name])
  return rows.map(({ at }) => at.toISOString().replace('.000', ''))
}
const runs = (columns = 'scheduled_at, outcome, attempts, error') =>
  database.query<{ scheduled_at: Date; outcome: string; attempts: number; error: string | null; node: string }>(
    `select ${columns} from forebay.cron_runs where pipeline = $1 order by scheduled_at`,
    [name],
  )
/** Makes the task known to the book as if nodes had run until `time`. */
const knownSince = (time: string, expression: string, timezone = 'UTC') =>
  new PostgresCronRuns({ pool, pipeline: name, node: 'before' }).open({ task: 'job', expression, timezone }, Date.parse(time))

describe('Cron tasks', () => {
  it('run each scheduled time on exactly one of three nodes, whose clocks differ by hours', async () => {
    const everySecond = '* * * * * *'
    const start = Math.floor(Date.now() / 1000) * 1000
    await knownSince(new Date(start).toISOString(), everySecond)
    const skews = [0, 90 * 60_000, -90 * 60_000]
    const runners = skews.map((aheadMs, i) => {
      const clock = new ShiftedClock()
      clock.aheadMs = aheadMs
      return runner(`n${i}`, clock, everySecond, { missed: 'all' }, marking(`n${i}`))
    })
    await expect.poll(async () => (await marks()).length, { timeout: 30_000 }).toBeGreaterThan(8)
    await Promise.all(runners.map(({ stop }) => stop()))
    const found = await marks()
    // No clock that is ahead ran a time that had not come.
    expect(Date.parse(found.at(-1)!)).toBeLessThanOrEqual(Date.now() + 1000)
    const wanted = found.map((_, i) => new Date(start + (i + 1) * 1000).toISOString().replace('.000', ''))
    expect(found).toEqual(wanted)
    expect((await runs()).filter(({ outcome }) => outcome !== 'succeeded')).toEqual([])
  })

  it('run a killed owner’s time on another node, with nothing of the killed run left', async () => {
    const script = fileURLToPath(new URL('../support/cron-owner.ts', import.meta.url))
    await knownSince('2024-06-01T10:00:00Z', '0 0 * * * *')
    const owner = fork(script, [database.url, name, '2024-06-01T11:00:05Z'], { execArgv: ['--import', 'tsx'], stdio: 'ignore' })
    const ended = new Promise((resolve) => owner.once('exit', resolve))
    await expect
      .poll(
        async () =>
          (await database.query(`select from pg_stat_activity where query like 'select pg_sleep%' and datname = current_database()`))
            .length,
        { timeout: 20_000 },
      )
      .toBe(1)
    expect((await runs('outcome, node'))[0]).toEqual({ outcome: 'running', node: 'owner' })
    const second = runner('n2', new ShiftedClock().set('2024-06-01T11:00:06Z'), '0 0 * * * *', {}, marking('n2'))
    await sleep(2500)
    expect(await marks()).toEqual([])
    owner.kill('SIGKILL')
    await ended
    await expect.poll(marks, { timeout: 20_000 }).toEqual(['2024-06-01T11:00:00Z'])
    await second.stop()
    expect(await runs('outcome, attempts, node')).toEqual([{ outcome: 'succeeded', attempts: 2, node: 'n2' }])
  })

  it('are given up, and said to be, when every node that ran them died in the middle', async () => {
    const schedule = { task: 'job', expression: '0 0 * * * *', timezone: 'UTC' }
    await knownSince('2024-06-01T10:00:00Z', schedule.expression)
    const dying = new PostgresCronRuns({ pool, pipeline: name, node: 'dying' })
    const due = { skipped: [], run: Date.parse('2024-06-01T11:00:00Z') }
    expect(await dying.begin(schedule, await dying.read(schedule), due, 1)).toMatchObject({ attempt: 1 })
    const second = runner('n2', new ShiftedClock().set('2024-06-01T11:00:05Z'), schedule.expression, { attemptsMax: 1 }, marking('n2'))
    await expect
      .poll(() => second.logged.filter((line) => line.startsWith('error')), { timeout: 15_000 })
      .toEqual([expect.stringMatching(/given up: every node/)])
    second.clock.set('2024-06-01T12:00:01Z')
    await expect.poll(marks, { timeout: 10_000 }).toEqual(['2024-06-01T12:00:00Z'])
    await second.stop()
    expect(await runs('outcome, error')).toEqual([
      { outcome: 'failed', error: 'its node dying ended in the middle of the run' },
      { outcome: 'succeeded', error: null },
    ])
  })

  it('keep to the calendar of their zone on days with a change of clocks', async () => {
    const [daily, newYork] = ['0 30 2 * * *', 'America/New_York']
    await knownSince('2024-03-09T12:00:00Z', daily, newYork)
    const clock = new ShiftedClock().set('2024-03-10T06:59:58.500Z')
    const one = runner('n1', clock, daily, { timezone: newYork, missed: 'skip' }, marking('n1'))
    await expect.poll(marks, { timeout: 10_000 }).toEqual(['2024-03-10T07:00:00Z'])
    clock.set('2024-03-11T06:30:00Z')
    await expect.poll(marks, { timeout: 10_000 }).toEqual(['2024-03-10T07:00:00Z', '2024-03-11T06:30:00Z'])
    await one.stop()
  })

  it('run once a local time that occurs twice', async () => {
    const [daily, newYork] = ['0 30 1 * * *', 'America/New_York']
    await knownSince('2024-11-03T05:00:00Z', daily, newYork)
    const clock = new ShiftedClock().set('2024-11-03T05:30:01Z')
    const one = runner('n1', clock, daily, { timezone: newYork, missed: 'all' }, marking('n1'))
    await expect.poll(marks, { timeout: 10_000 }).toEqual(['2024-11-03T05:30:00Z'])
    clock.set('2024-11-03T06:30:01Z')
    await sleep(2500)
    clock.set('2024-11-04T06:30:01Z')
    await expect.poll(marks, { timeout: 10_000 }).toEqual(['2024-11-03T05:30:00Z', '2024-11-04T06:30:00Z'])
    await one.stop()
  })

  it.each([
    ['skip', [], ['skipped', 'skipped', 'skipped']],
    ['once', ['2024-06-01T03:00:00Z'], ['skipped', 'skipped', 'succeeded']],
    ['all', ['2024-06-01T01:00:00Z', '2024-06-01T02:00:00Z', '2024-06-01T03:00:00Z'], ['succeeded', 'succeeded', 'succeeded']],
  ] as const)('make up for missed times as the policy %s says', async (missed, ran, outcomes) => {
    await knownSince('2024-06-01T00:00:00Z', '0 0 * * * *')
    const one = runner('n1', new ShiftedClock().set('2024-06-01T03:20:00Z'), '0 0 * * * *', { missed }, marking('n1'))
    await expect.poll(async () => (await runs()).map(({ outcome }) => outcome), { timeout: 10_000 }).toEqual(outcomes)
    await one.stop()
    expect(await marks()).toEqual(ran)
    const told = ['skipped', 'succeeded'].map((outcome) => outcomes.filter((found) => found === outcome).length)
    expect([one.counted['skipped'] ?? 0, one.counted['succeeded'] ?? 0]).toEqual(told)
  })

  it('never overlap, and what passed meanwhile falls under the policy', async () => {
    let present = 0
    let most = 0
    const slow: CronTask['run'] = async (context) => {
      most = Math.max(most, ++present)
      await context.sql`select pg_sleep(2.5)`
      await marking('n')(context)
      present--
    }
    const expression = '* * * * * *'
    const runners = ['n1', 'n2', 'n3'].map((node) => runner(node, new ShiftedClock(), expression, { missed: 'once' }, slow))
    await expect.poll(async () => (await marks()).length, { timeout: 20_000 }).toBeGreaterThanOrEqual(3)
    await Promise.all(runners.map(({ stop }) => stop()))
    expect(most).toBe(1)
    expect((await runs()).some(({ outcome }) => outcome === 'skipped')).toBe(true)
  })

  it('try a failing time again, leave nothing of a failed attempt, and give it up after the last', async () => {
    await knownSince('2024-06-01T10:00:00Z', '0 0 * * * *')
    const attempts: number[] = []
    const failing: CronTask['run'] = async (context) => {
      await marking('n1')(context)
      attempts.push(context.attempt)
      if (context.attempt === 1) await context.sql('select 1 / $1::int', [0])
      throw new Error(`no luck in attempt ${context.attempt}`)
    }
    const one = runner('n1', new ShiftedClock().set('2024-06-01T11:00:01Z'), '0 0 * * * *', { attemptsMax: 3 }, failing)
    await expect.poll(async () => (await runs())[0]?.error, { timeout: 10_000 }).toMatch(/division by zero/)
    await expect.poll(async () => (await runs()).map(({ outcome }) => outcome), { timeout: 15_000 }).toEqual(['failed'])
    await sleep(1500)
    await one.stop()
    expect(attempts).toEqual([1, 2, 3])
    expect(one.counted).toMatchObject({ retrying: 2, failed: 1 })
    expect(await marks()).toEqual([])
    expect(await runs('outcome, attempts, error')).toEqual([{ outcome: 'failed', attempts: 3, error: 'no luck in attempt 3' }])
    expect(one.logged.filter((line) => line.startsWith('error'))).toEqual([expect.stringMatching(/given up: no luck in attempt 3/)])
  })

  it('tell of their last success, however many failures came since', async () => {
    const expression = '0 0 * * * *'
    await knownSince('2024-06-01T00:00:00Z', expression)
    const failing: CronTask['run'] = ({ scheduledAt }) =>
      scheduledAt.getUTCHours() === 1 ? Promise.resolve() : Promise.reject(new Error('no luck'))
    const clock = new ShiftedClock().set('2024-06-01T05:20:00Z')
    const one = runner('n1', clock, expression, { missed: 'all', attemptsMax: 1 }, failing)
    await expect.poll(async () => (await runs()).length, { timeout: 10_000 }).toBe(5)
    await one.stop()
    const book = new PostgresCronRuns({ pool, pipeline: name, node: 'reader' })
    const hours = (lines: readonly { scheduledMs: number }[]) => lines.map(({ scheduledMs }) => new Date(scheduledMs).getUTCHours())
    expect(hours(await book.history(2))).toEqual([5, 4, 1])
    expect(hours(await book.history(5))).toEqual([5, 4, 3, 2, 1])
  })

  it('commit when a later attempt succeeds, with the mark of that attempt only', async () => {
    await knownSince('2024-06-01T10:00:00Z', '0 0 * * * *')
    const one = runner('n1', new ShiftedClock().set('2024-06-01T11:00:01Z'), '0 0 * * * *', {}, async (context) => {
      await marking('n1')(context)
      if (context.attempt === 1) throw new Error('not yet')
    })
    await expect
      .poll(async () => (await runs('outcome, attempts, error'))[0], { timeout: 10_000 })
      .toEqual({ outcome: 'succeeded', attempts: 2, error: null })
    await one.stop()
    expect(await marks()).toEqual(['2024-06-01T11:00:00Z'])
  })

  it('end at their timeout, whether a statement or the function itself hangs', async () => {
    await knownSince('2024-06-01T10:00:00Z', '0 0 * * * *')
    let isAborted = false
    const hanging: CronTask['run'] = async (context) => {
      await marking('n1')(context)
      context.signal.addEventListener('abort', () => (isAborted = true))
      if (context.attempt === 1) await context.sql`select pg_sleep(60)`
      else await new Promise(() => undefined)
    }
    const one = runner('n1', new ShiftedClock().set('2024-06-01T11:00:01Z'), '0 0 * * * *', { timeout: '500ms', attemptsMax: 2 }, hanging)
    await expect.poll(async () => (await runs()).map(({ outcome }) => outcome), { timeout: 20_000 }).toEqual(['failed'])
    await one.stop()
    expect((await runs())[0]!.error).toMatch(/timeout/)
    expect(isAborted).toBe(true)
    expect(await marks()).toEqual([])
  })

  it('run again when the connection breaks in the middle, with the mark of the second attempt only', async () => {
    await knownSince('2024-06-01T10:00:00Z', '0 0 * * * *')
    const one = runner('n1', new ShiftedClock().set('2024-06-01T11:00:01Z'), '0 0 * * * *', {}, async (context) => {
      await marking('n1')(context)
      if (context.attempt === 1) await context.sql`select pg_terminate_backend(pg_backend_pid())`
    })
    await expect.poll(async () => (await runs('outcome, attempts'))[0], { timeout: 15_000 }).toEqual({ outcome: 'succeeded', attempts: 2 })
    await one.stop()
    expect(await marks()).toEqual(['2024-06-01T11:00:00Z'])
  })

  it.each([
    ['commit', /begin or end/],
    [' /* x */ ROLLBACK', /begin or end/],
    ['select 1; commit', /multiple commands/],
    ['swallowed', /failed and the run went on/],
  ])('refuse to end their own transaction: %s', async (statement, error) => {
    await knownSince('2024-06-01T10:00:00Z', '0 0 * * * *')
    const one = runner('n1', new ShiftedClock().set('2024-06-01T11:00:01Z'), '0 0 * * * *', { attemptsMax: 1 }, async (context) => {
      await marking('n1')(context)
      if (statement === 'swallowed') await context.sql('select no_such_column').catch(() => undefined)
      else await context.sql(statement)
    })
    await expect.poll(async () => (await runs())[0]?.error, { timeout: 10_000 }).toMatch(error)
    await one.stop()
    expect(await marks()).toEqual([])
  })

  it('begin anew from now on when their expression changed, and are left to the node that came later', async () => {
    await knownSince('2024-06-01T00:00:00Z', '0 0 * * * *')
    const clock = () => new ShiftedClock().set('2024-06-01T05:30:00Z')
    const later = runner('n2', clock(), '0 */10 * * * *', { missed: 'all' }, marking('n2'))
    const first = runner('n1', clock(), '0 */10 * * * *', { missed: 'all' }, marking('n1'))
    await expect.poll(() => later.schedule.status[0]?.nextAtMs, { timeout: 10_000 }).toBe(Date.parse('2024-06-01T05:40:00Z'))
    await knownSince('2024-06-01T05:30:30Z', '0 */20 * * * *')
    later.clock.set('2024-06-01T05:40:01Z')
    await expect.poll(() => later.schedule.status[0]?.trouble, { timeout: 10_000 }).toMatch(/started later/)
    await Promise.all([later.stop(), first.stop()])
    expect(await marks()).toEqual([])
  })

  it('close the trading day of the example, with the same rows when it is closed again', async () => {
    const [closeDay] = stockTicks.cron
    const { expression, timezone, run } = closeDay!
    await database.query(readFileSync(join(packageRoot, 'examples/stock-ticks/schema.sql'), 'utf8'))
    await database.query(
      `insert into candles values ('SPY', 570, 10, 14, 9, 11, 100, 7), ('SPY', 571, 11, 12, 8, 9, 50, 3), ('QQQ', 959, 5, 5, 5, 5, 1, 1)`,
    )
    await knownSince('2024-11-20T20:00:00Z', expression, timezone)
    const clock = new ShiftedClock().set('2024-11-20T21:05:05Z')
    const one = runner('n1', clock, expression, { timezone }, run)
    const summary = () =>
      database.query(
        `select day::text, symbol, open_e4::int, high_e4::int, low_e4::int, close_e4::int, volume::int, trades::int from daily_summary order by symbol`,
      )
    const rows = [
      { day: '2024-11-20', symbol: 'QQQ', open_e4: 5, high_e4: 5, low_e4: 5, close_e4: 5, volume: 1, trades: 1 },
      { day: '2024-11-20', symbol: 'SPY', open_e4: 10, high_e4: 14, low_e4: 8, close_e4: 9, volume: 150, trades: 10 },
    ]
    await expect.poll(summary, { timeout: 10_000 }).toEqual(rows)
    await one.stop()
    await pool.use('closing again', async (client) => {
      const sql = async (text: string, values: unknown[]) => (await client.query(text, values)).rows
      await run({ sql: sql as never, scheduledAt: new Date('2024-11-20T21:05:00Z'), attempt: 2, signal: new AbortController().signal })
    })
    expect(await summary()).toEqual(rows)
  })

  it('run beside a node’s events and show in its status', async () => {
    await using feed = await postgresFeed(database.url, 'none')
    expect(feed.events).toEqual([])
    await database.query('create table none (n int)')
    await using node = await startNode(pipelineOf(cron('* * * * * *', {}, marking('node'))), { url: database.url })
    await expect.poll(async () => (await node.status()).cron[0]?.runs.length, { timeout: 15_000 }).toBeGreaterThan(2)
    const { cron: tasks, isReady } = await node.status()
    expect(tasks).toMatchObject([{ task: 'job', expression: '* * * * * *', timezone: 'UTC', trouble: null }])
    expect(tasks[0]!.runs[0]).toMatchObject({ outcome: 'succeeded', attempts: 1, error: null })
    expect(isReady).toBe(true)
    const text = await (await fetch(`${node.url}/status`, { headers: { accept: 'text/plain' } })).text()
    expect(text).toContain('job')
    const metrics = await (await fetch(`${node.url}/metrics`)).text()
    expect(metrics).toMatch(/^forebay_cron_runs_total\{task="job",outcome="succeeded"\} [1-9]/m)
    expect(metrics).toMatch(/^forebay_cron_last_success_timestamp_seconds\{task="job"\} [1-9]/m)
    await node.stop()
  })
})
