-- brings the marks of epochs, what operators allowed the next one to do, and the tasks that began at its floors

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
