/**
 * The tables of the ledger, in the order in which they came to be. Everything is in the schema `forebay`; what else the database
 * holds belongs to the user.
 *
 * **To add a table or a column, append one step to `schemaSteps`**: what it brings (for people), and its SQL. Its number is its place, so
 * `schemaVersion`, the upgrade of older ledgers and new ledgers follow by themselves:
 *
 *     { brings: 'halts that an operator has to end', sql: 'create table forebay.halts (…)' },
 *
 * A step that is on main never changes and never moves (`test/ledger/schema.test.ts` knows their sums): other ledgers have gone through it.
 * It only adds, since nodes of the release before may still run: a column is nullable or has a constant default, nothing is renamed, dropped or
 * rewritten. No parameters, no BEGIN: all missing steps run in one transaction under the schema's lock.
 */

export interface SchemaStep {
  /** Completes "it brings …". */
  readonly brings: string
  readonly sql: string
}

// Watermarks and floors are updated many times a second and have few rows: room on each page keeps the updates
// on it, and vacuum comes early.
const hotTable = `with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000)`

const released = `
create schema if not exists forebay;
create table forebay.deployment (
  is_only boolean primary key default true check (is_only),
  id uuid not null default gen_random_uuid(),
  schema_version int not null,
  created_at timestamptz not null default now()
);
insert into forebay.deployment (schema_version) values (1);
create table forebay.pipelines (
  name text primary key,
  cluster text not null,
  topic text not null,
  topic_id text,
  partitions int not null check (partitions > 0),
  created_at timestamptz not null default now()
);
create table forebay.epochs (
  pipeline text not null references forebay.pipelines (name),
  epoch int not null check (epoch > 0),
  reset int not null default 0,
  version text not null,
  fingerprint jsonb not null,
  file_hash text,
  cut jsonb,
  emptied text[] not null default '{}',
  opened_at timestamptz not null default now(),
  primary key (pipeline, epoch)
);
create table forebay.floors (
  pipeline text not null,
  partition int not null,
  floor bigint not null check (floor >= -1),
  primary key (pipeline, partition)
) ${hotTable};
create table forebay.floor_events (
  pipeline text not null,
  partition int not null,
  "offset" bigint not null,
  checksum text not null,
  primary key (pipeline, partition)
);
create table forebay.watermarks (
  pipeline text not null,
  task text not null,
  partition int not null,
  queue int not null,
  applied bigint not null check (applied >= -1),
  primary key (pipeline, task, partition, queue)
) ${hotTable};
create table forebay.nodes (
  pipeline text not null,
  node text not null,
  epoch int,
  fingerprint jsonb not null,
  waits_for text,
  http text,
  beat_at timestamptz not null default now(),
  primary key (pipeline, node)
) ${hotTable};
create table forebay.cuts (
  pipeline text primary key,
  id uuid not null,
  epoch int not null,
  purpose text not null,
  requested_by text not null,
  requested_at timestamptz not null default now(),
  renewed_at timestamptz not null default now()
);
create table forebay.dead_letters (
  id bigint generated always as identity primary key,
  pipeline text not null,
  epoch int not null,
  topic text not null,
  partition int not null,
  queue int not null,
  "offset" bigint not null,
  ordinal int not null,
  task text,
  error text not null,
  payload bytea,
  is_payload_cut boolean not null,
  is_job boolean not null default false,
  created_at timestamptz not null default now(),
  attempts int not null default 1,
  resolved_at timestamptz,
  resolution text check (resolution in ('redriven', 'discarded')),
  reason text,
  check ((resolved_at is null) = (resolution is null))
);
create table forebay.replays (
  id int generated always as identity primary key,
  pipeline text not null,
  task text not null,
  target text not null,
  version text not null,
  file_hash text,
  spec jsonb not null,
  created_at timestamptz not null default now(),
  finished_at timestamptz
);
create table forebay.replay_progress (
  replay int not null references forebay.replays (id) on delete cascade,
  partition int not null,
  first_offset bigint not null,
  last_offset bigint not null check (last_offset >= first_offset),
  passed bigint not null check (passed between first_offset - 1 and last_offset),
  events bigint not null default 0,
  rows bigint not null default 0,
  refused bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (replay, partition)
) with (fillfactor = 50);
create unique index dead_letters_once on forebay.dead_letters (pipeline, topic, partition, "offset", coalesce(task, ''), ordinal);
create table forebay.cron_tasks (
  pipeline text not null,
  task text not null,
  expression text not null,
  timezone text not null,
  done_to timestamptz not null,
  primary key (pipeline, task)
);
create table forebay.cron_runs (
  pipeline text not null,
  task text not null,
  scheduled_at timestamptz not null,
  outcome text not null check (outcome in ('running', 'retrying', 'succeeded', 'failed', 'skipped')),
  attempts int not null,
  node text not null,
  started_at timestamptz,
  ended_at timestamptz,
  retry_at timestamptz,
  error text,
  primary key (pipeline, task, scheduled_at)
);
comment on table forebay.watermarks is 'Every job of the task in the queue at or below "applied" (or the floor of the partition, if that is higher) is applied or dead-lettered.';
comment on table forebay.floors is 'Every job of the partition at or below "floor" is applied or dead-lettered.';
comment on table forebay.floor_events is 'An event at or below the floor of its partition, to recognise the same topic again.';
comment on table forebay.nodes is 'Who runs or waits, as of "beat_at": for people and commands, nothing rests on it.';
comment on table forebay.cuts is 'A request to stop reading and drain, valid while it is renewed.';
comment on table forebay.replays is 'Replays into other tables: one row each, with the request as it was given.';
comment on table forebay.replay_progress is 'Every event of the replay at or below "passed" is written; moves in the transaction of its rows.';
comment on table forebay.dead_letters is 'Events and jobs that could not be processed; task is null when it is the whole event. is_job: one job, payload is its line; else all jobs of the event. Open while resolved_at is null.';
comment on table forebay.cron_tasks is 'Every scheduled time of the task at or before done_to has run, was given up or was skipped.';
comment on table forebay.cron_runs is 'The latest scheduled times of each cron task and what became of them.';
`

/** Step n makes a ledger of version n of one of version n - 1. */
export const schemaSteps: readonly SchemaStep[] = [
  { brings: 'the ledger', sql: released },
  {
    brings: 'the marks of epochs, what operators allowed the next one to do, and the tasks that began at its floors',
    sql: `
alter table forebay.epochs add column mark text, add column begun text[];
create table forebay.permissions (
  pipeline text not null,
  kind text not null check (kind in ('version', 'leave')),
  subject text not null,
  epoch int not null,
  mark text not null,
  given_by text not null,
  given_at timestamptz not null default now(),
  primary key (pipeline, kind, subject)
);
comment on column forebay.epochs.mark is 'Tells the epoch from another one of its number that a failover forgot. Null: opened before there were marks.';
comment on column forebay.epochs.begun is 'Tasks whose jobs begin at "cut". Null: those that the epoch before did not have.';
comment on table forebay.permissions is 'What an operator allowed whoever opens the epoch after "epoch"; void once that is open.';
`,
  },
  {
    brings: 'the traces of dead letters',
    sql: `
alter table forebay.dead_letters add column traceparent text;
comment on column forebay.dead_letters.traceparent is 'The W3C trace context its event was written under, where it had one.';
`,
  },
  {
    brings: 'the book of owners, for events that end their process',
    sql: `
create table forebay.owners (
  pipeline text not null,
  partition int not null,
  epoch int not null,
  owner text,
  floor bigint not null,
  deaths int not null default 0,
  began_at timestamptz not null default now(),
  primary key (pipeline, partition)
) with (fillfactor = 50);
create table forebay.suspects (
  pipeline text not null,
  partition int not null,
  "offset" bigint not null,
  epoch int not null,
  deaths int not null,
  last_at timestamptz not null default now(),
  primary key (pipeline, partition, "offset")
) with (fillfactor = 50);
comment on table forebay.owners is 'Who began with a partition; owner is null when it left. deaths: of owners, one after the other, while the floor stood.';
comment on table forebay.suspects is 'Offsets above the floor at which whoever converted them died, or is about to try; buried at the third death.';
`,
  },
  {
    brings: 'halts that an operator has to end, and the leader epochs of the events at the floors',
    sql: `
alter table forebay.floors add column leader_epoch int;
alter table forebay.floor_events add column leader_epoch int;
create table forebay.halts (
  pipeline text not null,
  partition int not null,
  reason text not null,
  floor bigint not null,
  log_end bigint,
  found_at timestamptz not null default now(),
  primary key (pipeline, partition)
);
comment on table forebay.halts is 'Partitions of which the log lost what was processed. They stand still until an operator decides, with "forebay reset" or "forebay halts clear".';
comment on column forebay.floors.leader_epoch is 'The newest leader of Kafka that had been read from when the floor was raised. Null: the log knows no such thing.';
comment on column forebay.floor_events.leader_epoch is 'Under which leader Kafka took the event in. Null: the log knows no such thing, or it was not kept yet.';
`,
  },
  {
    brings: 'the times of the events of dead letters',
    sql: `
alter table forebay.dead_letters add column event_ms bigint;
comment on column forebay.dead_letters.event_ms is 'The time of its event''s record, in milliseconds since 1970. A redrive takes no event of another time for it.';
`,
  },
]

/** A ledger of a higher version was made by a newer forebay and is left alone. */
export const schemaVersion = schemaSteps.length
