-- brings the book of owners, for events that end their process

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
