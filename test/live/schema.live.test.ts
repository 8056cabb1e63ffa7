import { schemaSql } from '../../src/ledger/schema-sql.ts'
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSchema } from '../../src/ledger/schema.ts'
import { schemaSteps, schemaVersion } from '../../src/ledger/schema-steps.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
beforeEach(async () => {
  database = await createTestDatabase()
})
afterEach(() => database.drop())

async function open(url = database.url): Promise<string> {
  await using pool = testPool(url)
  return await pool.use('making the schema', createSchema)
}

/** Every column, index and constraint of the schema, as Postgres describes them. */
async function shape(): Promise<unknown> {
  const columns = await database.query(
    `select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns where table_schema = 'forebay' order by 1, 2`,
  )
  const indexes = await database.query(`select indexdef from pg_indexes where schemaname = 'forebay' order by 1`)
  const constraints = await database.query(
    `select conrelid::regclass::text as table, pg_get_constraintdef(oid) as is from pg_constraint where connamespace = 'forebay'::regnamespace order by 1, 2`,
  )
  return { columns, indexes, constraints }
}

const version = async () =>
  (await database.query<{ schema_version: number }>('select schema_version from forebay.deployment'))[0]?.schema_version

describe('the schema of the ledger', () => {
  it.each(schemaSteps.slice(1).map((_, index) => index + 1))(
    'is the same made anew and upgraded from version %i, with everything kept',
    async (from) => {
      const id = await open()
      const anew = await shape()
      await database.query('drop schema forebay cascade')
      for (const { sql } of schemaSteps.slice(0, from)) await database.query(sql)
      await database.query(`update forebay.deployment set schema_version = ${from}`)
      await database.query(
        `update forebay.deployment set id = '${id}';
       insert into forebay.pipelines values ('shop', 'north', 'orders', 'T1', 2);
       insert into forebay.epochs (pipeline, epoch, version, fingerprint) values ('shop', 1, '1', '{"queues": 2}');
       insert into forebay.floors values ('shop', 0, 41);
       insert into forebay.watermarks values ('shop', 'store', 0, 0, 55)`,
      )
      const all = await Promise.all([open(), open(), open()])
      expect(all).toEqual([id, id, id])
      expect(await version()).toBe(schemaVersion)
      expect(await shape()).toEqual(anew)
      expect(await database.query('select applied from forebay.watermarks')).toEqual([{ applied: '55' }])
    },
  )

  it('is made and upgraded by the SQL that is printed for a DBA, and then used by one who may do neither', async () => {
    const app = await login()
    await database.query(schemaSteps[0]!.sql)
    const refused = await open(app.url).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'FB_DATABASE_REFUSED' })
    await database.query(`grant usage on schema forebay to ${app.user}; grant select on all tables in schema forebay to ${app.user}`)
    expect(await open(app.url).catch((error: unknown) => error)).toMatchObject({
      code: 'FB_DATABASE_REFUSED',
      message: expect.stringContaining(`forebay ledger sql --from 1 --grant-to ${app.user} | psql`),
    })
    expect(await version()).toBe(1)
    await database.query(schemaSql(1, app.user))
    expect(await open(app.url)).toMatch(/^[0-9a-f-]{36}$/)
    await database.query('drop schema forebay cascade')
    await database.query(schemaSql(0, app.user))
    expect(await open(app.url)).toMatch(/^[0-9a-f-]{36}$/)
    expect(await version()).toBe(schemaVersion)
    await app.drop()
  })

  it('stays as it was when a step fails', async () => {
    await database.query(schemaSteps[0]!.sql)
    const before = await shape()
    await database.query('create table forebay.permissions (mine int)')
    await expect(open()).rejects.toMatchObject({ message: expect.stringContaining('already exists') })
    await database.query('drop table forebay.permissions')
    expect([await version(), await shape()]).toEqual([1, before])
  })
})

async function login() {
  const user = `app_${randomUUID().slice(0, 8)}`
  await database.query(`create role ${user} login password 'app'`)
  const url = new URL(database.url)
  url.username = user
  url.password = 'app'
  const drop = () => database.query(`drop owned by ${user}; drop role ${user}`)
  return { user, url: url.href, drop }
}
