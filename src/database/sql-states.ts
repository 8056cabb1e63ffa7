/**
 * What each failure of Postgres means, in one table: whether one job is at fault, the table as a whole, or the world.
 * A state of five characters wins over its class of two; what is not listed blocks its task, for a table full of dead letters
 * is worse than a task that stands still and says so. ARCHITECTURE.md shows this table; a test keeps both the same.
 */
import type { ErrorCode } from '../errors.ts'

export interface SqlStateMeaning {
  /** SQLSTATEs of five characters, or classes of two. */
  readonly states: readonly string[]
  readonly code: ErrorCode
  /** What happened, for the documentation. */
  readonly meaning: string
  /** What to do, told with the failure. */
  readonly remedy?: string
}

export const sqlStateMeanings: readonly SqlStateMeaning[] = [
  { states: ['22'], code: 'FB_BAD_JOB', meaning: 'a value that its column cannot take: too long, out of range, not of the type' },
  { states: ['21000'], code: 'FB_BAD_JOB', meaning: 'two rows of one upsert are the same row for the table; each alone is written' },
  {
    states: ['23503'],
    code: 'FB_BAD_JOB',
    meaning: 'a foreign key: the row it names is not there',
    remedy: 'redrive the letter once the row that it names is there',
  },
  {
    states: ['23505'],
    code: 'FB_BAD_JOB',
    meaning: 'a unique index has the value already',
    remedy: 'discard the letter if the row is the same one; to replace rows by their key, name it in upsertOn',
  },
  { states: ['23'], code: 'FB_BAD_JOB', meaning: 'another constraint with a name: a check, an exclusion' },
  { states: ['54000', '54001'], code: 'FB_BAD_JOB', meaning: 'a row or an index entry that is too large, JSON that is too deep' },
  {
    states: ['P0001', 'P0002', 'P0003'],
    code: 'FB_BAD_JOB',
    meaning: 'a trigger that raises an exception, or finds no row, or too many, for this one',
  },
  {
    states: ['23502'],
    code: 'FB_SCHEMA',
    meaning: 'NOT NULL: no job of a pipeline that was let in can be refused for it, so the table was changed',
    remedy: 'drop NOT NULL, give the column a default, or let the pipeline write it',
  },
  { states: ['XX001', 'XX002'], code: 'FB_SCHEMA', meaning: 'damaged data or index', remedy: 'restore the table, or reindex it' },
  {
    states: ['42501'],
    code: 'FB_DATABASE_REFUSED',
    meaning: 'a right is missing',
    remedy: 'grant the user of database.url what is missing',
  },
  {
    states: ['28'],
    code: 'FB_DATABASE_REFUSED',
    meaning: 'this user is not let in',
    remedy: 'correct the user or the password of database.url, or let that user in (pg_hba.conf)',
  },
  {
    states: ['3D000'],
    code: 'FB_DATABASE_REFUSED',
    meaning: 'there is no such database',
    remedy: 'create the database, or correct its name in database.url',
  },
  {
    states: ['26000', '42P05'],
    code: 'FB_DATABASE_REFUSED',
    meaning: 'a prepared statement is gone, or there already: a pooler changed the connection between two transactions',
    remedy:
      'let the pooler keep a connection for a whole session (pgbouncer: pool_mode = session), or name the server itself in database.url',
  },
  {
    states: ['53300'],
    code: 'FB_DATABASE_FULL',
    meaning: 'no connection is free',
    remedy: 'raise the max_connections of the server, or lower database.poolMax of the nodes',
  },
  {
    states: ['53100'],
    code: 'FB_DATABASE_FULL',
    meaning: 'the disk is full',
    remedy: 'free or add disk space; nothing is lost, and the work goes on by itself',
  },
  { states: ['53'], code: 'FB_DATABASE_UNREACHABLE', meaning: 'the server is short of memory or of another resource' },
  { states: ['40'], code: 'FB_DATABASE_UNREACHABLE', meaning: 'a deadlock or a serialization failure' },
  { states: ['55P03', '55006'], code: 'FB_DATABASE_UNREACHABLE', meaning: 'a lock was not had in time, or somebody uses the object' },
  { states: ['57'], code: 'FB_DATABASE_UNREACHABLE', meaning: 'cancelled, too slow, or the server shuts down' },
  { states: ['58000', '58030'], code: 'FB_DATABASE_UNREACHABLE', meaning: 'the server could not read or write a file' },
  {
    states: ['25006'],
    code: 'FB_DATABASE_UNREACHABLE',
    meaning: 'read only: a standby, or a primary that became one; another connection may find the new primary',
  },
  {
    states: ['08', '25', 'XX000'],
    code: 'FB_DATABASE_UNREACHABLE',
    meaning: 'the connection, its transaction or the server is in disorder',
  },
  {
    states: ['25P02'],
    code: 'FB_INTERNAL',
    meaning: 'a failed statement was swallowed and the transaction used further: a bug in forebay',
  },
]

/** All others. */
export const otherStates: SqlStateMeaning = {
  states: [],
  code: 'FB_SCHEMA',
  meaning: 'a table, column, schema or function is missing or of another type, or forebay does not know the state',
}

/** A row that fits no partition fails with the state of a check, but names no constraint. */
export const noPartition: SqlStateMeaning = {
  states: ['23514'],
  code: 'FB_SCHEMA',
  meaning: '23514 without a constraint: no partition of the table takes the row',
  remedy: 'create the partition, or a default one; the rows are written then',
}

const meaningOf = new Map(sqlStateMeanings.flatMap((meaning) => meaning.states.map((state) => [state, meaning] as const)))

/** What the failure of `state` means; `constraint` is the name of the constraint that was broken, if any. */
export function sqlStateMeaning(state: string, constraint: string | undefined): SqlStateMeaning {
  if (state === '23514' && !constraint) return noPartition
  return meaningOf.get(state) ?? meaningOf.get(state.slice(0, 2)) ?? otherStates
}

/** SQL that is true when the failure of the expressions `state` and `constraint` is the fault of one job: the same table in the server. */
export function isJobStateSql(state: string, constraint: string): string {
  const listed = (isOfJob: boolean) =>
    sqlStateMeanings.flatMap(({ states, code }) => ((code === 'FB_BAD_JOB') === isOfJob ? states.map((one) => `'${one}'`) : [])).join(', ')
  return `not (${state} = '23514' and coalesce(${constraint}, '') = '') and ${state} not in (${listed(false)})
    and (${state} in (${listed(true)}) or left(${state}, 2) in (${listed(true)}))`
}
