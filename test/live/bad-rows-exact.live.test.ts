/** However the bad rows of a batch are searched for: the same rows and the same dead letters as if each row were written by itself. */
import * as fc from 'fast-check'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { JobLines } from '../../src/grid/segment.ts'
import { PostgresTransaction } from '../../src/ledger/postgres-transaction.ts'
import type { PostgresTableDefinition } from '../../src/sinks/postgres-table/postgres-table-definition.ts'
import { createPostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { PostgresTable } from '../../src/sinks/postgres-table/postgres-table.ts'
import type { TransactionalSink } from '../../src/sinks/running-sink.ts'
import { writeIsolating } from '../../src/work/isolate.ts'
import { ask } from '../support/live-node.ts'
import { createTestDatabase, testPool } from '../support/postgres-database.ts'
import type { TestDatabase } from '../support/postgres-database.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
  await ask(
    database.url,
    `create table parents (id int primary key, name text unique, flag boolean, code char(3), unique (flag, code));
     insert into parents values (1, 'a', true, 'x'), (2, 'b"', false, 'y'), (3, 'c', true, 'z');
     create table wide_parents (id bigint primary key); insert into wide_parents values (1), (2);
     create domain small as int check (value < 4);
     create function mend() returns trigger language plpgsql as $$begin if new.b = 'bad' then new.b := 'mended'; end if; return new; end$$;
     create function refuse() returns trigger language plpgsql as $$begin if new.a = 3 then raise 'no threes' using hint = 'take a two'; end if; return new; end$$;
     create function found_parent() returns trigger language plpgsql as $$begin insert into parents values (new.a, 'n' || new.a) on conflict do nothing; return new; end$$`,
  )
})
afterAll(() => database.drop())

type Row = Record<string, unknown>
interface Shape {
  /** Statements that make the table t. */
  readonly made: string
  readonly definition: Omit<PostgresTableDefinition, 'table'>
  readonly row: fc.Arbitrary<Row>
  /** By which rows are sorted: a statement of many rows may name rows behind. */
  readonly sortedBy?: string
}

const a = fc.integer({ min: 0, max: 5 })
const wide = fc.integer({ min: 0, max: 60 })
const b = fc.constantFrom('good', 'bad', 'a', 'b"', '%s', '\\', 'long text', '')
const pair = { a, b }
const columns = { a: 'int', b: 'text' } as const
const seq = 'seq bigint generated always as identity'

const shapes: Record<string, Shape> = {
  'a domain': { made: `create table t (${seq}, a small, b text)`, definition: { columns }, row: fc.record(pair) },
  'a check and a length': {
    made: `create table t (${seq}, a int, b varchar(5) check (b <> 'bad'), constraint "odd ""one""" check (a <> 1))`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a check that fails by itself': {
    made: `create table t (${seq}, a int check (6 / a > 1), b text)`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a check of a column that is not written, before another': {
    made: `create table t (${seq}, a int, b text, c int default 1, constraint a1 check (c + a <> 3), constraint b1 check (a <> 2))`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a unique index': { made: `create table t (${seq}, a int unique, b text)`, definition: { columns }, row: fc.record({ a: wide, b }) },
  'a unique index with nulls, of two columns': {
    made: `create table t (${seq}, a int, b text, "A b" boolean, constraint "t %s" unique ("A b", a)); insert into t ("A b", a) values (true, 2)`,
    definition: { columns: { a: 'int?', b: 'text', 'A b': 'boolean?' } },
    row: fc.record({ a: fc.option(a), b, 'A b': fc.option(fc.boolean()) }),
  },
  'a unique index where nulls are one': {
    made: `create table t (${seq}, a int, b text, unique nulls not distinct (a))`,
    definition: { columns: { a: 'int?', b: 'text' } },
    row: fc.record({ a: fc.option(wide, { freq: 2 }), b }),
  },
  'a unique index of characters': {
    made: `create table t (${seq}, a int, b char(5) unique); insert into t (b) values ('bad')`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a unique index of an expression, partial': {
    made: `create table t (${seq}, a int, b text); create unique index on t ((a % 4)) where b <> 'good'`,
    definition: { columns },
    row: fc.record({ a: wide, b }),
  },
  'two unique indexes': {
    made: `create table t (${seq}, a int unique, b text unique)`,
    definition: { columns },
    row: fc.record({ a: wide, b }),
  },
  'a unique index that may be deferred': {
    made: `create table t (${seq}, a int, b text, unique (a) deferrable initially immediate)`,
    definition: { columns },
    row: fc.record({ a: wide, b }),
  },
  'an exclusion': {
    made: `create table t (${seq}, a int, b text, exclude (a with =))`,
    definition: { columns },
    row: fc.record({ a: wide, b }),
  },
  'a foreign key': {
    made: `create table t (${seq}, a int references parents, b text references parents (name))`,
    definition: { columns: { a: 'int?', b: 'text?' } },
    row: fc.record({ a: fc.option(a), b: fc.option(b) }),
  },
  'foreign keys of two columns and of another type': {
    made: `create table t (${seq}, a int references wide_parents, f boolean, c char(3), foreign key (f, c) references parents (flag, code))`,
    definition: { columns: { a: 'int', f: 'boolean?', c: 'text?' } },
    row: fc.record({ a: fc.constantFrom(1, 2, 7), f: fc.option(fc.boolean()), c: fc.option(fc.constantFrom('x', 'y', 'z', 'q')) }),
  },
  'a foreign key that matches in full': {
    made: `create table t (${seq}, a int, f boolean, c char(3), foreign key (f, c) references parents (flag, code) match full)`,
    definition: { columns: { a: 'int', f: 'boolean?', c: 'text?' } },
    row: fc.record({ a, f: fc.option(fc.boolean()), c: fc.option(fc.constantFrom('x', 'y', 'z', 'q')) }),
  },
  'a foreign key, a check and a unique index': {
    made: `create table t (${seq}, a int unique check (a <> 7), b text, p int references parents)`,
    definition: { columns: { ...columns, p: 'int' } },
    row: fc.record({ a: fc.integer({ min: 0, max: 20 }), b, p: a }),
  },
  'a foreign key to the table itself': {
    made: `create table t (${seq}, a int, id int primary key, up int references t); insert into t (a, id) values (0, 0)`,
    definition: { columns: { a: 'int', id: 'int', up: 'int?' } },
    row: fc
      .tuple(wide, fc.constantFrom(0, 1, 1, 100))
      .map(([id, step]) => ({ a: step, id: id + 1, up: step === 0 ? null : step === 100 ? 1000 : id })),
    sortedBy: 'id',
  },
  'a foreign key that a trigger provides for': {
    made: `create table t (${seq}, a int references parents, b text); create trigger p before insert on t for each row execute function found_parent()`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a check behind a trigger that mends': {
    made: `create table t (${seq}, a int, b text check (b <> 'bad')); create trigger m before insert on t for each row execute function mend()`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a trigger, a check and a unique index': {
    made: `create table t (${seq}, a int, b text check (b <> 'bad'), c int unique); create trigger r before insert on t for each row execute function refuse()`,
    definition: { columns: { ...columns, c: 'int' } },
    row: fc.record({ ...pair, c: wide }),
  },
  'a partitioned table': {
    made: `create table t (${seq}, a int references parents, b text check (b <> 'bad'), unique (a, b)) partition by list (a);
      create table t_2 partition of t for values in (2); create table t_other partition of t default`,
    definition: { columns },
    row: fc.record(pair),
  },
  'a key and a foreign key': {
    made: `create table t (a int primary key, b text references parents (name))`,
    definition: { columns, upsertOn: ['a'] },
    row: fc.record({ a: wide, b }),
  },
  'a key and a foreign key that the first value keeps': {
    made: `create table t (a int primary key, b text references parents (name)); insert into t values (1, 'a'), (2, null)`,
    definition: { columns: { a: 'int', b: 'text?' }, upsertOn: ['a'], merge: { b: 'first' } },
    row: fc.record({ a: wide, b: fc.option(b) }),
  },
  'a key and another unique index': {
    made: `create table t (a int primary key, b text unique, p int references parents)`,
    definition: { columns: { ...columns, p: 'int' }, upsertOn: ['a'] },
    row: fc.record({ a: wide, b, p: a }),
  },
}

const habits = fc.constantFrom(
  { refused: 0, isCrowded: false },
  { refused: 100, isCrowded: false },
  { refused: 0, isCrowded: true },
  { refused: 100, isCrowded: true },
)

interface Outcome {
  readonly rows: unknown[]
  readonly letters: [offset: number, error: string][]
}

/** Ways to write tell different places: the line of a COPY, the column, the row as it failed, the partition it was for. */
function bare(error: string): string {
  return error
    .replaceAll(/"t_(2|other)"/g, '"t"')
    .replaceAll(
      /; Failing row contains \(.*?\)\.(?=;| \(SQLSTATE)| \(column ".*?"\)|; COPY t, line [^;]*?(?=; redrive|; discard| \(SQLSTATE)|; PL\/pgSQL function [^;]*(?=; | \(SQLSTATE)/gs,
      '',
    )
}

async function outcomeOf(
  client: pg.PoolClient,
  write: (transaction: PostgresTransaction) => Promise<[number, string][]>,
  order: string,
): Promise<Outcome> {
  await client.query('begin')
  try {
    const letters = await write(new PostgresTransaction(client, { pipeline: 'p', epoch: 1, topic: 't' }, 'writing'))
    const { rows } = await client.query<Row>(`select * from t order by ${order}`)
    return { rows: rows.map(({ seq: _, ...row }) => row), letters: letters.map(([offset, error]) => [offset, bare(error)]) }
  } finally {
    await client.query('rollback')
  }
}

function linesOf(table: PostgresTable, rows: readonly Row[]): JobLines[] {
  const half = rows.length >> 1
  return [rows.slice(0, half), rows.slice(half)].map((some, section) => {
    const bytes = Buffer.from(some.map((row) => `${table.encode(row)}\n`).join(''))
    const of = { task: 'a', kind: 'job' as const, partition: section, queue: 0 }
    const base = { offset: BigInt(section * half), timeMs: 0 }
    return new JobLines(
      of,
      bytes,
      base,
      Uint32Array.from(some, (_, i) => i),
      new Uint32Array(some.length),
    )
  })
}

describe('The bad rows of a batch are the same, and so are the good ones and what is said, with', () => {
  it.each(Object.entries(shapes))('%s', async (_, { made, definition, row, sortedBy }) => {
    await ask(database.url, `drop table if exists t; ${made}`)
    await using pool = testPool(database.url)
    await pool.use('testing', async (client) => {
      const table = await createPostgresTable({ table: 't', ...definition }, client)
      const order = definition.upsertOn === undefined ? 'seq' : 'a'
      // Jobs of one key are one row: which of them a foreign key sees is open.
      const batch =
        definition.upsertOn === undefined
          ? fc.array(row, { maxLength: 40 })
          : fc.uniqueArray(row, { maxLength: 40, selector: (one) => one['a'] })
      await fc.assert(
        fc.asyncProperty(batch, habits, async (some, habit) => {
          const rows = sortedBy === undefined ? some : some.toSorted((x, y) => Number(x[sortedBy]) - Number(y[sortedBy]))
          const jobs = linesOf(table, rows)
          const searched = await outcomeOf(
            client as pg.PoolClient,
            async (transaction) => {
              const letters = await writeIsolating(table as unknown as TransactionalSink, transaction, jobs, { ...habit })
              return letters.map(({ offset, error }) => [Number(offset), error] as [number, string]).sort(([x], [y]) => x - y)
            },
            order,
          )
          const alone = await outcomeOf(
            client as pg.PoolClient,
            async (transaction) => (await table.writeEach!(transaction, jobs)).map(({ index, error }) => [index, error]),
            order,
          )
          expect(searched).toEqual(alone)
        }),
        { numRuns: 60 },
      )
    })
  })
})
