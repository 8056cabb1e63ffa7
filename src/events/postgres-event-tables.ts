import type { Client, Pool } from 'pg'

/** Serialises the creation of the tables among processes that start together; any fixed number will do. */
const creationLock = 7_316_001

/**
 * `log_topics.cluster` is one value for the whole schema: who restores a dump elsewhere has moved the log, not made another.
 * Events carry a short topic number; `topic_uuid` tells a topic from one that was dropped and made anew under its name.
 */
const statements = `
create schema if not exists forebay;
create table if not exists forebay.log_cluster (
  is_only boolean primary key default true check (is_only),
  cluster_uuid uuid not null default gen_random_uuid()
);
insert into forebay.log_cluster default values on conflict do nothing;
create table if not exists forebay.log_topics (
  topic int generated always as identity primary key,
  topic_uuid uuid not null default gen_random_uuid(),
  name text not null unique,
  partitions int not null check (partitions > 0),
  retention_ms bigint check (retention_ms > 0),
  retention_events bigint check (retention_events > 0)
);
create table if not exists forebay.log_partitions (
  topic int not null references forebay.log_topics on delete cascade,
  partition int not null,
  start_offset bigint not null default 0,
  next_offset bigint not null default 0,
  primary key (topic, partition),
  check (0 <= start_offset and start_offset <= next_offset)
) with (fillfactor = 50);
create table if not exists forebay.log_events (
  topic int not null,
  partition int not null,
  event_offset bigint not null,
  timestamp_ms bigint not null,
  key bytea,
  value bytea,
  headers jsonb,
  primary key (topic, partition, event_offset)
);
create index if not exists log_events_by_time on forebay.log_events (topic, partition, timestamp_ms);
create table if not exists forebay.log_floors (
  topic int not null references forebay.log_topics on delete cascade,
  pipeline_group text not null,
  partition int not null,
  floor bigint not null,
  committed_at timestamptz not null default now(),
  primary key (topic, pipeline_group, partition)
);
`

/** Creates what is missing of the event log's tables, in the schema `forebay`. Safe to run by many at once. */
export async function createEventTables(pool: Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1)', [creationLock])
    await client.query(statements)
    await client.query('commit')
  } catch (error) {
    // The error that matters is the first one; a broken connection cannot roll back and need not.
    await client.query('rollback').catch(() => undefined)
    throw error
  } finally {
    client.release()
  }
}

/** A topic as its row has it. */
export interface PostgresTopic {
  readonly topic: number
  readonly topicId: string
  readonly cluster: string
  readonly partitions: number
}

/** The topic's row, or null when there is none. */
export async function findTopic(client: Client | Pool, name: string): Promise<PostgresTopic | null> {
  const { rows } = await client.query<{ topic: number; topic_uuid: string; cluster_uuid: string; partitions: number }>(
    'select topic, topic_uuid, cluster_uuid, partitions from forebay.log_topics, forebay.log_cluster where name = $1',
    [name],
  )
  const row = rows[0]
  return row === undefined ? null : { topic: row.topic, topicId: row.topic_uuid, cluster: row.cluster_uuid, partitions: row.partitions }
}
