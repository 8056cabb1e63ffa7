-- brings halts that an operator has to end, and the leader epochs of the events at the floors

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
