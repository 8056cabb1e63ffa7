/** Which rights a user of the database lacks for the schema `forebay`, as the statements that grant them: the same for start and doctor. */
import pg from 'pg'

interface Rights {
  readonly user: string
  readonly database: string
  readonly hasSchema: boolean
  readonly hasTables: boolean
  readonly mayMakeSchema: boolean
  readonly mayUse: boolean
  readonly mayCreate: boolean
  readonly mayWrite: boolean
}

const tableRights = ['select', 'insert', 'update', 'delete'] as const

const readRights = `select current_user as user, current_database() as database, n.oid is not null as "hasSchema",
    exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relname = 'deployment') as "hasTables",
    has_database_privilege(current_database(), 'create') as "mayMakeSchema",
    coalesce(has_schema_privilege(n.oid, 'usage'), false) as "mayUse", coalesce(has_schema_privilege(n.oid, 'create'), false) as "mayCreate",
    not exists (select from pg_catalog.pg_class c where c.relnamespace = n.oid and c.relkind = 'r' and c.relname not like 'log\\_%'
      and not (${tableRights.map((right) => `has_table_privilege(c.oid, '${right}')`).join(' and ')})) as "mayWrite"
  from (select) one left join pg_catalog.pg_namespace n on n.nspname = 'forebay'`

/** Empty: this user may do what a node does. Nothing is said of upgrades. */
export async function missingGrants(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<Rights>(readRights)
  const { user, database, hasSchema, hasTables, mayMakeSchema, mayUse, mayCreate, mayWrite } = rows[0]!
  const to = `to ${pg.escapeIdentifier(user)}`
  if (!hasSchema) return mayMakeSchema ? [] : [`grant create on database ${pg.escapeIdentifier(database)} ${to}`]
  if (!hasTables) return mayUse && mayCreate ? [] : [`grant usage, create on schema forebay ${to}`]
  return [
    ...(mayUse ? [] : [`grant usage on schema forebay ${to}`]),
    ...(mayWrite ? [] : [`grant ${tableRights.join(', ')} on all tables in schema forebay ${to}`]),
  ]
}
