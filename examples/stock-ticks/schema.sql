-- Every trade once. No unique index: that nothing is stored twice is the work of the watermarks, not of this table.
create table if not exists trades (
  source_partition int not null,
  source_offset bigint not null,
  ms_since_midnight int not null,
  symbol text not null,
  price_e4 bigint not null,
  size int not null,
  exchange text not null,
  conditions text not null,
  suspicious boolean not null
);

-- One row a symbol and minute; minute = ms_since_midnight / 60000.
create table if not exists candles (
  symbol text not null,
  minute int not null,
  open_e4 bigint not null,
  high_e4 bigint not null,
  low_e4 bigint not null,
  close_e4 bigint not null,
  volume bigint not null,
  trades bigint not null,
  primary key (symbol, minute)
);

-- One row a symbol and trading day, written after the close by the cron task closeDay.
create table if not exists daily_summary (
  day date not null,
  symbol text not null,
  open_e4 bigint not null,
  high_e4 bigint not null,
  low_e4 bigint not null,
  close_e4 bigint not null,
  volume bigint not null,
  trades bigint not null,
  primary key (day, symbol)
);
