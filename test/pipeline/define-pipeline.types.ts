/**
 * What must compile and what must not. Never run: the type check fails when a line below stops being an error.
 */
import * as z from 'zod'
import { bytes, cron, definePipeline, json, postgresTable, webSocket } from '../../src/index.ts'

const trade = z.object({ symbol: z.string(), ms: z.number(), size: z.number(), note: z.string().nullish() })
const source = { topic: 'trades', decode: json(trade) }
const table = () => postgresTable('t', { columns: { symbol: 'text', n: 'int' }, upsertOn: ['symbol'] })

definePipeline({
  name: 'good',
  source,
  key: (t) => t.symbol,
  tasks: {
    rows: {
      every: '15ms',
      rowsMax: 1000,
      bytesMax: '4MiB',
      sink: postgresTable('trades', { columns: { source_offset: 'bigint', symbol: 'text', note: 'text?' } }),
      convert: (t, at) => ({ source_offset: at.offset, symbol: t.symbol, note: t.note }),
    },
    values: {
      every: '10ms',
      sink: webSocket('prices', { latestBy: (p: { symbol: string; size: number }) => p.symbol }),
      convert: (t) => ({ symbol: t.symbol, size: t.size }),
    },
    merged: {
      every: '1s',
      sink: postgresTable('candles', {
        columns: { symbol: 'text', minute: 'int', volume: 'bigint', first: 'numeric?', at: 'timestamptz' },
        upsertOn: ['symbol', 'minute'],
        merge: { volume: 'add', first: 'min', at: 'max' },
      }),
      convert: (t) => ({ symbol: t.symbol, minute: Math.floor(t.ms / 60_000), volume: t.size, first: '1.50', at: new Date(t.ms) }),
    },
    many: { every: '2m', sink: table(), convert: (t) => [1, 2].map((n) => ({ symbol: t.symbol, n })) },
    none: { every: '1h', sink: table(), convert: (t) => (t.size > 0 ? { symbol: t.symbol, n: 1 } : undefined) },
  },
})
definePipeline({
  name: 'bytes',
  source: { topic: 'x', decode: bytes((value) => ({ length: value.length })) },
  key: (e) => String(e.length.toFixed()),
  tasks: { a: { every: '1s', sink: postgresTable('t', { columns: { n: 'int' } }), convert: (e) => ({ n: e.length }) } },
})
definePipeline({
  name: 'places',
  source: { topic: 'x', decode: bytes((value, at) => ({ text: value.toString(), trace: at.headers.text('traceparent') ?? '' })) },
  tasks: {
    a: {
      every: '1s',
      sink: postgresTable('t', { columns: { trace: 'text', key: 'text?', bytes: 'int', topic: 'text' } }),
      convert: (e, at) => ({ trace: e.trace, key: at.key, bytes: at.keyBytes?.length ?? 0, topic: at.topic }),
    },
  },
})
definePipeline({
  name: 'tombstones',
  source: { topic: 'x', tombstones: 'decode', decode: bytes((value: Buffer | null) => ({ isGone: value === null })) },
  tasks: { a: { every: '1s', sink: postgresTable('t', { columns: { gone: 'boolean' } }), convert: (e) => ({ gone: e.isGone }) } },
})
definePipeline({
  name: 'tombstones',
  source: { topic: 'x', tombstones: 'decode', decode: json(trade.nullable()) },
  tasks: { a: { every: '1s', sink: table(), convert: (t) => (t === null ? undefined : { symbol: t.symbol, n: 1 }) } },
})
// @ts-expect-error a decoder that takes no null is given no tombstones
definePipeline({ name: 'x', source: { topic: 'x', tombstones: 'decode', decode: bytes((value: Buffer) => value.length) }, tasks: { a: { every: '1s', sink: table(), convert: () => undefined } } })
// @ts-expect-error a choice that does not exist
definePipeline({ name: 'x', source: { ...source, tombstones: 'drop' }, tasks: { a: { every: '1s', sink: table(), convert: () => undefined } } })
definePipeline({
  name: 'scheduled',
  source,
  tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } },
  cron: {
    close: cron('0 5 16 * * 1-5', { timezone: 'America/New_York', missed: 'all', timeout: '5m' }, async ({ sql, scheduledAt, attempt, signal }) => {
      const rows = await sql<{ n: number }>`select ${attempt}::int as n where ${scheduledAt} < now()`
      signal.throwIfAborted()
      await sql('insert into t values ($1)', [rows[0]?.n])
    }),
    tick: cron('* * * * *', {}, () => undefined),
  },
})
// @ts-expect-error a policy that does not exist
cron('* * * * *', { missed: 'twice' }, () => undefined)
// @ts-expect-error a timeout without unit
cron('* * * * *', { timeout: '5' }, () => undefined)
// @ts-expect-error an option that does not exist
cron('* * * * *', { zone: 'UTC' }, () => undefined)
// @ts-expect-error rows are known only by the type that is given
cron('* * * * *', {}, async ({ sql }) => void (await sql`select 1 as n`)[0]!.n.toFixed())
// @ts-expect-error a cron task that cron did not make
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } }, cron: { close: '* * * * *' } })

// @ts-expect-error a field the event does not have
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbl, n: 1 }) } } })
// @ts-expect-error a key the event does not have
definePipeline({ name: 'x', source, key: (t) => t.symbl, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } } })
// @ts-expect-error a key that is no string
definePipeline({ name: 'x', source, key: (t) => t.size, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } } })
// @ts-expect-error an extra column
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1, m: 2 }) } } })
// @ts-expect-error an extra column in an array
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => [{ symbol: t.symbol, n: 1, m: 2 }] } } })
// @ts-expect-error an extra column in an array or undefined
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => (t.size ? [{ symbol: t.symbol, n: 1, m: 2 }] : undefined) } } })
// @ts-expect-error a missing column
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol }) } } })
// @ts-expect-error a column of another type
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 'a' }) } } })
// @ts-expect-error null in a column that is not nullable
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: (t) => ({ symbol: t.note, n: 1 }) } } })
// @ts-expect-error a promise of a job
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: table(), convert: async (t) => ({ symbol: t.symbol, n: 1 }) } } })
// @ts-expect-error no unit
definePipeline({ name: 'x', source, tasks: { a: { every: '15', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } } })
// @ts-expect-error a number without unit
definePipeline({ name: 'x', source, tasks: { a: { every: 15, sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } } })
// @ts-expect-error a wrong unit of size
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', bytesMax: '4MB', sink: table(), convert: (t) => ({ symbol: t.symbol, n: 1 }) } } })
// @ts-expect-error no decoder
definePipeline({ name: 'x', source: { topic: 'x' }, tasks: { a: { every: '1s', sink: table(), convert: () => ({ symbol: 'a', n: 1 }) } } })
// @ts-expect-error a column type that does not exist
postgresTable('t', { columns: { symbol: 'string' } })
// @ts-expect-error a key that is no column
postgresTable('t', { columns: { symbol: 'text', n: 'int' }, upsertOn: ['symbl'] })
// @ts-expect-error a nullable key
postgresTable('t', { columns: { symbol: 'text?', n: 'int' }, upsertOn: ['symbol'] })
// @ts-expect-error a merge of no column
postgresTable('t', { columns: { symbol: 'text', n: 'int' }, upsertOn: ['symbol'], merge: { m: 'add' } })
// @ts-expect-error a merge of a key
postgresTable('t', { columns: { symbol: 'text', n: 'int' }, upsertOn: ['symbol'], merge: { symbol: 'last' } })
// @ts-expect-error a mode that does not exist
postgresTable('t', { columns: { symbol: 'text', n: 'int' }, upsertOn: ['symbol'], merge: { n: 'sum' } })
// @ts-expect-error text cannot be added
postgresTable('t', { columns: { symbol: 'text', note: 'text' }, upsertOn: ['symbol'], merge: { note: 'add' } })
postgresTable('t', { columns: { symbol: 'text', n: 'int' }, identity: ['symbol', 'n'] })
// @ts-expect-error an identity that is no column
postgresTable('t', { columns: { symbol: 'text', n: 'int' }, identity: ['symbl'] })
// @ts-expect-error a nullable identity
postgresTable('t', { columns: { symbol: 'text?', n: 'int' }, identity: ['symbol'] })
// @ts-expect-error a value without the field of latestBy
definePipeline({ name: 'x', source, tasks: { a: { every: '1s', sink: webSocket('c', { latestBy: (p: { id: string }) => p.id }), convert: (t) => ({ symbol: t.symbol }) } } })
