/** A process that begins a cron run and then sleeps in the middle of it, to be killed: url, pipeline, time to pretend. */
import { CronSchedule } from '../../src/cron/cron-schedule.ts'
import { cron, definePipeline, json, postgresTable } from '../../src/index.ts'
import { PostgresCronRuns } from '../../src/cron/postgres-cron-runs.ts'
import { SystemClock } from '../../src/schedule/clock.ts'
import * as z from 'zod'
import { testPool } from './postgres-database.ts'

const [url, pipeline, time] = process.argv.slice(2) as [string, string, string]
const aheadMs = Date.parse(time) - Date.now()

class PretendedClock extends SystemClock {
  override wallMs(): number {
    return Date.now() + aheadMs
  }
}

const definition = definePipeline({
  name: pipeline,
  source: { topic: 'none', decode: json(z.object({})) },
  tasks: { none: { every: '1s', sink: postgresTable('none', { columns: { n: 'int' } }), convert: () => undefined } },
  cron: {
    job: cron('0 0 * * * *', {}, async ({ sql, scheduledAt }) => {
      await sql`insert into marks values (${pipeline}, ${scheduledAt}, ${'owner'})`
      await sql`select pg_sleep(55)`
    }),
  },
})
const observer = { log: () => undefined }
const tally = { ran: () => undefined, skipped: () => undefined }
const runs = new PostgresCronRuns({ pool: testPool(url), pipeline, node: 'owner' })
new CronSchedule({ runs, clock: new PretendedClock(), observer, tally }, definition.cron).start(new AbortController().signal)
