-- What pipeline.ts writes into.
create table if not exists audit (id text primary key, key text not null, n int not null check (n >= 0));
