/**
 * Makes the tables of the ledger, and brings those of an older forebay up to this one (`schema-steps.ts`).
 */
import { lockSql, stepsAfter } from './schema-sql.ts'
import pg from 'pg'
import { ForebayError } from '../errors.ts'
import { missingGrants } from './schema-rights.ts'
import { schemaSteps, schemaVersion } from './schema-steps.ts'

/** Flushes wait behind a step that waits for a table: rather a start that fails and is tried again. */
const stepLockMs = 3000
/** As the first step says it. */
const makeSchema = 'create schema if not exists forebay;'
const insufficientPrivilege = '42501'

/**
 * Makes the tables when they are missing, upgrades older ones, and returns the deployment's id; two nodes may do it at once.
 * Throws FB_DATABASE_WRONG when the tables are of a newer forebay, FB_DATABASE_REFUSED when this user may not upgrade them.
 */
export async function createSchema(client: pg.ClientBase): Promise<string> {
  try {
    const found = await schemaVersionOf(client)
    if (found === undefined || found < schemaVersion) await upgrade(client)
    else checkSchemaVersion(found)
    await checkRights(client)
    const { rows } = await client.query<{ id: string }>('select id from forebay.deployment')
    return rows[0]!.id
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || error.code !== insufficientPrivilege) throw error
    await client.query('rollback')
    await checkRights(client)
    throw error
  }
}

/** Throws FB_DATABASE_REFUSED: what to grant, or whom else to ask. */
async function checkRights(client: pg.ClientBase): Promise<void> {
  const grants = await missingGrants(client)
  if (grants.length === 0) return
  const { rows } = await client.query<{ user: string }>('select current_user as user')
  throw new ForebayError(
    'FB_DATABASE_REFUSED',
    `User "${rows[0]!.user}" may not use the schema forebay of this database as a node does. Run as its owner: ${grants.join('; ')}. Or make the schema for it: forebay ledger sql --grant-to ${rows[0]!.user} | psql <the database>.`,
  )
}

/** Throws FB_DATABASE_WRONG unless a command of this forebay can read a ledger of version `found`. */
export function checkSchemaVersion(found: number): void {
  if (found === schemaVersion) return
  throw new ForebayError(
    'FB_DATABASE_WRONG',
    found > schemaVersion
      ? `The schema forebay of this database has version ${found}, this forebay knows versions up to ${schemaVersion}; use the newer forebay that made it.`
      : `The schema forebay of this database has version ${found}, this forebay needs version ${schemaVersion}; start a node of this forebay, which upgrades it, or run the SQL that \`forebay ledger sql --from ${found}\` prints.`,
  )
}

/** Version of the tables in this database; undefined when there are none. Throws FB_DATABASE_WRONG when they are damaged. */
export async function schemaVersionOf(client: pg.ClientBase): Promise<number | undefined> {
  if (!(await isCreated(client))) return undefined
  const { rows } = await client.query<{ version: number }>('select schema_version as version from forebay.deployment')
  if (rows[0] !== undefined) return rows[0].version
  throw new ForebayError(
    'FB_DATABASE_WRONG',
    'The table forebay.deployment of this database is empty; restore it, or drop the schema forebay to begin anew.',
  )
}

async function upgrade(client: pg.ClientBase): Promise<void> {
  await client.query(`begin; ${lockSql}; set local lock_timeout = '${stepLockMs}ms'`)
  // Looked at again under the lock: another node may have been faster.
  const found = await schemaVersionOf(client)
  try {
    const { rows } = await client.query<{ hasSchema: boolean }>(`select to_regnamespace('forebay') is not null as "hasSchema"`)
    // To create a schema that is there takes the right to create others.
    const steps = rows[0]!.hasSchema ? stepsAfter(found ?? 0).map((sql) => sql.replace(makeSchema, '')) : stepsAfter(found ?? 0)
    for (const sql of steps) await client.query(sql)
  } catch (error) {
    throw found === undefined ? error : await refusalOf(error, client, found)
  }
  await client.query('commit')
}

async function refusalOf(error: unknown, client: pg.ClientBase, found: number): Promise<unknown> {
  if (!(error instanceof pg.DatabaseError) || error.code !== insufficientPrivilege) return error
  await client.query('rollback')
  const { rows } = await client.query<{ owner: string; user: string }>(
    `select tableowner as owner, current_user as user from pg_catalog.pg_tables where schemaname = 'forebay' and tablename = 'deployment'`,
  )
  const { owner = 'its owner', user = 'this user' } = rows[0] ?? {}
  const brings = schemaSteps.slice(found).map((step) => step.brings)
  return new ForebayError(
    'FB_DATABASE_REFUSED',
    `The schema forebay of this database has version ${found}, this forebay needs version ${schemaVersion} (it brings ${brings.join('; ')}), and user "${user}" may not upgrade it (${error.message}). Nothing was changed. Run as user "${owner}": forebay ledger sql --from ${found} --grant-to ${user} | psql <the database>`,
    { cause: error },
  )
}

// Asks the table of tables, not to_regclass: that one may answer from what this connection remembers from before it waited for the lock.
async function isCreated(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ isCreated: boolean }>(
    `select exists (select from pg_catalog.pg_tables where schemaname = 'forebay' and tablename = 'deployment') as "isCreated"`,
  )
  return rows[0]?.isCreated === true
}
