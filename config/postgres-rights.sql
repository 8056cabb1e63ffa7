-- The rights of the user with whom nodes connect, and no more. Run it as the owner of the database, after the tables are there:
--
--   forebay ledger sql | psql <the database>
--   psql <the database> -f config/postgres-rights.sql
--
-- Put your own names for forebay_app and for the tables of the pipeline. Set its password apart from this file.
-- What it leaves out, forebay refuses in a sentence that names the right: upgrades of the schema forebay (run `forebay ledger sql`),
-- `forebay replay --into` a table of its own (CREATE on the schema of the table), `forebay reset --truncate` (TRUNCATE on the table),
-- `forebay tune` (CREATE on the database).

create role forebay_app login;

-- The ledger. Tables that this same owner adds later come with their rights.
grant usage on schema forebay to forebay_app;
grant select, insert, update, delete on all tables in schema forebay to forebay_app;
alter default privileges in schema forebay grant select, insert, update, delete on tables to forebay_app;

-- The tables of the pipeline: INSERT where rows are added, SELECT and UPDATE too where they are merged (upsertOn). SELECT also lets
-- `forebay replay --verify` compare. A column that is filled from a sequence (serial) needs USAGE on it; an identity column does not.
grant select, insert on trades to forebay_app;
grant select, insert, update on candles to forebay_app;
