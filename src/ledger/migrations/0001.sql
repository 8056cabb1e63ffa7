-- brings the ledger

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
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
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
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
create table forebay.nodes (
  pipeline text not null,
  node text not null,
  epoch int,
  fingerprint jsonb not null,
  waits_for text,
  http text,
  beat_at timestamptz not null default now(),
  primary key (pipeline, node)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
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
